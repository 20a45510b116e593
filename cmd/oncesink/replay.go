package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// replayFlags are the command line of `oncesink replay`.
type replayFlags struct {
	flags
	topics               []string
	partitions           []int
	from                 string
	dryRun, wait, asJSON bool
}

// replayReport is what `oncesink replay --json` prints.
type replayReport struct {
	Group      string            `json:"group"`
	DryRun     bool              `json:"dry_run"`
	Partitions []partitionReplay `json:"partitions"`
	Warnings   []string          `json:"warnings"`

	moved       []offsets.Rewound
	archiveOnly bool
}

// partitionReplay is what became of one partition.
type partitionReplay struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"` // where it stood
	To        int64  `json:"to"`
	// Archived is how many of the offsets are read from the archive.
	Archived int64 `json:"archived,omitempty"`
	// Stays says why the partition was left where it stood.
	Stays string `json:"stays,omitempty"`
}

func newReplayCommand() *cobra.Command {
	var f replayFlags
	cmd := &cobra.Command{
		Use:   "replay",
		Short: "Have the running group read its topics again",
		Long: `Sends the group's partitions back to an earlier offset, all of them in one transaction, while
oncesink run goes on: its processes notice within about a second, and read on from there.
Tables with a guard come out of it as they went in, and no reader sees a row go back in
time. Killed, it has moved all partitions or none; it may be run again.

--from is where they go: beginning (the oldest record that there is: of the log, or of the
archive below it), an offset, or a time such as 2026-11-24T00:00:00Z (the first record at or
after it). A partition that stands there or below is left alone: a replay never moves forward.

With an archive, of the configuration or of --from-archive, they go below the log's start;
oncesink run reads from it what the log no longer has, if it is given the same one.

--wait follows until every partition is back where it stood. It ends with 1 if one halts.

A group that has a table with guard: none is refused: see oncesink rebuild.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.add(cmd)
	f.addFromArchive(cmd)
	cmd.Flags().StringSliceVar(&f.topics, "topic", nil, "topics to read again (default all of the configuration)")
	cmd.Flags().IntSliceVar(&f.partitions, "partition", nil, "partitions to read again (default all)")
	cmd.Flags().StringVar(&f.from, "from", "beginning", "beginning, an offset, or a time")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "print what would be done and change nothing")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "wait until every partition is back where it stood")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

func (f *replayFlags) run(ctx context.Context, stdout, stderr io.Writer) error {
	if f.dryRun && f.wait {
		return &usageError{errors.New("--dry-run changes nothing: there is nothing to --wait for")}
	}
	from, err := parseReplayFrom("--from", f.from, time.Now())
	if err != nil {
		return err
	}
	s, err := load(f.flags, stderr)
	if err != nil {
		return err
	}
	defer s.close()
	s.alone.reaches, s.alone.topics = true, f.topics
	if err := s.knowTables(ctx); err != nil {
		return err
	}
	if err := s.replayTopics(f.topics); err != nil {
		return err
	}
	r, ledger, err := s.replay(ctx, f, from)
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted: either all partitions were sent back or none (see `oncesink status`); it may be run again")
	}
	if err != nil {
		return err
	}
	if f.asJSON {
		err = printJSON(stdout, r)
	} else {
		r.print(stdout)
	}
	if err != nil || !f.wait {
		return err
	}
	return s.awaitReplay(ctx, ledger, r.moved, stdout, stderr, f.asJSON)
}

// replay connects, and sends the partitions back or says what that would do.
func (s *session) replay(ctx context.Context, f *replayFlags, from replayFrom) (*replayReport, *offsets.Ledger, error) {
	if err := s.connectBoth(ctx); err != nil {
		return nil, nil, err
	}
	sk, ledger, err := s.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	rows, err := s.replayRows(ctx, sk, ledger, f.topics, f.partitions)
	if err != nil {
		return nil, nil, err
	}
	plan, err := s.planReplay(ctx, from, rows)
	if err != nil {
		return nil, nil, err
	}
	done, err := plan.carryOut(ctx, ledger, rows, f.dryRun)
	if err != nil {
		return nil, nil, s.scrub(err)
	}
	r := plan.report(done)
	r.Group, r.DryRun, r.archiveOnly = s.consumer.Group, f.dryRun, s.alone.only
	return r, ledger, s.scrub(r.warnOfIdleness(ctx, ledger))
}

// replayFrom is where partitions are sent back to: the zero value is the log's beginning.
type replayFrom struct {
	text   string
	offset *int64
	time   time.Time
}

// parseReplayFrom reads the value of a flag.
func parseReplayFrom(flag, text string, now time.Time) (replayFrom, error) {
	from := replayFrom{text: text}
	if text == "beginning" {
		return from, nil
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		if n < 0 {
			return from, &usageError{fmt.Errorf("%[1]s %[2]s: offsets begin at 0; use %[1]s beginning for the oldest record there is", flag, text)}
		}
		from.offset = &n
		return from, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return from, &usageError{fmt.Errorf("%s %q: use beginning, an offset, or a time such as 2026-11-24T00:00:00Z", flag, text)}
	}
	if at.After(now) {
		return from, &usageError{fmt.Errorf("%s %s lies in the future: name a time at which there were records", flag, text)}
	}
	from.time = at
	return from, nil
}

// replayTopics wants topics of the configuration.
func (s *session) replayTopics(topics []string) error {
	for _, t := range topics {
		if _, ok := s.consumer.Topics[t]; !ok {
			return &usageError{fmt.Errorf("--topic %s: the configuration reads %s", t, strings.Join(slices.Sorted(maps.Keys(s.consumer.Topics)), ", "))}
		}
	}
	return nil
}

// replayRows are the ledger's rows that are named, and may be rewound.
func (s *session) replayRows(ctx context.Context, sk *engine.Sink, ledger *offsets.Ledger, topics []string, partitions []int) ([]offsets.Row, error) {
	all, err := ledger.Rows(ctx)
	if err != nil {
		return nil, s.scrub(err)
	}
	group := s.consumer.Group
	if len(all) == 0 {
		return nil, &environmentError{fmt.Sprintf("group %s has no positions: nothing was read that could be read again; start `oncesink run`, or your program, first", group)}
	}
	var refused []string
	for _, t := range s.sinkCfg.Tables {
		if t.Guard == sink.GuardNone {
			refused = append(refused, "`oncesink rebuild "+t.Name+"`")
		}
	}
	if refused == nil {
		refused = []string{"`oncesink rebuild TABLE`"}
	}
	known := map[string][]int{}
	var rows []offsets.Row
	for _, r := range all {
		if _, ok := s.consumer.Topics[r.Topic]; !ok || len(topics) > 0 && !slices.Contains(topics, r.Topic) {
			continue
		}
		number := int(r.Partition.Partition)
		known[r.Topic] = append(known[r.Topic], number)
		if len(partitions) > 0 && !slices.Contains(partitions, number) {
			continue
		}
		if why := cmp.Or(sk.ReplayRefused(), r.ReplayRefused); why != "" {
			if len(s.sinkCfg.Tables) == 0 {
				return nil, &environmentError{fmt.Sprintf("group %s can't be rewound: %s", group, why)}
			}
			return nil, &environmentError{fmt.Sprintf("group %s can't be rewound: %s; %s reads the topics of a table again and corrects it", group, why, strings.Join(refused, ", "))}
		}
		if err := s.sameTopic(r); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	for _, t := range topics {
		if known[t] == nil {
			return nil, &environmentError{fmt.Sprintf("topic %s has no positions in group %s: nothing of it was read yet (see `oncesink status`)", t, group)}
		}
	}
	for _, t := range slices.Sorted(maps.Keys(known)) {
		for _, p := range partitions {
			if !slices.Contains(known[t], p) {
				return nil, &usageError{fmt.Errorf("--partition %d: topic %s has %s in group %s; name partitions that every --topic has", p, t, numbers(known[t]), group)}
			}
		}
	}
	if len(rows) == 0 {
		return nil, &environmentError{fmt.Sprintf("group %s has no positions in the topics of the configuration (see `oncesink status`)", group)}
	}
	return rows, nil
}

// sameTopic refuses offsets of another log: a rewind of them would mean nothing.
func (s *session) sameTopic(r offsets.Row) error {
	id := offsets.Token(s.meta.Topics[r.Topic].ID)
	switch {
	case r.ClusterID != "" && s.meta.Cluster != "" && r.ClusterID != s.meta.Cluster:
		e := offsets.ClusterChangedError{Group: s.consumer.Group, Partition: r.Partition, Was: r.ClusterID, Is: s.meta.Cluster, TopicID: id}
		return &environmentError{e.Error()}
	case !r.TopicID.IsZero() && !id.IsZero() && r.TopicID != id:
		e := offsets.TopicChangedError{Group: s.consumer.Group, Partition: r.Partition, Was: r.TopicID, Is: id}
		return &environmentError{e.Error()}
	}
	return nil
}

// numbers says which partitions there are: 0 to 5, or a list.
func numbers(partitions []int) string {
	last := len(partitions) - 1
	if last > 1 && partitions[last]-partitions[0] == last {
		return fmt.Sprintf("partitions %d to %d", partitions[0], partitions[last])
	}
	return "partition(s) " + strings.Trim(fmt.Sprint(partitions), "[]")
}

// warnOfIdleness says that nobody is there to read again what was rewound.
func (r *replayReport) warnOfIdleness(ctx context.Context, ledger *offsets.Ledger) error {
	if len(r.moved) == 0 {
		return nil
	}
	alive, err := anyOwnerAlive(ctx, ledger, r.moved)
	if err == nil && !alive {
		r.Warnings = append(r.Warnings, "no process owns these partitions now: they are read again when "+r.reader()+" runs")
	}
	return err
}

// anyOwnerAlive reports whether a process that owns one of the partitions has a session in the database.
func anyOwnerAlive(ctx context.Context, ledger *offsets.Ledger, partitions []offsets.Rewound) (bool, error) {
	asked := map[string]bool{"": true}
	for _, p := range partitions {
		if asked[p.Instance] {
			continue
		}
		asked[p.Instance] = true
		if alive, err := ledger.Alive(ctx, p.Instance); alive || err != nil {
			return alive, err
		}
	}
	return false, nil
}

// reader is who reads again what was sent back.
func (r *replayReport) reader() string {
	if r.archiveOnly {
		return "`oncesink run --archive-only`, or anything else that reads the archive,"
	}
	return "`oncesink run`, or your program,"
}

func (r *replayReport) print(w io.Writer) {
	would := ""
	if r.DryRun {
		would = " (not done: --dry-run)"
	}
	for _, p := range r.Partitions {
		if p.Stays != "" {
			printWrapped(w, "", fmt.Sprintf("%s/%d: stays at %d: %s", p.Topic, p.Partition, p.From, p.Stays))
		} else {
			archived := ""
			if p.Archived > 0 {
				archived = ", " + events(p.To, p.To+p.Archived) + " from the archive"
			}
			printWrapped(w, "", fmt.Sprintf("%s/%d: %d -> %d%s%s", p.Topic, p.Partition, p.From, p.To, archived, would))
		}
	}
	for _, warning := range foldAlike(r.Warnings) {
		printWrapped(w, "", "warning: "+warning)
	}
}

// listed are the offsets that the brokers gave for the rows.
func listed(rows []offsets.Row, found kadm.ListedOffsets) (map[offsets.Partition]int64, error) {
	out := map[offsets.Partition]int64{}
	for _, r := range rows {
		o, ok := found.Lookup(r.Topic, r.Partition.Partition)
		switch {
		case !ok:
			return nil, &environmentError{fmt.Sprintf("Kafka has no partition %s, and the ledger has: see `oncesink status`", r.Partition)}
		case o.Err != nil:
			return nil, fmt.Errorf("list offsets of %s: %w", r.Partition, o.Err)
		}
		out[r.Partition] = o.Offset
	}
	return out, nil
}
