package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/admin"
	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/docs"
	"github.com/oncesink/oncesink/internal/config"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/rollup"
	"github.com/oncesink/oncesink/internal/secret"
	"github.com/oncesink/oncesink/internal/traces"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// connectTimeout bounds how long a command waits for a broker or a database
// when it starts. Later on both are waited for as long as it takes.
var connectTimeout = 10 * time.Second

// flags are those that every command with a configuration has.
type flags struct {
	config   string
	logLevel string
	// fromArchive is the location of an archive; empty: the configuration's.
	fromArchive string
	archiveOnly bool // no Kafka is read: see withoutKafka
	stdin       func() io.Reader
}

// configVariable names the configuration file where --config does not.
const configVariable = "ONCESINK_CONFIG"

// usualConfig is the file where nothing names one.
const usualConfig = "oncesink.yaml"

func (f *flags) add(cmd *cobra.Command) {
	f.stdin = cmd.InOrStdin
	cmd.Flags().StringVarP(&f.config, "config", "c", "", "configuration, - for stdin (default $"+configVariable+", or oncesink.yaml)")
	cmd.Flags().StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
}

// session is what the commands have in common: the configuration, and
// connections to both ends.
type session struct {
	cfg      *config.Config
	consumer consumer.Config
	sinkCfg  sink.Config
	rollups  []rollup.Definition
	log      *slog.Logger

	pool   *pgxpool.Pool
	client *kgo.Client
	admin  *kadm.Client
	meta   kadm.Metadata

	fromArchive string        // of the command line
	archived    kafka.Archive // once it is opened
	alone       alone         // with the archive: no Kafka is read

	file    string // the configuration's name, and its text; empty in a session that load did not make
	text    []byte
	watched *admin.Handler // by whoever asks the admin listener; nil: there is none
	traced  *traces.Tracer // nil: no exporter is set

	patterns
}

// read reads the text of the configuration that the command line names, or the environment.
func (f *flags) read() (name string, data []byte, err error) {
	name = cmp.Or(f.config, os.Getenv(configVariable), usualConfig)
	if name == "-" {
		name = "standard input"
		data, err = config.ReadFrom(name, f.stdin())
		return name, data, err
	}
	data, err = config.ReadFile(name)
	return name, data, err
}

// load reads the configuration; it connects to nothing.
func load(f flags, stderr io.Writer) (*session, error) {
	name, text, err := f.read()
	if err != nil {
		return nil, err
	}
	cfg, err := config.Parse(name, text, os.LookupEnv)
	if err != nil {
		return nil, err
	}
	log, err := logger(f.logLevel, stderr)
	if err != nil {
		return nil, err
	}
	cfg.LogTo(log)
	s := &session{log: log, file: name, text: text, fromArchive: f.fromArchive, alone: alone{only: f.archiveOnly}}
	if cfg.HasPatterns() {
		s.written = cfg
	}
	return s, s.use(cfg)
}

// loadTables is load for a command that works on tables.
func loadTables(f flags, stderr io.Writer) (*session, error) {
	s, err := load(f, stderr)
	if err == nil && len(s.sinkCfg.Tables) == 0 {
		return nil, &environmentError{"`tables: []` is for the init, status, dead-letters and replay of a program that has handlers of its own: run that program, or list the tables that are to be written"}
	}
	return s, err
}

// logger writes text for a person on a terminal, and JSON otherwise.
func logger(level string, w io.Writer) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, &usageError{fmt.Errorf("--log-level %q: use debug, info, warn or error", level)}
	}
	opts := &slog.HandlerOptions{Level: l}
	if isTerminal(w) {
		return slog.New(slog.NewTextHandler(w, opts)), nil
	}
	return slog.New(slog.NewJSONHandler(w, opts)), nil
}

func (s *session) close() {
	if s.client != nil {
		s.client.Close()
	}
	s.alone.close()
	if s.pool == nil {
		return
	}
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.pool.Close()
	}()
	select { // it waits for connections on which a server answers nothing
	case <-closed:
	case <-time.After(time.Second):
	}
}

// connectPostgres opens the pool and sees that the database answers, unless that is done.
func (s *session) connectPostgres(ctx context.Context) error {
	if s.pool != nil {
		return nil
	}
	pool, _, err := offsets.NewPool(ctx, s.cfg.Postgres.URL.Reveal(), 0, s.cfg.PoolOptions())
	if err != nil {
		return s.postgresError(err)
	}
	s.pool = pool
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := pool.Ping(ctx); err != nil {
		return s.postgresError(err)
	}
	return nil
}

