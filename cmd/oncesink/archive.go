package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/archive"
	"github.com/oncesink/oncesink/internal/archiver"
	"github.com/oncesink/oncesink/internal/config"
	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/sink"
)

func newArchiveCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "archive",
		Short: "Keep the records of topics in files, beyond retention",
		Long: `Copies the records of topics into files, in a directory or a bucket of S3, so that they can be
read again when retention has deleted them from the log (docs/archive.md).

run writes files, list says what they hold, verify reads them and says whether they are whole.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &usageError{fmt.Errorf("name what to do: run, list or verify: see `%s --help`", cmd.CommandPath())}
		},
	}
	cmd.AddCommand(newArchiveRunCommand(), newArchiveListCommand(), newArchiveVerifyCommand())
	return cmd
}

// archiveFlags are those of `oncesink archive run`.
type archiveFlags struct {
	flags
	to, fileBytes    string
	topics           []string
	fileAge          time.Duration
	atOnce           int
	untilEnd, dryRun bool
	acceptGap        bool
	asJSON           bool
}

func newArchiveRunCommand() *cobra.Command {
	var f archiveFlags
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Copy the configuration's topics into files until stopped",
		Long: `Reads the committed records of the configuration's topics, all their partitions, and writes
them into files. It is no member of the group, and needs no table: where a partition goes on
is where its files end. A file appears when it is whole, as large as --file-bytes or as old as
--file-age, or when the command is stopped; a process that is killed leaves whole files alone,
and the next one goes on behind them.

Where the log has lost offsets that the archive does not hold, the partition is left, with an
error, and the others go on: --accept-gap goes on behind the gap, which list then shows. A
topic that was deleted and created again has another id, and is archived apart.

Schemas that records in Avro and Protobuf name are archived beside them, if the configuration has
a registry. One that can't be had holds up no record: it is tried again, and the command ends with 1.

With --until-end it stops where the topics ended when it started. A partition that was left
makes it end with 1. --dry-run says what it would do.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.to, "to", "", "a directory, or s3://BUCKET/PREFIX (default archive.location)")
	cmd.Flags().StringSliceVar(&f.topics, "topic", nil, "only these topics of the configuration (comma-separated)")
	cmd.Flags().BoolVar(&f.untilEnd, "until-end", false, "stop at the end that the topics have now")
	cmd.Flags().StringVar(&f.fileBytes, "file-bytes", "64MiB", "about how large a file becomes")
	cmd.Flags().DurationVar(&f.fileAge, "file-age", time.Hour, "how old a file that is begun grows")
	cmd.Flags().IntVar(&f.atOnce, "partitions", 4, "for how many partitions records are fetched at a time")
	cmd.Flags().BoolVar(&f.acceptGap, "accept-gap", false, "go on where the log has lost offsets that the archive does not hold")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say where each partition goes on, and write nothing")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print what was done as JSON at the end")
	return cmd
}

// maxFileBytes is what one request puts into a bucket at most.
const maxFileBytes = 4 << 30

