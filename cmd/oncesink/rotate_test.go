package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/oncesink/oncesink/internal/testcert"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
)

// guarded are a PostgreSQL and a broker that let nobody in without a password and a certificate, and whose connections a test can end.
type guarded struct {
	*testing.T
	dir      string // of the program's files
	db       *pgx.Conn
	url      string
	data     string // of PostgreSQL
	kafka    *kfake.Cluster
	port     *listener
	server   atomic.Pointer[tls.Config] // of the broker
	admin    *kadm.Client
	producer *kgo.Client
	password [2]string // of PostgreSQL and Kafka
}

func newGuarded(t *testing.T) *guarded {
	g := &guarded{T: t, dir: t.TempDir()}
	pg := testpg.Start(t)
	g.db = connect(t, pg.URL())
	g.do("create role sink login; grant create on database postgres to sink; grant create on schema public to sink")
	g.must(g.db.QueryRow(t.Context(), "show data_directory").Scan(&g.data))
	g.put("pg_hba.conf", "hostssl all sink all scram-sha-256 clientcert=verify-ca\nhost all sink all reject\nhost all all all trust\nlocal all all trust\n")

	u, err := url.Parse(pg.URL())
	g.must(err)
	u.User = url.User("sink")
	u.RawQuery = url.Values{"sslmode": {"verify-full"}, "sslrootcert": {g.path("ca.pem")}, "sslcert": {g.path("cert.pem")}, "sslkey": {g.path("key.pem")}}.Encode()
	u.Host = strings.Replace(u.Host, "127.0.0.1", "localhost", 1)
	g.url = u.String()

	g.port = &listener{}
	g.kafka = testkafka.Fake(t, kfake.NumBrokers(1), kfake.SeedTopics(2, "orders"), kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "admin", "admin"), kfake.User("SCRAM-SHA-512", "sink", "none"),
		kfake.ListenFn(func(network, address string) (net.Listener, error) {
			l, err := net.Listen(network, address)
			g.port.Listener = tls.NewListener(l, &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return g.server.Load(), nil }})
			return g.port, err
		}))
	g.certificates()
	client, err := kgo.NewClient(kgo.SeedBrokers(g.kafka.ListenAddrs()...), kgo.DefaultProduceTopic("orders"), kgo.RecordPartitioner(kgo.RoundRobinPartitioner()),
		kgo.SASL(scram.Auth{User: "admin", Pass: "admin"}.AsSha256Mechanism()), kgo.DialTLSConfig(&tls.Config{InsecureSkipVerify: true}))
	g.must(err)
	t.Cleanup(client.Close)
	g.producer, g.admin = client, kadm.NewClient(client)
	return g
}

func (g *guarded) must(err error) {
	g.Helper()
	if err != nil {
		g.Fatal(err)
	}
}

func (g *guarded) do(sql string) {
	g.Helper()
	_, err := g.db.Exec(g.Context(), sql)
	g.must(err)
}

func (g *guarded) path(name string) string { return filepath.Join(g.dir, name) }

// put writes a file of the server, as the server.
func (g *guarded) put(name, text string) {
	g.Helper()
	g.do("copy (select '" + base64.StdEncoding.EncodeToString([]byte(text)) + "') to program 'umask 077; base64 -d > " + filepath.Join(g.data, name) + "'")
}

// certificates gives both servers and the program certificates of a new authority, and has the servers trust no other one.
func (g *guarded) certificates() {
	g.Helper()
	a := testcert.New(g)
	dir := g.TempDir()
	file := func(name string) string { return filepath.Join(dir, name) }
	a.Write(g, file("ca.crt"))
	a.WriteClient(g, "localhost", file("server.crt"), file("server.key"))
	for _, name := range []string{"ca.crt", "server.crt", "server.key"} {
		text, err := os.ReadFile(file(name))
		g.must(err)
		g.put(name, string(text))
	}
	g.do("alter system set ssl_ca_file = 'ca.crt'")
	g.do("alter system set ssl = on")
	g.do("select pg_reload_conf()")
	conf := a.Server(g)
	conf.ClientAuth, conf.ClientCAs = tls.VerifyClientCertIfGiven, a.Pool()
	g.server.Store(conf)
	a.Write(g, g.path("ca.pem"))
	a.WriteClient(g, "sink", g.path("cert.pem"), g.path("key.pem"))
}

