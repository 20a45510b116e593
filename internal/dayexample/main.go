//go:build unix

// Command dayexample plays a day in the life of a group, all of it on this machine: Apache Kafka, PostgreSQL, oncesink, and a Prometheus with the
// alerts of deploy/prometheus. It installs, runs, scales, lets a partition halt, follows the runbook, rotates a password and rolls a change of
// the mapping out, and writes what it saw to docs/day.md and docs/day.svg. It ends with 0 if all of it went as it should.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/localserver"
	"github.com/oncesink/oncesink/internal/pgserver"
	"github.com/oncesink/oncesink/internal/testkafka"
)

// limit bounds each wait.
const limit = 3 * time.Minute

func main() {
	out := flag.String("out", "docs", "folder for day.md and day.svg")
	rate := flag.Float64("rate", 1500, "events per second")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, *out, *rate)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "day:", err)
		os.Exit(1)
	}
}

// day is what runs.
type day struct {
	*story
	dir     string // of the configuration, logs, and the password
	rate    float64
	brokers []string
	owner   string // URL of the database for its owner
	url     string // for the role of the processes, without its password
	db      *pgx.Conn
	kafka   *kadm.Client
	client  *kgo.Client
	prom    *prometheus
	members [3]*member
	ports   [3]int
	load    *localserver.Process
}

// member is a process of the group.
type member struct {
	*localserver.Process
	config string
}

func run(ctx context.Context, out string, rate float64) (err error) {
	d := &day{story: newStory(), rate: rate}
	if d.dir, err = os.MkdirTemp("", "oncesink-day-"); err != nil {
		return err
	}
	defer os.RemoveAll(d.dir)
	kafka, stopKafka, err := testkafka.Start(ctx, 1)
	defer func() { err = errors.Join(err, stopKafka()) }()
	if err != nil {
		return err
	}
	d.brokers = kafka.Brokers
	stopPostgres, err := d.startPostgres(ctx)
	defer stopPostgres()
	if err != nil {
		return err
	}
	if d.client, err = kgo.NewClient(kgo.SeedBrokers(d.brokers...)); err != nil {
		return err
	}
	defer d.client.Close()
	d.kafka = kadm.NewClient(d.client)
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", filepath.Join(d.dir, "oncesink"), "./cmd/oncesink").CombinedOutput(); err != nil {
		return fmt.Errorf("build oncesink: %w\n%s", err, out)
	}
	ports, err := localserver.FreePorts(len(d.ports))
	if err != nil {
		return err
	}
	copy(d.ports[:], ports)
	if d.prom, err = startPrometheus(d.dir, d.ports[:]); err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, d.prom.process.Kill())
		for _, m := range d.members {
			if m != nil {
				err = errors.Join(err, m.Kill())
			}
		}
		if d.load != nil {
			err = errors.Join(err, d.load.Kill())
		}
	}()
	if err := d.play(ctx); err != nil {
		return fmt.Errorf("%w\n%s", err, d.logs())
	}
	return d.write(ctx, out)
}

// startPostgres starts a server that asks the role sink for a password.
func (d *day) startPostgres(ctx context.Context) (stop func(), err error) {
	data, err := pgserver.TempDir("oncesink-day-postgres-")
	if err != nil {
		return func() {}, err
	}
	stop = func() { os.RemoveAll(data) }
	pg, err := pgserver.Start(ctx, pgserver.Options{Dir: data})
	if err != nil {
		return stop, err
	}
	stop = func() {
		_ = pg.Stop(context.WithoutCancel(ctx), pgserver.Immediate)
		os.RemoveAll(data)
	}
	d.owner = pg.URL("postgres")
	if d.db, err = pgx.Connect(ctx, d.owner); err != nil {
		return stop, err
	}
	var rules string
	if err := d.db.QueryRow(ctx, "show hba_file").Scan(&rules); err != nil {
		return stop, err
	}
	before, err := os.ReadFile(rules)
	if err != nil {
		return stop, err
	}
	if err := os.WriteFile(rules, append([]byte("host all sink all scram-sha-256\n"), before...), 0o600); err != nil {
		return stop, err
	}
	if err := d.password(ctx, "create", "first-of-the-day"); err != nil {
		return stop, err
	}
	c := d.db.Config()
	d.url = fmt.Sprintf("postgres://sink@%s:%d/%s", c.Host, c.Port, c.Database)
	return stop, nil
}

// password creates or alters the role of the processes, and writes the file that they read.
func (d *day) password(ctx context.Context, verb, password string) error {
	if _, err := d.db.Exec(ctx, verb+" role sink login password '"+password+"'; select pg_reload_conf()"); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(d.dir, "password"), []byte(password+"\n"), 0o600)
}

// command is one of oncesink.
func (d *day) command(ctx context.Context, url string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, filepath.Join(d.dir, "oncesink"), args...)
	cmd.Dir = d.dir
	cmd.Env = append(os.Environ(), "DATABASE_URL="+url, "KAFKA_BROKERS="+d.brokers[0], "NO_COLOR=1", "ONCESINK_ADMIN_LISTEN=off")
	return cmd
}

// background starts a command whose output goes to a log.
func (d *day) background(name string, env []string, args ...string) (*localserver.Process, error) {
	log, err := os.OpenFile(filepath.Join(d.dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the child writes it
	cmd := d.command(context.Background(), d.url, args...)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stdout, cmd.Stderr = log, log
	return localserver.Start(cmd, syscall.SIGKILL)
}

// start starts a member with a configuration.
func (d *day) start(i int, config string) error {
	p, err := d.background(fmt.Sprintf("member%d", i+1), []string{fmt.Sprintf("ONCESINK_ADMIN_LISTEN=127.0.0.1:%d", d.ports[i])}, "run", "-c", config)
	d.members[i] = &member{p, config}
	return err
}

// end stops a member as an orchestrator does, and wants it to end with 0.
func (d *day) end(ctx context.Context, i int) error {
	m := d.members[i]
	if err := m.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	select {
	case <-m.Done():
	case <-time.After(limit):
		return fmt.Errorf("member %d does not end", i+1)
	case <-ctx.Done():
		return ctx.Err()
	}
	d.members[i] = nil
	if err := m.Err(); err != nil {
		return fmt.Errorf("member %d ends: %w", i+1, err)
	}
	return nil
}

// logs are the ends of all logs, for who has to find out what went wrong.
func (d *day) logs() string {
	var b strings.Builder
	paths, _ := filepath.Glob(filepath.Join(d.dir, "*.log"))
	for _, path := range paths {
		fmt.Fprintf(&b, "== %s\n%s\n", filepath.Base(path), localserver.LogTail(path, 0))
	}
	return b.String()
}

// until waits for a condition.
func until(ctx context.Context, what string, ok func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		is, err := ok()
		if is && err == nil {
			return nil
		}
		last = err
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.Join(fmt.Errorf("wait until %s: %w", what, ctx.Err()), last)
		}
	}
}
