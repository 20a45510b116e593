package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testbucket"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
)

var update = flag.Bool("update", false, "write what the scripts' golden files should hold")

// suite is the tests, as against the command, which this binary is as well.
type suite struct{ *testing.M }

// Run runs the tests and stops the shared servers after them.
func (s suite) Run() int {
	os.Setenv("GOMEMLIMIT", "off") // a run in this process would bound the heap of all tests, for good
	return testpg.Main(s.M)
}

// TestMain makes this binary the command as well, so that the scripts run what the race detector watches.
func TestMain(m *testing.M) {
	if _, set := os.LookupEnv(adminVariable); !set { // runs of the tests, side by side, leave the default port to others
		os.Setenv(adminVariable, "off")
	}
	testscript.Main(suite{m}, map[string]func(){"oncesink": main})
}

// The passwords that scripts give to the command. None may ever be printed.
const (
	ownerPassword  = "0wner-s3cret"  // of a role that the server trusts
	writerPassword = "wr1ter-s3cret" // of the role writer, whose password is asked for
	wrongPassword  = "wr0ng-s3cret"
)

// timeout bounds everything that a script's own commands do.
const timeout = 30 * time.Second

func TestScripts(t *testing.T) {
	addWriter(t)
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script", UpdateScripts: *update, RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: setup,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "refused": refused, "normalise": normalise,
			"topic": createTopic, "produce": produce, "registry": startRegistry, "bucket": startBucket, "collector": startCollector, "produce_avro": produceAvro, "produce_protobuf": produceProtobuf, "example": example, "transact": transact, "trim": trim, "drop": drop, "real": useReal, "expire": expire, "sql": sql, "gone": gone, "owned": owned, "asks": asks, "becomes": becomes,
		},
	})
}

// addWriter adds the role writer to the shared server, which then asks it for its password.
func addWriter(t *testing.T) {
	t.Helper()
	address := testpg.URL(t)
	var file string
	conn := connect(t, address)
	err := conn.QueryRow(t.Context(), "show hba_file").Scan(&file)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append([]byte("host all writer all scram-sha-256\n"), rules...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "drop role if exists writer; create role writer login password '"+writerPassword+"'; select pg_reload_conf()"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	for wrong := as(address, "writer", wrongPassword); ; {
		conn, err := pgx.Connect(ctx, wrong)
		switch {
		case ctx.Err() != nil:
			t.Fatal("the server still asks for no password")
		case err != nil:
			return
		}
		conn.Close(ctx)
	}
}

func connect(t *testing.T, address string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// as is an address for another role.
func as(address, role, password string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	u.User = url.UserPassword(role, password)
	return u.String()
}

// testKey is under what a script finds its testing.TB.
type testKey struct{}

// setup gives a script a database and a broker of its own.
func setup(env *testscript.Env) error {
	t, ok := env.T().(testing.TB)
	if !ok {
		return errors.New("this needs a testing.TB")
	}
	env.Values[testKey{}] = t
	address := testpg.URL(t)
	missing, err := url.Parse(as(address, "postgres", ownerPassword))
	if err != nil {
		return err
	}
	missing.Path = "/nowhere"
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	env.Setenv("CLOSED", closed.Addr().String()) // nothing answers there
	env.Setenv(adminVariable, "off")
	env.Setenv("DATABASE_URL", as(address, "postgres", ownerPassword))
	env.Setenv("OWNER_URL", env.Getenv("DATABASE_URL"))
	env.Setenv("WRITER_URL", as(address, "writer", writerPassword))
	env.Setenv("WRONG_URL", as(address, "writer", wrongPassword))
	env.Setenv("MISSING_URL", missing.String())
	env.Setenv("CLOSED_URL", "postgres://postgres:"+ownerPassword+"@"+closed.Addr().String()+"/orders")
	env.Setenv("BROKERS", strings.Join(testkafka.Fake(t).ListenAddrs(), ","))
	return closed.Close()
}

// exits runs a command and wants this exit code: exits 2 oncesink check.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND [ARGUMENT...]")
	}
	code, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != code {
		ts.Fatalf("exit code %d, want %d", got, code)
	}
	for _, output := range []string{"stdout", "stderr"} {
		for _, password := range []string{ownerPassword, writerPassword, wrongPassword} {
			if strings.Contains(ts.ReadFile(output), password) {
				ts.Fatalf("a password is on %s", output)
			}
		}
	}
}

// refused wants exit code 2, nothing on stdout, and one error on stderr.
func refused(ts *testscript.TestScript, neg bool, args []string) {
	exits(ts, neg, append([]string{"2"}, args...))
	if out := ts.ReadFile("stdout"); out != "" {
		ts.Fatalf("a refused command wrote to stdout")
	}
	n := 0
	for line := range strings.Lines(ts.ReadFile("stderr")) {
		if strings.HasPrefix(line, "oncesink: ") {
			n++
		}
	}
	if n != 1 {
		ts.Fatalf("%d errors, want 1", n)
	}
}