// passwords changes the passwords of both sides; the program is told by tell.
func (g *guarded) passwords() {
	g.Helper()
	var word [2]string
	for i := range word {
		word[i] = rand.Text()
	}
	g.do("alter role sink password '" + word[0] + "'")
	res, err := g.admin.AlterUserSCRAMs(g.Context(), nil, []kadm.UpsertSCRAM{{User: "sink", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: word[1]}})
	g.must(errors.Join(err, res.Error()))
	g.password = word
}

func (g *guarded) tell() {
	for i, name := range []string{"postgres.txt", "kafka.txt"} {
		g.must(os.WriteFile(g.path(name), []byte(g.password[i]+"\n"), 0o600))
	}
}

// cut ends all connections of the program.
func (g *guarded) cut() {
	g.Helper()
	g.do("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'sink'")
	g.port.cut()
}

// listener is one whose connections can be ended.
type listener struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.conns = append(l.conns, c)
		l.mu.Unlock()
	}
	return c, err
}

func (l *listener) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.conns {
		_ = c.Close()
	}
	l.conns = nil
}

// started is a run of the program.
type started struct {
	log  lockedBuffer
	stop context.CancelFunc
	code chan int
}

func (g *guarded) config(postgres, sasl string) string {
	file := g.path("shop.yaml")
	g.must(os.WriteFile(file, fmt.Appendf(nil, `
kafka:
  brokers: [%s]
  group: shop
  tls: {ca_file: %s, cert_file: %[3]s, key_file: %[4]s}
  sasl: {mechanism: SCRAM-SHA-512, username: sink, %[5]s}
postgres: {url: "%[6]s"%[7]s}
tables:
  - {name: orders, topic: orders, strategy: append, guard: none, create: create table orders (id bigint)}
  - {name: copies, topic: orders, key: [id], create: create table copies (id bigint primary key)}
`, g.kafka.ListenAddrs()[0], g.path("ca.pem"), g.path("cert.pem"), g.path("key.pem"), sasl, g.url, postgres), 0o600))
	return file
}

func (g *guarded) start(file string) *started {
	ctx, stop := context.WithCancel(g.Context())
	s := &started{stop: stop, code: make(chan int, 1)}
	go func() { s.code <- run(ctx, []string{"run", "-c", file}, &s.log, &s.log) }()
	g.Cleanup(stop)
	return s
}

func (s *started) times(text string) int { return strings.Count(s.log.String(), text) }

// Passwords and certificates of both sides change under load, and all connections end: nothing starts anew, every event is counted
// once, and what is told is one warning and the end of it.
func TestCredentialsRotate(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.passwords()
	g.tell()
	file := g.config(", password_file: "+g.path("postgres.txt"), "password_command: {command: [cat, "+g.path("kafka.txt")+"], ttl: 1h}")
	if out, code := output(t, file, "init"); code != 0 {
		t.Fatalf("init ends with %d:\n%s", code, out)
	}
	s := g.start(file)
	defer func() {
		if t.Failed() {
			t.Logf("the log:\n%s", &s.log)
		}
	}()

	var produced atomic.Int64
	loading, unload := context.WithCancel(t.Context())
	var load sync.WaitGroup
	load.Go(func() {
		for loading.Err() == nil {
			n := produced.Load()
			err := g.producer.ProduceSync(t.Context(), &kgo.Record{Value: fmt.Appendf(nil, `{"id": %d}`, n)}, &kgo.Record{Value: fmt.Appendf(nil, `{"id": %d}`, n+1)}).FirstErr()
			if err != nil {
				t.Error(err)
				return
			}
			produced.Add(2)
		}
	})
	rows := func() (n int64) {
		g.must(g.db.QueryRow(t.Context(), "select count(*) from orders").Scan(&n))
		return n
	}
	grows := func() {
		t.Helper()
		from := produced.Load()
		waitFor(t, "what is produced now is written", func() bool {
			if len(s.code) > 0 {
				t.Fatalf("it ends with %d:\n%s", <-s.code, &s.log)
			}
			return rows() > from+10
		})
	}
	grows()

	g.passwords()
	g.cut()
	waitFor(t, "both sides refuse the passwords", func() bool {
		return s.times("PostgreSQL refuses the credentials") == 1 && s.times("Kafka refuses the credentials") == 1
	})
	g.tell()
	grows()
	for range 2 { // a second time, and with certificates
		g.certificates()
		g.passwords()
		g.tell()
		g.cut()
		grows()
	}
	unload()
	load.Wait()
	waitFor(t, "all is written", func() bool { return rows() == produced.Load() })
	var distinct int64
	g.must(g.db.QueryRow(t.Context(), "select count(distinct id) from orders").Scan(&distinct))
	if distinct != produced.Load() {
		t.Errorf("%d events became %d rows of %d", produced.Load(), rows(), distinct)
	}
	s.stop()
	if code := <-s.code; code != 0 {
		t.Errorf("it ends with %d", code)
	}
	// Other commands have the same ways in.
	for _, command := range [][]string{{"check"}, {"status"}, {"rebuild", "copies"}} {
		if out, code := output(t, file, command...); code != 0 {
			t.Errorf("%v ends with %d:\n%s", command, code, out)
		}
	}
	// At the start nobody waits for what a person has to correct.
	refused := func(want string) {
		t.Helper()
		if out, code := output(t, file, "run"); code != exitConfig || !strings.Contains(out, want) {
			t.Errorf("run ends with %d, want %s:\n%s", code, want, out)
		}
	}
	g.must(os.WriteFile(g.path("kafka.txt"), []byte("wrong"), 0o600))
	refused("correct mechanism and username under kafka.sasl, or what kafka.sasl.password_command gives")
	g.must(os.Remove(g.path("kafka.txt")))
	refused("kafka.sasl.password_command: cat fails: exit status 1: run it by hand")
	g.must(os.WriteFile(g.path("postgres.txt"), []byte("wrong"), 0o600))
	refused("correct the user in postgres.url, what postgres.password_file gives, or the server's pg_hba.conf")
	g.must(os.Remove(g.path("postgres.txt")))
	refused("postgres.password_file: the file " + g.path("postgres.txt") + " can't be read: no such file or directory: name a file")
	for _, text := range []string{"PostgreSQL refuses the credentials", "PostgreSQL lets the program in again", "Kafka lets the program in again"} {
		if n := s.times(text); n < 1 || strings.Contains(text, "again") && n != s.times(strings.ReplaceAll(text, "lets the program in again", "refuses the credentials")) {
			t.Errorf("%s: told %d times:\n%s", text, n, &s.log)
		}
	}
	for _, secret := range g.password {
		if found := piece(s.log.String(), secret); found != "" {
			t.Errorf("the log has %q of a password", found)
		}
	}
}