// conn runs f on a connection of its own.
func (s *session) conn(ctx context.Context, f func(*pgx.Conn) error) error {
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return s.postgresError(err)
	}
	defer c.Release()
	return f(c.Conn())
}

// checkLedger wants a ledger that is there and not too old.
func (s *session) checkLedger(ctx context.Context) error {
	return s.conn(ctx, func(c *pgx.Conn) error { return offsets.Check(ctx, c) })
}

// postgresError says what to do about a database that can't be used.
func (s *session) postgresError(err error) error {
	var pg *pgconn.PgError
	var dns *net.DNSError
	var unread *secret.Error
	steps := docs.Runbook("the-database-is-away")
	var fix string
	switch {
	case errors.As(err, &unread):
		return &led{&environmentError{unread.Error()}, docs.Runbook("a-credential-is-refused")}
	case errors.As(err, &pg) && (pg.Code == "28P01" || pg.Code == "28000"):
		fix, steps = s.cfg.PasswordFix(), docs.Runbook("a-credential-is-refused")
	case errors.As(err, &pg) && pg.Code == "3D000":
		fix = "create the database, or correct its name in postgres.url"
	case pg != nil && pg.Code == "08P01":
		fix = "see what the pooler takes: correct user, database and settings in postgres.url, or its own configuration"
	case errors.As(err, &dns):
		fix = "correct the host in postgres.url"
	case strings.Contains(err.Error(), "server refused TLS"):
		fix = "the server speaks no TLS: correct sslmode in postgres.url or PGSSLMODE, or the server"
	default:
		fix = "see that PostgreSQL runs and that host and port in postgres.url are right"
	}
	cause := rootCause(err)
	if pg != nil {
		cause = pg.Message
	}
	return &led{&environmentError{"PostgreSQL: " + s.cfg.Scrub(cause) + ": " + fix}, steps}
}

// connectKafka sees that a broker answers, which topics match patterns, and that the topics exist, unless that is done.
func (s *session) connectKafka(ctx context.Context) error {
	if s.client != nil {
		return nil
	}
	if err := s.withoutKafka(ctx); err != nil {
		return err
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(s.consumer.Brokers...), kgo.ClientID("oncesink"), kgo.RetryTimeout(connectTimeout),
		// A handshake goes by these two, not by the request's context.
		kgo.DialTimeout(connectTimeout), kgo.RequestTimeoutOverhead(connectTimeout),
		kgo.MetadataMinAge(min(s.topicRefresh(), 5*time.Second)),
	}, s.consumer.ClientOptions...)...)
	if err != nil {
		return &environmentError{"Kafka: " + s.cfg.Scrub(err.Error()) + ": " + wiring.KafkaSection}
	}
	s.client, s.admin = client, kadm.NewClient(client)
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	if err := s.expand(ctx); err != nil {
		return err
	}
	topics := make([]string, 0, len(s.consumer.Topics))
	for t := range s.consumer.Topics {
		topics = append(topics, t)
	}
	s.meta, err = s.admin.Metadata(ctx, topics...)
	if err != nil {
		return s.kafkaError(err)
	}
	var missing []error
	for _, t := range s.meta.Topics.Sorted() {
		switch {
		case errors.Is(t.Err, kerr.UnknownTopicOrPartition):
			missing = append(missing, &environmentError{fmt.Sprintf("Kafka: topic %q does not exist: create it, or correct `topic:` in the configuration", t.Topic)})
		case t.Err != nil:
			missing = append(missing, &environmentError{fmt.Sprintf("Kafka: topic %q: %v", t.Topic, t.Err)})
		case t.ID == kadm.TopicID{}:
			return &environmentError{fmt.Sprintf("Kafka: topic %q has no id: %s", t.Topic, wiring.NoTopicIDs)}
		}
	}
	return errors.Join(missing...)
}

// forgetKafka has the next connectKafka begin anew.
func (s *session) forgetKafka() {
	if s.client != nil {
		s.client.Close()
		s.client, s.admin = nil, nil
	}
	s.alone.close()
}

