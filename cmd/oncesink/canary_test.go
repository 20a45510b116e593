package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// piece returns the first piece of a secret, of four bytes or more, that a text holds.
func piece(text, secret string) string {
	for i := 0; i+4 <= len(secret); i++ {
		if strings.Contains(text, secret[i:i+4]) {
			return secret[i : i+4]
		}
	}
	return ""
}

// commands are all that read a configuration.
var commands = [][]string{
	{"check"}, {"check", "--sample", "10"}, {"run"}, {"run", "--until-end", "--log-level", "debug"}, {"status"}, {"status", "--json"}, {"init"}, {"init", "--dry-run"}, {"init", "--print", "--role", "sink"},
	{"init", "--accept-mapping"}, {"replay"}, {"rebuild", "orders"}, {"verify", "orders"}, {"backfill", "orders", "--column", "day", "--from", "2026-01-01", "--to", "2026-01-02"},
	{"rollup", "build", "daily"}, {"rollup", "verify", "daily"}, {"rollup", "drop", "daily"}, {"dead-letters", "list"}, {"dead-letters", "retry", "--all"}, {"dead-letters", "stats", "--json"},
}

// output runs a command and returns all that it prints.
func output(t *testing.T, file string, command ...string) (string, int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out bytes.Buffer
	code := run(ctx, append(command, "-c", file), &out, &out)
	if strings.Contains(out.String(), "unknown flag") || strings.Contains(out.String(), "unknown command") {
		t.Fatalf("%s is no command:\n%s", command, &out)
	}
	return out.String(), code
}

// connections are ways to write a connection string with a password in it. Nothing listens at port 1.
var connections = []string{
	"postgres://app:%s@127.0.0.1:1/shop", "postgresql://app:%s@127.0.0.1:1/shop?sslmode=disable", "postgres://127.0.0.1:1/shop?user=app&password=%s&sslmode=disable",
	"host=127.0.0.1 port=1 user=app password=%s dbname=shop", "host=127.0.0.1 port=1 dbname=shop password='%s' sslmode=disable", "host=127.0.0.1 port=1 sslpassword=%s", "mysql://app:%s@127.0.0.1:1/shop",
}

// writeConfig writes a configuration; each text stands in the file as it is.
func writeConfig(t *testing.T, kafka, url string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "oncesink.yaml")
	text := "kafka: {" + kafka + ", group: g}\npostgres:\n  url: " + url + "\ntables: [{name: orders, topic: orders, key: [id]}]\n" +
		"rollups: [{name: daily, table: orders, group_by: {day: day}, columns: {n: count}}]\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// No command prints a piece of the password, however the connection string is broken, and wherever it comes from.