func (f *archiveFlags) run(cmd *cobra.Command) error {
	ctx := cmd.Context()
	size, err := config.ParseSize(f.fileBytes)
	switch {
	case err != nil || size < 1 || size > maxFileBytes:
		return &usageError{errors.New("--file-bytes must be a size between 1 and 4GiB, such as 64MiB")}
	case f.fileAge <= 0:
		return &usageError{errors.New("--file-age must be longer than zero")}
	case f.atOnce < 1 || f.atOnce > 1000:
		return &usageError{errors.New("--partitions must be between 1 and 1000")}
	}
	s, err := load(f.flags, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer s.close()
	a, err := s.cfg.OpenArchive(ctx, f.to)
	if err != nil {
		return archiveError(err)
	}
	if err := s.connectKafka(ctx); err != nil {
		return err
	}
	topics := slices.Sorted(maps.Keys(s.consumer.Topics))
	for _, t := range f.topics {
		if !slices.Contains(topics, t) {
			return &usageError{fmt.Errorf("--topic %s: the configuration has no such topic", t)}
		}
	}
	if len(f.topics) > 0 {
		topics = f.topics
	}
	for _, t := range topics { // does the place answer?
		if _, err := a.Topics(ctx, t); err != nil {
			return archiveError(err)
		}
	}
	c := archiver.Config{
		Archive: a, Client: s.client, Topics: topics, FileBytes: int64(size), FileAge: f.fileAge, UntilEnd: f.untilEnd, AcceptGap: f.acceptGap, AtOnce: f.atOnce,
		MaxDecompressedBytes: s.consumer.MaxDecompressedBytes, StopTimeout: s.consumer.StopTimeout, Logger: s.log,
	}
	if c.Schemas, err = s.archivedSchemas(a); err != nil {
		return err
	}
	limitMemory(int64(f.atOnce) * archiver.BytesEach)
	if f.dryRun {
		tasks, err := archiver.Plan(ctx, c)
		if err != nil {
			return s.scrub(err)
		}
		return f.plan(cmd.OutOrStdout(), tasks)
	}
	began := time.Now()
	done, err := archiver.Run(ctx, c)
	if f.asJSON {
		err = errors.Join(err, printJSON(cmd.OutOrStdout(), archived(done)))
	} else {
		printArchived(cmd.ErrOrStderr(), done, time.Since(began))
	}
	return s.scrub(err)
}

// archivedSchemas archives the schemas that records of the configuration's topics name; nil if none does, or there is no registry.
func (s *session) archivedSchemas(a *archive.Archive) (*archiver.Schemas, error) {
	if s.consumer.Registry == nil {
		return nil, nil
	}
	own, c := *s.consumer.Registry, s.consumer
	own.UnknownSchemaWait = time.Nanosecond // who has written a record has asked the registry before
	c.Registry = &own
	g, err := c.NewRegistry(nil)
	if err != nil {
		return nil, s.scrub(err)
	}
	k := &archiver.Schemas{Archive: a, Source: g, Registry: s.cfg.Scrub(strings.Join(own.URLs, ", ")), Values: map[string]bool{}, Keys: map[string]bool{}, Logger: s.log}
	for topic := range s.consumer.Topics {
		values, keys := mapping.FormatsOf(s.sinkCfg.Topics[topic])
		refers := func(f sink.Format) bool { return f == sink.Avro || f == sink.Protobuf }
		k.Values[topic], k.Keys[topic] = refers(values), refers(keys)
	}
	return k, nil
}

// archiveError is an error of a place that can't be used.
func archiveError(err error) error {
	if err == nil || isConfig(err) {
		return err
	}
	return &environmentError{err.Error()}
}

// archivePlan is what `oncesink archive run --dry-run --json` prints of a partition. Ranges are of offsets, the end excluded.
type archivePlan struct {
	Topic     string   `json:"topic"`
	TopicID   string   `json:"topic_id"`
	Partition int32    `json:"partition"`
	Log       [2]int64 `json:"log"`
	Next      int64    `json:"next"`
	Left      int64    `json:"left"` // offsets
	Problem   string   `json:"problem,omitempty"`
}

func (f *archiveFlags) plan(w io.Writer, tasks []archiver.Task) error {
	var problems []error
	out := make([]archivePlan, 0, len(tasks))
	for _, t := range tasks {
		p := archivePlan{Topic: t.Partition.Topic, TopicID: t.TopicID.String(), Partition: t.Partition.Partition, Log: [2]int64{t.Start, t.End}, Next: t.Next, Left: max(0, t.End-t.Next)}
		if t.Problem != nil {
			p.Problem = t.Problem.Error()
			p.Left = 0
			problems = append(problems, t.Problem)
		}
		out = append(out, p)
		if !f.asJSON && t.Problem == nil {
			fmt.Fprintf(w, "%s: goes on at offset %d; the log has %d to %d, %d offsets are left\n", t.Partition, p.Next, t.Start, t.End-1, p.Left)
		}
	}
	if f.asJSON {
		problems = append(problems, printJSON(w, out))
	}
	return errors.Join(problems...)
}

// archivedPart is what `oncesink archive run --json` prints of a partition.
type archivedPart struct {
	Topic     string `json:"topic"`
	TopicID   string `json:"topic_id"`
	Partition int32  `json:"partition"`
	First     int64  `json:"first"` // offset
	End       int64  `json:"end"`   // the offset after the last one
	Records   int64  `json:"records"`
	Files     int    `json:"files"`
	Bytes     int64  `json:"bytes"`   // of the files
	Fetched   int64  `json:"fetched"` // bytes, as the broker has them
	Problem   string `json:"problem,omitempty"`
}

func archived(done []archiver.Done) []archivedPart {
	out := make([]archivedPart, 0, len(done))
	for _, d := range done {
		p := archivedPart{d.Partition.Topic, d.TopicID.String(), d.Partition.Partition, d.First, d.Next, d.Records, d.Files, d.Bytes, d.Fetched, ""}
		if d.Problem != nil {
			p.Problem = d.Problem.Error()
		}
		out = append(out, p)
	}
	return out
}

func printArchived(w io.Writer, done []archiver.Done, took time.Duration) {
	var records, size, fetched int64
	files := 0
	for _, d := range done {
		records, size, fetched, files = records+d.Records, size+d.Bytes, fetched+d.Fetched, files+d.Files
	}
	fmt.Fprintf(w, "archived %d records of %d partitions in %.1f s: %d files of %d bytes, of %d that the brokers sent\n", records, len(done), took.Seconds(), files, size, fetched)
}

// placeFlags name an archive that is looked at.
type placeFlags struct {
	flags
	from, topic string
	asJSON      bool
}

func (f *placeFlags) add(cmd *cobra.Command) {
	f.flags.add(cmd)
	cmd.Flags().StringVar(&f.from, "from", "", "a directory, or s3://BUCKET/PREFIX (default archive.location)")
	cmd.Flags().StringVar(&f.topic, "topic", "", "only this topic")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
}

// open opens the archive. A configuration is not needed where the command line names a place and there is none.
func (f *placeFlags) open(ctx context.Context, stderr io.Writer) (a *archive.Archive, err error) {
	if f.from != "" && !f.named() {
		if _, err := os.Stat(usualConfig); errors.Is(err, os.ErrNotExist) {
			a, err = archive.Open(ctx, f.from, archive.Options{})
			return a, archiveError(err)
		}
	}
	s, err := load(f.flags, stderr)
	if err != nil {
		return nil, err
	}
	a, err = s.cfg.OpenArchive(ctx, f.from)
	return a, archiveError(err)
}

// files are those that the command line asks for, and what is to be said of their partitions.
func (f *placeFlags) files(ctx context.Context, stderr io.Writer) (*archive.Archive, []archive.File, error) {
	a, err := f.open(ctx, stderr)
	if err != nil {
		return nil, nil, err
	}
	files, err := a.Topics(ctx, f.topic)
	if err != nil {
		return nil, nil, archiveError(err)
	}
	if len(files) == 0 {
		what := "nothing"
		if f.topic != "" {
			what = "nothing of topic " + f.topic
		}
		return nil, nil, &environmentError{fmt.Sprintf("the archive %s holds %s: `oncesink archive run` writes into it", a, what)}
	}
	return a, files, nil
}