func (s *session) kafkaError(err error) error {
	fix := "see that Kafka runs and that kafka.brokers names it (" + strings.Join(s.consumer.Brokers, ", ") + ")"
	var auth *kerr.Error
	var dns *net.DNSError
	var first *kgo.ErrFirstReadEOF
	hangsUp := errors.Is(err, io.EOF)
	var unread *secret.Error
	steps := docs.Runbook("kafka-is-away")
	switch {
	case errors.As(err, &unread):
		return &led{&environmentError{unread.Error()}, docs.Runbook("a-credential-is-refused")}
	case errors.As(err, &auth) && (errors.Is(err, kerr.SaslAuthenticationFailed) || errors.Is(err, kerr.UnsupportedSaslMechanism)):
		fix, steps = s.cfg.SASLFix(), docs.Runbook("a-credential-is-refused")
	case errors.As(err, &dns):
		fix = "correct the host in kafka.brokers"
	case errors.As(err, &first):
		fix = "configure kafka.tls or kafka.sasl as the brokers ask for it"
	case s.cfg.Kafka.SASL != nil && hangsUp:
		fix, steps = s.cfg.SASLFix(), docs.Runbook("a-credential-is-refused")
	case s.cfg.Kafka.TLS != nil && (hangsUp || timedOut(err)):
		fix += " on a port that speaks TLS: correct kafka.tls, or leave it out for brokers without TLS"
	case strings.Contains(err.Error(), "tls:") || strings.Contains(err.Error(), "x509"):
		fix = "correct kafka.tls, or leave it out for brokers without TLS"
	}
	return &led{&environmentError{"Kafka: " + s.cfg.Scrub(rootCause(err)) + ": " + fix}, steps}
}

// rootCause is the innermost of several nested messages, on one line.
func rootCause(err error) string {
	var dns *net.DNSError
	var op *net.OpError
	var first *kgo.ErrFirstReadEOF
	switch {
	case errors.As(err, &dns):
		return "look up " + dns.Name + ": " + dns.Err
	case timedOut(err):
		return fmt.Sprintf("no answer within %v", connectTimeout)
	case errors.As(err, &op):
		return op.Error()
	case errors.Is(err, io.EOF) && !errors.As(err, &first):
		return "the server hangs up"
	}
	return strings.Join(strings.Fields(err.Error()), " ")
}

// timedOut says that a context or a connection waited in vain.
func timedOut(err error) bool {
	var waited net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &waited) && waited.Timeout()
}

// open reads the catalog and returns sink and ledger.
func (s *session) open(ctx context.Context) (*engine.Sink, *offsets.Ledger, error) {
	if err := s.unmade(); err != nil {
		return nil, nil, err
	}
	sk, err := engine.Open(ctx, s.pool, nil, s.sinkCfg)
	if err != nil {
		return nil, nil, s.scrub(err)
	}
	if err := s.conn(ctx, func(c *pgx.Conn) error { return rollup.Ready(ctx, c, s.rollups) }); err != nil {
		return nil, nil, s.scrub(err)
	}
	ledger := offsets.New(s.pool, s.consumer.Group, offsets.Options{
		ClusterID: s.meta.Cluster, Mappings: sk.Mappings(), ReplayRefused: sk.ReplayRefused(), Logger: s.log,
	})
	return sk.Rotating(s.cfg.PasswordChanges()).WithLedger(ledger), ledger, nil
}

func (s *session) scrub(err error) error {
	if err == nil {
		return nil
	}
	return &scrubbed{err, s.cfg.Scrub(pgerr.Text(err))}
}

// word is what printWrapped does not break: a statement, or a command in backquotes, can be copied as it stands.
var word = regexp.MustCompile(`(?:select oncesink\.\w+\((?:'(?:[^']|'')*'|[^'()])*\)|\x60oncesink [^\x60]+\x60|\x60[^\x60]{1,70}\x60|\S)+`)

// printWrapped writes a sentence in lines that fit a narrow terminal, all but the first indented further.
func printWrapped(w io.Writer, indent, text string) { printHanging(w, indent, indent+"  ", text) }

// printHanging is printWrapped with an indent of its own for the lines after the first.
func printHanging(w io.Writer, first, rest, text string) {
	const width = 80
	line := first
	for i, word := range word.FindAllString(text, -1) {
		switch {
		case i == 0:
			line += word
		case len(line)+1+len(word) > width:
			fmt.Fprintln(w, line)
			line = rest + word
		default:
			line += " " + word
		}
	}
	fmt.Fprintln(w, line)
}

// printJSON writes a report for a program; SQL in it stays legible.
func printJSON(w io.Writer, report any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(report)
}

// noArguments refuses arguments beside the flags.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return &usageError{fmt.Errorf("unexpected argument %q: see `%s --help`", args[0], cmd.CommandPath())}
	}
	return nil
}