func TestNoSecretOfAConnectionString(t *testing.T) {
	passwords := []string{"xQ7w xK9z", "xQ7w@xK9z/xJ3q", "xQ7w/xK9z@", "xQ7w?xK9z=1", "xQ7w#xK9z", "xQ7w%xK9z", "xQ7w&xK9z=1", "xQ7w'xK9z", "'xQ7w' xK9z=1", "'xQ7w'xK9z", `xQ7w\`, "xQ7w:xK9z", "[xQ7wxK9z", "xQ7w, xK9z", "xQ7w\"xK9z"}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 2))
	alphabet := []rune("QXZJqxzj379@/:?#%&='\"\\,;![]{} é")
	for range 20 {
		p := make([]rune, 6+r.IntN(10))
		for i := range p {
			p[i] = alphabet[r.IntN(len(alphabet))]
		}
		passwords = append(passwords, string(p))
	}
	n := 0
	for _, password := range passwords {
		for i, form := range connections {
			url := fmt.Sprintf(form, password)
			quoted, _ := json.Marshal(url)
			t.Setenv("DATABASE_URL", url)
			files := []string{writeConfig(t, "brokers: ['127.0.0.1:1']", string(quoted)), writeConfig(t, "brokers: ['127.0.0.1:1']", `"${DATABASE_URL}"`)}
			if !strings.Contains(password, "${") { // as a person writes it who forgets the quotes
				files = append(files, writeConfig(t, "brokers: ['127.0.0.1:1']", url))
			}
			for _, file := range files {
				n++
				command := commands[n%len(commands)] // each spelling meets some, each command many
				if i == 0 && file == files[0] {
					command = []string{"run"}
				}
				out, code := output(t, file, command...)
				if found := piece(out, password); found != "" {
					t.Fatalf("%s with url %q prints the piece %q of the password:\n%s", command, url, found, out)
				}
				if code == exitOK && command[len(command)-1] != "sink" { // the script is printed without a connection
					t.Fatalf("%s with url %q: it did not fail:\n%s", command, url, out)
				}
			}
			noSecretOfTheLibrary(t, url, password)
		}
	}
}

// noSecretOfTheLibrary makes pools of a connection string, as programs do.
func noSecretOfTheLibrary(t *testing.T, url, password string) {
	t.Helper()
	said := func(err error) {
		t.Helper()
		if err == nil {
			t.Fatalf("%q: no error", url)
		}
		if found := piece(fmt.Sprintf("%v %+v", err, err), password); found != "" {
			t.Fatalf("with url %q an error has the piece %q of the password: %v", url, found, err)
		}
	}
	cfg := consumer.Config{Brokers: []string{"127.0.0.1:1"}, Group: "g", Topics: map[string]consumer.Start{"orders": {}},
		Sink: sink.Config{Tables: []sink.TableConfig{{Name: "orders", Topics: []string{"orders"}, Key: []string{"id"}}}}}
	try := func(pool *pgxpool.Pool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_, err := consumer.New(ctx, pool, cfg)
		said(err)
		said(consumer.Init(ctx, pool, cfg.Sink))
		said(consumer.AcceptMapping(ctx, pool, cfg))
		pool.Close()
	}
	if pool, _, err := offsets.NewPool(t.Context(), url, 2); err != nil {
		said(err)
	} else {
		try(pool)
	}
	if pool, err := pgxpool.New(t.Context(), url); err == nil { // its own errors are not ours
		try(pool)
	}
}

// Nor of one that a server refuses: the server's, a pooler's, the environment's, that of a password file, Kafka's.
func TestNoSecretThatAServerRefuses(t *testing.T) {
	addWriter(t)
	address := testpg.URL(t)
	cfg, err := pgx.ParseConfig(address)
	if err != nil {
		t.Fatal(err)
	}
	if err := offsets.Init(t.Context(), connect(t, address)); err != nil {
		t.Fatal(err)
	}
	passfile := filepath.Join(t.TempDir(), "pgpass")
	if err := os.WriteFile(passfile, []byte("*:*:*:*:xQ7w-yV4k-xK9z\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	brokers := "brokers: [" + testkafka.Fake(t).ListenAddrs()[0] + "]"
	encrypted := "brokers: [" + testkafka.Fake(t, kfake.EnableSASL(), kfake.Superuser("SCRAM-SHA-256", "sink", "right")).ListenAddrs()[0] + "]"
	key := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(key, []byte("xQ7w-yV4k-xK9z"), 0o600); err != nil {
		t.Fatal(err)
	}
	database := fmt.Sprintf("host=%s port=%d dbname=%s sslmode=disable", cfg.Host, cfg.Port, cfg.Database)
	const secret = "xQ7w-yV4k-xK9z"
	for name, c := range map[string]struct {
		kafka, url string
		env        map[string]string
		says       string
	}{
		"the server":            {brokers, `"` + database + ` user=writer password=` + secret + `"`, nil, "correct user and password"},
		"environment":           {brokers, `"` + database + ` user=writer"`, map[string]string{"PGPASSWORD": secret}, "correct user and password"},
		"password file":         {brokers, `"` + database + ` user=writer"`, map[string]string{"PGPASSFILE": passfile}, "correct user and password"},
		"a variable":            {brokers, `"` + database + ` user=writer password=${SECRET}"`, map[string]string{"SECRET": secret}, "correct user and password"},
		"a variable's default":  {brokers, `"` + database + ` user=writer password=${NONE:-` + secret + `}"`, nil, "correct user and password"},
		"no variable":           {brokers, `"` + database + ` user=writer password=${xQ7w_yV4k_xK9z}"`, nil, "an environment variable that it names is not set"},
		"an unknown setting":    {brokers, `"` + database + ` user=postgres xQ7w-yV4k-xK9z=1"`, nil, "has a key with other characters"},
		"TLS is not spoken":     {brokers, `"` + strings.ReplaceAll(database, "disable", "require") + ` user=writer password=` + secret + `"`, nil, "correct sslmode"},
		"SASL":                  {encrypted + ", sasl: {mechanism: SCRAM-SHA-256, username: sink, password: " + secret + "}", `"` + address + `"`, nil, "correct mechanism, username and password"},
		"SASL, PLAIN":           {encrypted + ", sasl: {mechanism: PLAIN, username: sink, password: " + secret + "}", `"` + address + `"`, nil, "correct mechanism, username and password"},
		"SASL, a comma":         {encrypted + ", sasl: {mechanism: PLAIN, username: sink, password: ab, xQ7w-yV4k-xK9z}", `"` + address + `"`, nil, "kafka.sasl: unknown key"},
		"SASL, two commas":      {encrypted + ", sasl: {mechanism: PLAIN, username: sink, password: ab, xQ7w-yV4k-xK9z, xQ7w-yV4k-xK9z}", `"` + address + `"`, nil, "is given twice"},
		"SASL, a misspelt key":  {encrypted + ", sasl: {mechanism: PLAIN, username: sink, kennwort: " + secret + "}", `"` + address + `"`, nil, "kennwort: unknown key"},
		"a key for a file":      {brokers + ", tls: {cert_file: " + key + ", key_file: " + secret + "}", `"` + address + `"`, nil, "kafka.tls.key_file: no such file or directory"},
		"a key in the key file": {brokers + ", tls: {cert_file: " + key + ", key_file: " + key + "}", `"` + address + `"`, nil, "kafka.tls.cert_file: tls: failed to find any PEM data"},
		"an authority":          {brokers + ", tls: {ca_file: " + secret + "}", `"` + address + `"`, nil, "kafka.tls.ca_file: no such file or directory"},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			file := writeConfig(t, c.kafka, c.url)
			said := false
			for _, command := range [][]string{{"check"}, {"run", "--log-level", "debug"}, {"status"}, {"init"}, {"replay"}, {"rebuild", "orders"}} {
				out, code := output(t, file, command...)
				if found := piece(strings.ReplaceAll(out, key, ""), secret); found != "" {
					t.Fatalf("%s prints the piece %q:\n%s", command, found, out)
				}
				if code == exitOK && !strings.Contains(name, "SASL") {
					t.Errorf("%s: it did not fail", command)
				}
				said = said || strings.Contains(out, c.says)
			}
			if !said {
				t.Errorf("no command says %q", c.says)
				out, _ := output(t, file, "run")
				t.Log(out)
			}
		})
	}
}

// Nor one that a pooler quotes, which refuses a session before there is a server.
func TestNoSecretOfAPooler(t *testing.T) {
	const secret = "xQ7w-yV4k-xK9z"
	for message, says := range map[string]string{
		"no such user: app":                        "no such user: app: see what the pooler takes",
		"unsupported startup parameter: timezone":  "unsupported startup parameter: timezone: see what the pooler takes",
		"bad line: user=app password=" + secret:    "bad line: user=app password=***: see what the pooler takes",
		"SASL authentication failed for " + secret: "SASL authentication failed for ***: see what the pooler takes",
	} {
		pooler := refusing(t, message)
		for _, address := range []string{"postgres://app:" + secret + "@" + pooler + "/shop?sslmode=disable", "postgres://app:" + url.QueryEscape(secret) + "@" + pooler + "/shop"} {
			file := writeConfig(t, "brokers: ['127.0.0.1:1']", `"`+address+`"`)
			for _, command := range commands {
				if command[len(command)-1] == "sink" { // the script is printed without a connection
					continue
				}
				out, code := output(t, file, command...)
				if code != exitConfig || piece(out, secret) != "" || !strings.Contains(out, says) {
					t.Errorf("%s: exit code %d, want %q:\n%s", command, code, says, out)
				}
			}
		}
	}
}

// refusing is a pooler that ends every session with a fatal error of its own.
func refusing(t *testing.T, message string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				backend := pgproto3.NewBackend(c, c)
				for {
					start, err := backend.ReceiveStartupMessage()
					if err != nil {
						return
					}
					if _, asks := start.(*pgproto3.SSLRequest); asks {
						_, _ = c.Write([]byte("N"))
						continue
					}
					backend.Send(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "08P01", Message: message})
					_ = backend.Flush()
					return
				}
			}()
		}
	}()
	return l.Addr().String()
}

// No payload: whatever becomes of records, no command prints a value of one; their dead letters have them.
func TestNoPayloadOfCommands(t *testing.T) {
	const word, number = "qz7kxwvbird", "7351973519"
	address := testpg.URL(t)
	conn := connect(t, address)
	exec := func(sql string) {
		t.Helper()
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`create table orders (id text primary key, n int check (n < 100), day date, short varchar(3), must text not null default 'x', code text unique, query tsquery, at regclass)`)
	exec(`create function refuse() returns trigger language plpgsql as $$ begin if new.n = 13 then raise 'no %', new.id; end if; return new; end $$`)
	exec(`create trigger refuse before insert or update on orders for each row execute function refuse()`)
	brokers := testkafka.Fake(t, kfake.SeedTopics(1, "orders")).ListenAddrs()
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic("orders"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	produce := func(values ...string) {
		t.Helper()
		for _, v := range values {
			r := &kgo.Record{Key: []byte(word), Value: []byte(strings.NewReplacer("CANARY", word, "NUMBER", number).Replace(v)), Headers: []kgo.RecordHeader{{Key: word, Value: []byte(word)}}}
			if v == "" {
				r.Value = nil
			}
			if err := client.ProduceSync(t.Context(), r).FirstErr(); err != nil {
				t.Fatal(err)
			}
		}
	}
	produce(`{"id":"CANARY","n":1,"day":"2026-01-01"}`, `{"id":"a","n":"CANARY"}`, `{"id":"b","n":NUMBER}`, `{"id":"c","n":101,"must":"CANARY"}`, `{"id":"CANARY1","n":13}`, `{"id":"d","day":"CANARY"}`, `{"id":"e","short":"CANARY"}`,
		`{"id":"CANARY2","must":null}`, `{"id":"f","code":"CANARY"}`, `{"id":"g","code":"CANARY"}`, `{"id":"h","query":"CANARY ("}`, `{"id":"i","at":"CANARY"}`, `CANARY`, `{"id":"CANARY`, `{"id":"CANARY","again":"CANARY","again":2}`, "", `{"other":"CANARY"}`)
	file := filepath.Join(t.TempDir(), "oncesink.yaml")
	const rollups = "rollups: [{name: daily, table: orders, group_by: {day: 'day', c: 'code::int'}, columns: {n: count(*)}}]\n"
	config := func(column, rollups string) {
		t.Helper()
		text := "kafka: {brokers: ['" + strings.Join(brokers, "', '") + "'], group: g}\npostgres: {url: '" + address + "'}\ntables:\n  - name: orders\n    topic: orders\n    key: [id]\n    accept: [further-unique, trigger-before-insert]\n" +
			"    columns: {" + column + "}\n" + rollups
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	try := func(want int, command ...string) string {
		t.Helper()
		out, code := output(t, file, command...)
		if lower := strings.ToLower(out); strings.Contains(lower, word) || strings.Contains(lower, number) {
			t.Errorf("%s prints a value:\n%s", command, out)
		}
		if code != want && want >= 0 {
			t.Fatalf("%s: exit code %d, want %d:\n%s", command, code, want, out)
		}
		return out
	}
	config("", "")
	try(exitOK, "init")
	try(exitOK, "check", "--sample", "100", "--log-level", "debug")
	try(-1, "check", "--sample", "100", "--json", "--strict")
	try(-1, "run", "--until-end", "--log-level", "debug")
	try(-1, "status")
	try(-1, "status", "--json")
	try(-1, "replay", "--dry-run")
	for _, command := range []string{"list", "list --json", "list --status all --limit 3", "stats", "stats --json", "show orders/0@1", "show orders/0@1 --json", "retry --all --dry-run", "retry --all --dry-run --json",
		"discard --all --dry-run", "discard orders/0@2 --json", "retry --all", "list --log-level debug"} {
		try(exitOK, append([]string{"dead-letters"}, strings.Fields(command)...)...)
	}
	try(-1, "run", "--until-end", "--log-level", "debug") // tries them again
	try(exitLetters, "dead-letters", "stats", "--fail-if-new")
	if out, _ := output(t, file, "dead-letters", "list", "--payload"); !strings.Contains(out, word) {
		t.Errorf("with --payload there is none:\n%s", out)
	}
	exec("update orders set n = 99, must = 'elsewhere'")
	for _, command := range []string{"verify", "rebuild", "backfill"} {
		args := []string{command, "orders"}
		if command == "backfill" {
			args = append(args, "--column", "day", "--from", "2026-01-01", "--to", "2027-01-01")
		}
		if command != "verify" {
			try(-1, append(args, "--dry-run", "--log-level", "debug")...)
		}
		try(-1, append(args, "--log-level", "debug")...)
	}
	// Values that a rollup's expression refuses are those of rows that are there.
	config("", rollups)
	exec("insert into orders (id, code) values ('z', '" + word + word + "')")
	if out := try(-1, "rollup", "build", "daily"); !strings.Contains(out, "22P02") {
		t.Errorf("the rollup is not refused: %s", out)
	}
	// A computed column's error stops the run.
	config(`query: {sql: "to_tsquery('simple'::regconfig, must)"}`, "")
	try(-1, "init", "--accept-mapping")
	produce(`{"id":"y","must":"CANARY ("}`)
	if out := try(-1, "run", "--until-end"); !strings.Contains(out, "42601") {
		t.Errorf("the run is not stopped: %s", out)
	}
	try(-1, "status")
	var letters int
	if err := conn.QueryRow(t.Context(), "select count(*) from oncesink.dead_letters where message ~* $1 or oncesink.text_of(value) ~ $1", word).Scan(&letters); err != nil || letters < 8 {
		t.Errorf("%d dead letters have the values: %v", letters, err)
	}
}