var varying = []struct {
	pattern *regexp.Regexp
	stands  string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d)`), "TIME"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ`), "TIME"},
	{regexp.MustCompile(`\b\d\d-\d\d \d\d:\d\d:\d\d\b`), "TIME"},
	{regexp.MustCompile(`127\.0\.0\.1:\d+`), "ADDRESS"},
	{regexp.MustCompile(`("lag_seconds": )\d*[1-9]\d*(\.\d+)?|("lag_seconds": )0\.\d+`), "${1}${3}SECONDS"},
	{regexp.MustCompile(`("owner": )"[^"]+"`), `${1}"OWNER"`},
	{regexp.MustCompile(`(?s)("statements": \[).*?\n {6}\]`), `${1}SQL]`},
	{regexp.MustCompile(`("fingerprint": )"\w+"`), `${1}"FINGERPRINT"`},
	{regexp.MustCompile(`("(frozen_)?seconds": )\d[0-9.e-]*`), `${1}SECONDS`},
	{regexp.MustCompile(`( in | for )\d+\.\d+ s`), `${1}SECONDS`},
	// The age of what waits in the table, its owner, and the width that this gives it.
	{regexp.MustCompile(`(│ +[1-9]\d* │) +\d+ (s|min) │`), `${1} AGE │`},
	{regexp.MustCompile(`(?m)^\S+, pid \d+, instance \w{8} ha`), `OWNER ha`},
	{regexp.MustCompile(`( AGE) +│`), `${1} │`},
	{regexp.MustCompile(`─+`), `─`},
}

// normalise writes stdout to a file, without what differs from run to run.
func normalise(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: normalise FILE")
	}
	text := ts.ReadFile("stdout")
	for _, v := range varying {
		text = v.pattern.ReplaceAllString(text, v.stands)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text), 0o644))
}

// client is one of the script's broker. It chooses no partitions itself.
func client(ts *testscript.TestScript) *kgo.Client {
	c, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(ts.Getenv("BROKERS"), ",")...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	ts.Check(err)
	ts.Defer(c.Close)
	return c
}

func number(ts *testscript.TestScript, text string) int64 {
	n, err := strconv.ParseInt(text, 10, 32)
	ts.Check(err)
	return n
}

// createTopic: topic NAME PARTITIONS.
func createTopic(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, err := kadm.NewClient(client(ts)).CreateTopic(ctx, int32(number(ts, args[1])), 1, nil, args[0])
	ts.Check(err)
}

// produce: produce TOPIC PARTITION FILE [TIME], a record for each line: its value, or KEY and VALUE with a tab between them (or a space, if the
// key is no object), or KEY alone.
func produce(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c := client(ts)
	var at time.Time // now
	if len(args) > 3 {
		var err error
		at, err = time.Parse(time.RFC3339, args[3])
		ts.Check(err)
	}
	for line := range strings.Lines(ts.ReadFile(args[2])) {
		r := &kgo.Record{Topic: args[0], Partition: int32(number(ts, args[1])), Timestamp: at}
		line = strings.TrimSpace(line)
		key, value, apart := strings.Cut(line, "\t")
		if !apart && !strings.HasPrefix(line, "{") {
			key, value, _ = strings.Cut(line, " ")
			apart = true
		}
		if apart {
			r.Key, line = []byte(key), value
		}
		if line != "" {
			r.Value = []byte(line)
		}
		ts.Check(c.ProduceSync(ctx, r).FirstErr())
	}
}

// startBucket: bucket starts a store with a bucket, whose endpoint is then in BUCKET_ENDPOINT, and gives the script credentials for it.
func startBucket(ts *testscript.TestScript, _ bool, _ []string) {
	endpoint, stop, err := testbucket.Serve(nil)
	ts.Check(err)
	ts.Defer(stop)
	ts.Setenv("BUCKET_ENDPOINT", endpoint)
	for name, value := range testbucket.Environment() {
		ts.Setenv(name, value)
	}
}

// transact: transact TOPIC PARTITION N [AGO] produces N records in a transaction, and leaves it open.
func transact(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, err := kgo.NewClient(kgo.SeedBrokers(strings.Split(ts.Getenv("BROKERS"), ",")...), kgo.TransactionalID("open "+strings.Join(args, " ")), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	ts.Check(err)
	ts.Defer(c.Close)
	ts.Check(c.BeginTransaction())
	at := time.Now()
	if len(args) > 3 {
		ago, err := time.ParseDuration(args[3])
		ts.Check(err)
		at = at.Add(-ago)
	}
	for range number(ts, args[2]) {
		ts.Check(c.ProduceSync(ctx, &kgo.Record{Topic: args[0], Partition: int32(number(ts, args[1])), Value: []byte("{}"), Timestamp: at}).FirstErr())
	}
}

// trim: trim TOPIC PARTITION OFFSET deletes the records before the offset.
func trim(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: args[0], Partition: int32(number(ts, args[1])), At: number(ts, args[2])})
	_, err := kadm.NewClient(client(ts)).DeleteRecords(ctx, offsets)
	ts.Check(err)
}

