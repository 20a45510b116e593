package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/config"
	"github.com/oncesink/oncesink/internal/draft"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Bounds of what `oncesink new` looks at.
const (
	newTime  = 60 * time.Second // in all
	newBytes = 64 << 20         // of a topic's records
)

// newcomer is what the flags of `oncesink new` say.
type newcomer struct {
	topics, brokers            []string
	group, file                string
	format                     string
	records                    int
	tls                        bool
	caFile                     string
	mechanism, user, tokenFile string
}

func newNewCommand() *cobra.Command {
	var n newcomer
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "new",
		Short: "Write a first configuration, by a topic's records",
		Long: `Reads the oldest and the newest records of each partition of the topics and writes two files:
a configuration, and the statements that create its tables. Columns and types, the key, the
version and what tombstones delete are chosen by what the records look like; comments say
why, what was left out, and which of the records would be dead letters. Read both, correct
them, and go on with psql, init and check: they are a beginning.

No value of a record is printed or written, only names of fields. Nothing is written to
Kafka, no group is joined, PostgreSQL is not asked. Files that exist are not overwritten.

The brokers come from --brokers or KAFKA_BROKERS. With --sasl the password of PLAIN and
SCRAM comes from KAFKA_PASSWORD. The configuration takes the database from DATABASE_URL.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := n.complete(cmd.Flags().Changed("brokers")); err != nil {
				return err
			}
			return n.run(cmd.Context(), cmd.OutOrStdout(), asJSON)
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&n.topics, "topic", nil, "`topic` to look at; may be repeated")
	f.StringSliceVar(&n.brokers, "brokers", []string{"localhost:9092"}, "addresses to start from")
	f.StringVarP(&n.file, "config", "c", "", "configuration to write (default TOPIC.yaml); the statements go beside it, into a file that ends in .sql")
	f.StringVar(&n.group, "group", "", "consumer group (default TOPIC-sink)")
	f.StringVar(&n.format, "format", "json", "of the events: json; with schemas of Kafka Connect or without")
	f.IntVar(&n.records, "records", 500, "how many records of each partition to look at")
	f.BoolVar(&n.tls, "tls", false, "encrypt the connections to the brokers")
	f.StringVar(&n.caFile, "tls-ca-file", "", "certificates to trust, in PEM (default the system's)")
	f.StringVar(&n.mechanism, "sasl", "", "authenticate by PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER or AWS_MSK_IAM")
	f.StringVar(&n.user, "sasl-username", "", "user to authenticate as")
	f.StringVar(&n.tokenFile, "sasl-token-file", "", "file with the token of OAUTHBEARER")
	f.BoolVar(&asJSON, "json", false, "print what was found as JSON")
	return cmd
}

// complete fills in what the flags leave open.
func (n *newcomer) complete(brokersGiven bool) error {
	slices.Sort(n.topics)
	n.topics = slices.Compact(n.topics)
	switch {
	case len(n.topics) == 0:
		return &usageError{errors.New("--topic is missing: name the topic to look at")}
	case n.format != "json":
		return &usageError{fmt.Errorf("--format %q: only json is looked at. For a topic of Avro or Protobuf write the table by hand, and topics: {NAME: {format: avro}} and registry: say how it is read (docs/formats.md)", n.format)}
	case n.records < 1 || n.records > maxSample:
		return &usageError{fmt.Errorf("--records %d: a number from 1 to %d", n.records, maxSample)}
	case (n.mechanism == "OAUTHBEARER") != (n.tokenFile != ""):
		return &usageError{errors.New("--sasl OAUTHBEARER and --sasl-token-file need each other; other ways to a token are for the configuration that is written (docs/credentials.md)")}
	}
	if brokers := os.Getenv("KAFKA_BROKERS"); brokers != "" && !brokersGiven {
		n.brokers = strings.Split(brokers, ",")
	}
	first := n.topics[0]
	if n.group == "" {
		n.group = first + "-sink"
	}
	if n.file == "" {
		n.file = strings.TrimLeft(first, ".") + ".yaml"
	}
	return nil
}

// ddl is the file beside the configuration that holds the statements.
func (n *newcomer) ddl() string { return strings.TrimSuffix(n.file, filepath.Ext(n.file)) + ".sql" }

func (n *newcomer) run(ctx context.Context, out io.Writer, asJSON bool) error {
	if n.ddl() == n.file {
		return &usageError{fmt.Errorf("--config %s: the statements would have this name; let the configuration's end in .yaml", n.file)}
	}
	for _, file := range []string{n.file, n.ddl()} {
		if _, err := os.Lstat(file); !errors.Is(err, fs.ErrNotExist) {
			return &environmentError{fmt.Sprintf("%s exists: remove it, or name another file with --config", file)}
		}
	}
	s, err := n.session()
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.connectKafka(ctx); err != nil {
		return err
	}
	looked, err := n.look(ctx, s)
	if err != nil {
		return err
	}
	tables, err := n.draft(looked)
	if err != nil {
		return err
	}
	if err := n.write(tables, looked); err != nil {
		return err
	}
	if asJSON {
		return printJSON(out, n.report(tables, looked))
	}
	n.tell(out, tables, looked)
	return nil
}

// head is the configuration but for its tables.
func (n *newcomer) head() string {
	var b strings.Builder
	brokers := make([]string, len(n.brokers))
	for i, a := range n.brokers {
		brokers[i] = strconv.Quote(strings.TrimSpace(a))
	}
	fmt.Fprintf(&b, "kafka:\n  brokers: [%s]\n  group: %s # also names the positions in the database\n", strings.Join(brokers, ", "), strconv.Quote(n.group))
	switch {
	case n.caFile != "":
		fmt.Fprintf(&b, "  tls: {ca_file: %s}\n", strconv.Quote(n.caFile))
	case n.tls:
		fmt.Fprintln(&b, "  tls: {}")
	}
	switch n.mechanism {
	case "":
	case "AWS_MSK_IAM":
		fmt.Fprintln(&b, "  sasl: {mechanism: AWS_MSK_IAM}")
	case "OAUTHBEARER":
		fmt.Fprintf(&b, "  sasl: {mechanism: OAUTHBEARER, token_file: %s}\n", strconv.Quote(n.tokenFile))
	default:
		fmt.Fprintf(&b, "  sasl: {mechanism: %s, username: %s, password: \"${KAFKA_PASSWORD}\"}\n", strconv.Quote(n.mechanism), strconv.Quote(n.user))
	}
	fmt.Fprintf(&b, "\npostgres:\n  url: \"${DATABASE_URL}\"\n")
	return b.String()
}

// session is one by what the file is about to say of the brokers.
func (n *newcomer) session() (*session, error) {
	var topics strings.Builder
	for _, t := range n.topics {
		fmt.Fprintf(&topics, "  %s: {}\n", strconv.Quote(t))
	}
	lookup := func(name string) (string, bool) {
		if name == "DATABASE_URL" {
			return "postgres://localhost/", true // it is not asked
		}
		return os.LookupEnv(name)
	}
	cfg, err := config.Parse("oncesink new", []byte(n.head()+"tables: []\ntopics:\n"+topics.String()), lookup)
	if err != nil {
		return nil, &usageError{fmt.Errorf("the flags make no configuration: %w", err)}
	}
	s := &session{cfg: cfg, log: slog.New(slog.DiscardHandler)}
	s.consumer, err = cfg.ToConsumer()
	return s, err
}

// looked is what was read of a topic.
type looked struct {
	records    []sink.Record
	bytes      int
	partitions int
	has        int64 // offsets, from the first to the last
}

// look reads the oldest and the newest records of each partition.
func (n *newcomer) look(ctx context.Context, s *session) (map[string]*looked, error) {
	ctx, cancel := context.WithTimeout(ctx, newTime)
	defer cancel()
	bounds, err := s.bounds(ctx)
	if err != nil {
		return nil, s.kafkaError(err)
	}
	out := map[string]*looked{}
	oldest, newest := map[offsets.Partition]stretch{}, map[offsets.Partition]stretch{}
	for p, all := range bounds {
		if out[p.Topic] == nil {
			out[p.Topic] = &looked{}
		}
		out[p.Topic].partitions++
		out[p.Topic].has += all.to - all.from
		first := min(all.to, all.from+int64(n.records+1)/2)
		last := max(first, all.to-int64(n.records)/2)
		if all.from < first {
			oldest[p] = stretch{all.from, first}
		}
		if last < all.to {
			newest[p] = stretch{last, all.to}
		}
	}
	for _, stretches := range []map[offsets.Partition]stretch{oldest, newest} {
		_, err := s.readStretches(ctx, stretches, func(records []sink.Record) error {
			for _, r := range records {
				if l := out[r.Topic]; !r.Control && l.bytes+len(r.Value) <= newBytes {
					l.records, l.bytes = append(l.records, r), l.bytes+len(r.Value)
				}
			}
			return nil
		})
		if err != nil {
			return nil, s.scrub(err)
		}
	}
	return out, ctx.Err()
}

// draft makes the tables.
func (n *newcomer) draft(seen map[string]*looked) ([]*draft.Table, error) {
	var tables []*draft.Table
	var problems []error
	for _, topic := range n.topics {
		l := seen[topic]
		if l == nil || len(l.records) == 0 {
			problems = append(problems, &environmentError{"topic " + topic + " has no records to look at: send some first"})
			continue
		}
		t, err := draft.Look(topic, l.records)
		if err != nil {
			problems = append(problems, &environmentError{err.Error()})
			continue
		}
		tables = append(tables, t)
	}
	draft.Tables(tables)
	return tables, errors.Join(problems...)
}

// write makes both files, or none.
func (n *newcomer) write(tables []*draft.Table, seen map[string]*looked) error {
	records := 0
	for l := range maps.Values(seen) {
		records += len(l.records)
	}
	about := draft.Comment(fmt.Sprintf("Written by `oncesink new` by what %s records of %s look like. A record that comes later may look different: `oncesink check --sample 1000` tells.", thousands(records), strings.Join(n.topics, ", ")))
	yaml := about("#") + "\n" + n.head() + "\n" + draft.YAML(tables, filepath.Base(n.ddl()))
	sql := about("--") + "\n" + draft.SQL(tables)
	if err := create(n.file, yaml); err != nil {
		return err
	}
	if err := create(n.ddl(), sql); err != nil {
		return errors.Join(err, os.Remove(n.file))
	}
	return nil
}

// create writes a file that does not exist.
func create(name, text string) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err == nil {
		_, err = f.WriteString(text)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return &environmentError{fmt.Sprintf("write %s: %v", name, err)}
	}
	return nil
}

// newReport is what `oncesink new --json` prints.
type newReport struct {
	Configuration string     `json:"configuration"` // the files that were written
	Statements    string     `json:"statements"`
	Tables        []newTable `json:"tables"`
}

type newTable struct {
	Topic       string   `json:"topic"`
	Partitions  int      `json:"partitions"`
	Looked      int      `json:"looked_at"` // records
	Table       string   `json:"table"`
	Columns     int      `json:"columns"`
	Key         []string `json:"key"` // empty: a row per event
	Version     string   `json:"version,omitempty"`
	LeftOut     []string `json:"left_out"`
	DeadLetters []string `json:"dead_letters"`
}

func (n *newcomer) report(tables []*draft.Table, seen map[string]*looked) *newReport {
	r := &newReport{n.file, n.ddl(), []newTable{}}
	for _, t := range tables {
		r.Tables = append(r.Tables, newTable{t.Topic, seen[t.Topic].partitions, t.Records, t.Name, len(t.Columns),
			append([]string{}, t.Key...), t.Version, append([]string{}, t.LeftOut...), append([]string{}, t.Unfit...)})
	}
	return r
}

// tell says what was found and how to go on.
func (n *newcomer) tell(out io.Writer, tables []*draft.Table, seen map[string]*looked) {
	for _, t := range tables {
		l := seen[t.Topic]
		printWrapped(out, "", fmt.Sprintf("topic %s: looked at %s of %s record(s) in %d partition(s)", t.Topic, thousands(t.Records), thousands(int(l.has)), l.partitions))
		key := "no key was found: a row per event"
		if len(t.Key) > 0 {
			key = "key " + strings.Join(t.Key, ", ")
			if t.Version != "" {
				key += ", version " + t.Version
			}
		}
		printWrapped(out, "  ", fmt.Sprintf("table %s: %d columns; %s", t.Name, len(t.Columns), key))
		for _, c := range t.LeftOut {
			printWrapped(out, "  ", "left out: "+c)
		}
		for _, u := range t.Unfit {
			printWrapped(out, "  ", "dead letters: "+u)
		}
	}
	printWrapped(out, "", fmt.Sprintf("wrote %s and %s: read them, then", n.file, n.ddl()))
	fmt.Fprintf(out, `  psql "$DATABASE_URL" -f %[2]s
  oncesink init  -c %[1]s
  oncesink check -c %[1]s --sample 1000
  oncesink run   -c %[1]s
`, n.file, n.ddl())
}