// Brokers that know no ids of topics, such as those of some services, are refused: a topic that was created again would not be noticed.
func TestTopicsWithoutIDs(t *testing.T) {
	t.Parallel()
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.Metadata), 9)
	kafka := testkafka.Fake(t, kfake.NumBrokers(1), kfake.SeedTopics(1, "orders"), kfake.MaxVersions(versions))
	file := filepath.Join(t.TempDir(), "shop.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, `
kafka: {brokers: [%s], group: shop}
postgres: {url: "%s"}
tables: [{name: orders, topic: orders, key: [id], create: create table orders (id bigint primary key)}]
`, kafka.ListenAddrs()[0], testpg.URL(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, code := output(t, file, "init"); code != 0 {
		t.Fatalf("init ends with %d:\n%s", code, out)
	}
	if out, code := output(t, file, "run"); code != exitConfig || !strings.Contains(out, `topic "orders" has no id`) {
		t.Errorf("run ends with %d:\n%s", code, out)
	}
}

// A password that can't change while the program runs is a person's to correct, as at the start.
func TestStaticPasswordRotates(t *testing.T) {
	t.Parallel()
	g := newGuarded(t)
	g.passwords()
	g.url = strings.Replace(g.url, "sink@", "sink:"+g.password[0]+"@", 1)
	file := g.config("", "password: "+g.password[1])
	if out, code := output(t, file, "init"); code != 0 {
		t.Fatalf("init ends with %d:\n%s", code, out)
	}
	s := g.start(file)
	g.must(g.producer.ProduceSync(t.Context(), &kgo.Record{Value: []byte(`{"id": 1}`)}).FirstErr())
	waitFor(t, "the event is written", func() (ok bool) {
		g.must(g.db.QueryRow(t.Context(), "select exists (select from orders)").Scan(&ok))
		return ok
	})
	g.do("alter role sink password 'another'")
	g.do("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'sink'")
	g.must(g.producer.ProduceSync(t.Context(), &kgo.Record{Value: []byte(`{"id": 2}`)}).FirstErr())
	if code := <-s.code; code != exitConfig || !strings.Contains(s.log.String(), "check user, password and pg_hba.conf") {
		t.Errorf("it ends with %d:\n%s", code, &s.log)
	}
	if out, code := output(t, file, "status"); code != exitConfig || !strings.Contains(out, "correct user and password in postgres.url, or the server's pg_hba.conf") {
		t.Errorf("status ends with %d:\n%s", code, out)
	}
}