// useReal: real TOPIC has the script use a real Kafka, which it shares with others: the topic's name is in the environment.
func useReal(ts *testscript.TestScript, _ bool, args []string) {
	t, ok := ts.Value(testKey{}).(testing.TB)
	if !ok {
		ts.Fatalf("this needs a testing.TB")
	}
	kafka := testkafka.Real(t)
	ts.Setenv("BROKERS", strings.Join(kafka.Brokers, ","))
	ts.Setenv("TOPIC", kafka.Name(args[0]))
}

// expire: expire TOPIC PARTITION OFFSET has the retention remove all records, and waits until the log begins at the offset.
func expire(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*timeout)
	defer cancel()
	admin := kadm.NewClient(client(ts))
	retain := func(ms string) {
		_, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Name: "retention.ms", Value: &ms}}, args[0])
		ts.Check(err)
	}
	retain("1")
	ts.Check(testenv.Await(ctx, func() bool {
		starts, err := admin.ListStartOffsets(ctx, args[0])
		ts.Check(err)
		start, _ := starts.Lookup(args[0], int32(number(ts, args[1])))
		return start.Offset == number(ts, args[2])
	}))
	retain("-1")
}

// drop: drop TOPIC deletes it.
func drop(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	_, err := kadm.NewClient(client(ts)).DeleteTopic(ctx, args[0])
	ts.Check(err)
}

// sql runs a file, or one statement whose rows it writes to stdout.
func sql(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, ts.Getenv("DATABASE_URL"))
	ts.Check(err)
	defer conn.Close(ctx)
	text := args[0]
	if text == "-f" {
		text = ts.ReadFile(args[1])
	}
	results, err := conn.PgConn().Exec(ctx, text).ReadAll()
	ts.Check(err)
	for _, result := range results {
		for _, row := range result.Rows {
			fmt.Fprintf(ts.Stdout(), "%s\n", bytes.Join(row, []byte(" | ")))
		}
	}
}

// gone waits until no process of ours has a session in the database: a server notices
// the end of a connection a moment after the client.
func gone(ts *testscript.TestScript, _ bool, _ []string) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, ts.Getenv("DATABASE_URL"))
	ts.Check(err)
	defer conn.Close(ctx)
	ts.Check(testenv.Await(ctx, func() (none bool) {
		ts.Check(conn.QueryRow(ctx, `select not exists (select from pg_stat_activity
			where application_name like 'oncesink%' and datname = current_database())`).Scan(&none))
		return none
	}))
}

// becomes waits until a query has one value, as a text.
func becomes(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, ts.Getenv("DATABASE_URL"))
	ts.Check(err)
	defer conn.Close(ctx)
	var last string
	err = testenv.Await(ctx, func() bool {
		err := conn.QueryRow(ctx, "select ("+args[0]+")::text").Scan(&last)
		if ctx.Err() == nil {
			ts.Check(err)
		}
		return err == nil && last == args[1]
	})
	if err != nil {
		ts.Fatalf("%s: %q, want %q", args[0], last, args[1])
	}
}

// asks asks the admin listener until it answers with a status and a text that matches: asks /readyz 200 ok.
func asks(ts *testscript.TestScript, _ bool, args []string) {
	want, err := regexp.Compile("(?m)" + args[2])
	ts.Check(err)
	for deadline := time.Now().Add(timeout); ; <-time.After(20 * time.Millisecond) {
		status, body := 0, []byte(nil)
		answer, err := http.Get("http://" + ts.Getenv("CLOSED") + args[0])
		if err == nil {
			status = answer.StatusCode
			body, err = io.ReadAll(answer.Body)
			answer.Body.Close()
		}
		if err == nil && strconv.Itoa(status) == args[1] && want.Match(body) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s: %d %v, want %s:\n%s", args[0], status, err, args[1], body)
		}
	}
}

// owned waits until every partition that has a position is owned by a process that has a session.
func owned(ts *testscript.TestScript, _ bool, _ []string) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	conn, err := pgx.Connect(ctx, ts.Getenv("DATABASE_URL"))
	ts.Check(err)
	defer conn.Close(ctx)
	ts.Check(testenv.Await(ctx, func() (all bool) {
		ts.Check(conn.QueryRow(ctx, `select count(*) > 0 and bool_and(exists (select from pg_stat_activity a
			where a.application_name like 'oncesink%' || o.instance and a.datname = current_database())) from oncesink.offsets o`).Scan(&all))
		return all
	}))
}
