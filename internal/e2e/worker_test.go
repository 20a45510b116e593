// Package e2e holds the tests that take whole processes: the real binary or
// workers that are killed, stopped and woken, against a real Apache Kafka and
// a real PostgreSQL.
package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

const workerEnv = "ONCESINK_E2E_WORKER"

// TestMain runs the tests, or, when a test has started this binary again, one worker.
func TestMain(m *testing.M) {
	if spec := os.Getenv(workerEnv); spec != "" {
		if err := work(spec); err != nil {
			fmt.Fprintln(os.Stderr, "worker:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(testpg.Main(m))
}

// spec tells a worker what to read, and where to stop itself.
type spec struct {
	Brokers  []string
	URL      string
	Topic    string
	Group    string
	Protocol consumer.Protocol
	// Freeze is the point at which the worker sends SIGSTOP to itself, once, on
	// meeting the event with this id.
	Freeze   freezePoint
	FreezeID int
}

type freezePoint string

const (
	freezeNever       freezePoint = ""
	freezeBeforeBegin freezePoint = "between poll and transaction"
	freezeInTx        freezePoint = "in an open transaction"
	freezeInCopy      freezePoint = "in COPY"
	freezeInPipeline  freezePoint = "in a pipeline"
)

const (
	testGroup      = "orders-sink"
	sessionTimeout = 6 * time.Second
)

// work is the worker process.
func work(raw string) error {
	var sp spec
	if err := json.Unmarshal([]byte(raw), &sp); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	pool, _, err := offsets.NewPool(ctx, sp.URL, 6)
	if err != nil {
		return err
	}
	defer pool.Close()
	ledger := offsets.New(pool, sp.Group, offsets.Options{ClusterID: "e2e", Logger: log})
	f := &freezer{spec: sp}
	scfg := sinkConfig(sp.Topic)
	scfg.Handlers = append(scfg.Handlers, f.handle)
	scfg.Logger = log
	s, err := engine.Open(ctx, pool, ledger, scfg)
	if err != nil {
		return err
	}
	cfg := consumer.Config{
		Brokers: sp.Brokers, Group: sp.Group, Protocol: sp.Protocol, Topics: map[string]consumer.Start{sp.Topic: {}},
		SessionTimeout: sessionTimeout, MaxBatchRecords: 200, Logger: log, ClientOptions: []kgo.Opt{kgo.WithHooks(f)},
	}
	c, err := consumer.NewWith(cfg, wiring.Parts{Ledger: ledger, Engine: s})
	if err != nil {
		return err
	}
	return c.Run(ctx)
}

func sinkConfig(topic string) sink.Config {
	return sink.Config{
		Tables:      []sink.TableConfig{{Name: "events", Topics: []string{topic}, Key: []string{"id"}}},
		Handlers:    []sink.Handler{witness},
		IdleTimeout: 60 * time.Second, // the claim, not this timeout, has to end a stopped owner
	}
}

// witness adds one for every event that is applied, so that twice shows.
func witness(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
	var ps []int32
	var os []int64
	for _, r := range records {
		ps, os = append(ps, r.Partition), append(os, r.Offset)
	}
	_, err := tx.Exec(ctx, `insert into applied as a (partition, "offset", n) select p, o, 1 from unnest($1::int[], $2::bigint[]) u (p, o)
		on conflict (partition, "offset") do update set n = a.n + 1`, ps, os)
	return err
}

// freezer stops its own process at one point.
type freezer struct {
	spec
	once sync.Once
}

// freeze stops the whole process until somebody sends SIGCONT.
func (f *freezer) freeze() {
	f.once.Do(func() {
		fmt.Fprintln(os.Stderr, "freezing", f.Freeze)
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		fmt.Fprintln(os.Stderr, "woken")
	})
}

func (f *freezer) meets(id int) bool { return f.Freeze != freezeNever && id >= f.FreezeID }

// OnFetchRecordUnbuffered is called while a poll hands records out.
func (f *freezer) OnFetchRecordUnbuffered(r *kgo.Record, polled bool) {
	if f.Freeze == freezeBeforeBegin && polled && f.meets(eventID(r.Value)) {
		f.freeze()
	}
}

func eventID(value []byte) int {
	var e struct{ ID int }
	_ = json.Unmarshal(value, &e)
	return e.ID
}

func (f *freezer) handle(ctx context.Context, tx pgx.Tx, records []sink.Record) error {
	if f.Freeze == freezeNever || !f.meets(eventID(records[len(records)-1].Value)) {
		return nil
	}
	switch f.Freeze {
	case freezeInTx:
		f.freeze()
	case freezeInCopy:
		rows := 0
		_, err := tx.CopyFrom(ctx, pgx.Identifier{"scratch"}, []string{"v"}, pgx.CopyFromFunc(func() ([]any, error) {
			if rows++; rows > 20_000 {
				return nil, nil
			}
			if rows == 15_000 { // far enough for the first buffers to be on the wire
				f.freeze()
			}
			return []any{strings.Repeat("x", 100)}, nil
		}))
		return err
	case freezeInPipeline:
		p := tx.Conn().PgConn().StartPipeline(ctx)
		p.SendQueryParams("insert into scratch values ('pipelined')", nil, nil, nil, nil)
		if err := p.Flush(); err != nil { // sent, and not synced
			return err
		}
		f.freeze()
		if err := p.Sync(); err != nil {
			return err
		}
		return p.Close()
	}
	return nil
}

// process is one started worker or binary.
type process struct {
	*exec.Cmd
	log  *logBuffer
	done chan struct{}
}

func start(t *testing.T, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{Cmd: cmd, log: &logBuffer{}, done: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGCONT)
		_ = cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("log of process %d:\n%s", cmd.Process.Pid, p.log.tail())
		}
	})
	return p
}

func startWorker(t *testing.T, sp spec) *process {
	t.Helper()
	raw, err := json.Marshal(sp)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), workerEnv+"="+string(raw))
	return start(t, cmd)
}

// stopped reports whether the kernel has the process stopped.
func (p *process) stopped() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.Process.Pid))
	if err != nil {
		return false
	}
	after := string(stat[strings.LastIndexByte(string(stat), ')')+1:])
	return strings.HasPrefix(strings.TrimSpace(after), "T")
}

type logBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) tail() string {
	s := l.String()
	return s[max(0, len(s)-8000):]
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	testenv.Eventually(t, 90*time.Second, what, ok)
}
