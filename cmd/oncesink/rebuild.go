package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/internal/verify"
	"github.com/oncesink/oncesink/internal/wiring"
)

// loadFlags are those of the commands that read a table's topics again.
type loadFlags struct {
	flags
	accept    []string
	dryRun    bool
	keepStage bool
	swap      bool
	asJSON    bool
	showKeys  bool
	keys      []string
}

func (f *loadFlags) add(cmd *cobra.Command) {
	f.flags.add(cmd)
	f.addFromArchive(cmd)
	cmd.Flags().StringSliceVar(&f.accept, "accept", nil, "go on in spite of "+strings.Join(rebuild.Accepts, ", ")+" (comma-separated)")
	cmd.Flags().BoolVar(&f.keepStage, "keep-stage", false, "leave the stage for the next time, which then reads only what is new")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print the result as JSON")
	cmd.Flags().BoolVar(&f.showKeys, "show-keys", false, "print the keys of a few rows that differ, which are values of rows")
}

const historyHelp = `
What the topics still have is told apart: a whole history; one that is kept from an offset on,
since retention removed the rest; a compacted one. Where it is not whole, rows whose events
are gone stay as they are, and are counted; rows whose events are there become what these
say; and only what the log disproves is deleted. --accept delete-unproven takes what the log
has for all there was: rows whose events are gone are then %s.`

var acceptHelp = fmt.Sprintf(historyHelp, "deleted") + `

It refuses where rows were made by no topic (--accept foreign-rows: they are deleted), and a
table with guard: none whose history is not whole. --dry-run counts first.`

func newRebuildCommand() *cobra.Command {
	var f loadFlags
	cmd := &cobra.Command{
		Use:   "rebuild TABLE",
		Short: "Read a table's topics again, and correct the table",
		Long: `Reads the topics of TABLE (its name in the configuration) from offset zero into a stage
beside it, at the speed of COPY where the events allow that, while oncesink run goes on.
Then it locks the group's positions for a moment, reads what has come meanwhile, and makes
the table what the stage says: in one transaction, and only the rows that differ. No reader
waits or sees a row go back and forth; views, foreign keys, grants and triggers live on.

Interrupted, or killed, it changes nothing; the same command takes up where it stopped.
--dry-run does all of it but the last step: it counts rows to add, change and delete, with
--show-keys it names some, and keeps the stage, so that the command without --dry-run reads only
what is new.

--swap is for when nearly every row changes: the stage takes the table's place, with its
indexes, constraints, grants, owner, comments and settings, and its tables of children go
with it. Readers wait for that moment, and one that began before in REPEATABLE READ sees an
empty table. It refuses where something hangs on the old table: views, triggers, policies,
publications, sequences, foreign keys but those of its children, columns that no event fills.
` + acceptHelp,
		Args: oneName("table"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.swap && len(f.keys) > 0 {
				return &usageError{fmt.Errorf("--swap: it exchanges the whole table; without it --keys corrects some rows")}
			}
			if f.swap && f.keepStage {
				return &usageError{fmt.Errorf("--keep-stage: a swap makes the stage the table")}
			}
			return f.run(cmd, args[0], nil, nil)
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the difference and change nothing")
	cmd.Flags().Var(keyList{&f.keys}, "keys", "correct only the rows with these `KEYS`: 17,18, or (DE,17) for a key of several columns; may be given again")
	cmd.Flags().BoolVar(&f.swap, "swap", false, "exchange the tables instead of changing rows")
	return cmd
}

func newBackfillCommand() *cobra.Command {
	var f loadFlags
	var r rebuild.Range
	cmd := &cobra.Command{
		Use:   "backfill TABLE --column COLUMN --from FIRST --to END",
		Short: "Correct the rows of one range of dates, from the topics",
		Long: `Does what rebuild does for the rows with FIRST <= COLUMN < END, in one transaction: rows of
the range that the topics don't have are deleted, the others become what the topics say, and
a row whose date moved out of the range, or into it, moves. Rows outside of the range are
left alone. Children of the range's rows are corrected with them. It may run beside oncesink
run and beside itself, and as often as one likes: the result is the same.

All events are read, for the range of a row is that of its last event; with --keep-stage the
next call reads only what is new, which makes the days of a scheduler cheap. Dates are read
in the time zone of the configuration (postgres.time_zone, UTC by default).

Exit codes: 0 done, 1 failed at run time (try again), 2 the configuration or the command
line has to be changed first.
` + acceptHelp,
		Args: oneName("table"),
		RunE: func(cmd *cobra.Command, args []string) error {
			for name, value := range map[string]string{"column": r.Column, "from": r.From, "to": r.To} {
				if value == "" {
					return &usageError{fmt.Errorf("--%s is missing: see `%s --help`", name, cmd.CommandPath())}
				}
			}
			return f.run(cmd, args[0], &r, nil)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&r.Column, "column", "", "column that the range is one of")
	cmd.Flags().StringVar(&r.From, "from", "", "first value, such as 2026-11-24")
	cmd.Flags().StringVar(&r.To, "to", "", "end of the range, which is not in it")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "show the difference and change nothing")
	return cmd
}

// keyList is a flag of keys: one in parentheses, or some with commas between them.
type keyList struct{ keys *[]string }

func (l keyList) Set(text string) error {
	if strings.HasPrefix(text, "(") {
		*l.keys = append(*l.keys, text)
		return nil
	}
	for k := range strings.SplitSeq(text, ",") {
		if k = strings.TrimSpace(k); k == "" {
			return errors.New("a key is missing")
		}
		*l.keys = append(*l.keys, k)
	}
	return nil
}

func (l keyList) String() string { return "" }
func (l keyList) Type() string   { return "keys" }

// oneName wants one argument: the name of a table, or of something else.
func oneName(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return &usageError{fmt.Errorf("name one %s: see `%s --help`", what, cmd.CommandPath())}
		}
		return nil
	}
}

// run loads a table again and prints what came of it; judge, if not nil, has the last word.
func (f *loadFlags) run(cmd *cobra.Command, table string, r *rebuild.Range, judge func(*rebuild.Result) error) error {
	ctx := cmd.Context()
	for _, a := range f.accept {
		if !slices.Contains(rebuild.Accepts, a) {
			return &usageError{fmt.Errorf("--accept %s: it takes %s", a, strings.Join(rebuild.Accepts, ", "))}
		}
	}
	s, err := loadTables(f.flags, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer s.close()
	s.loads(table)
	if table, err = s.connectFor(ctx, table); err != nil {
		return err
	}
	archive, err := s.archive(ctx)
	if err != nil {
		return err
	}
	limitMemory(cmp.Or(s.consumer.BufferBytes, wiring.BufferBytes))
	show := newProgress(cmd.ErrOrStderr(), s.log)
	ends, fix := s.alone.ends(archive)
	result, err := rebuild.Run(ctx, rebuild.Options{
		Ends: ends, EndsFix: fix, Pool: s.pool, Admin: s.admin, Cluster: s.meta.Cluster, Sink: s.sinkCfg, Consumer: s.consumer, Archive: archive,
		Table: table, Range: r, Keys: f.keys, Accept: f.accept, DryRun: f.dryRun, Verify: judge != nil, Swap: f.swap, KeepStage: f.keepStage || f.dryRun && judge == nil,
		Progress: show.tell, Logger: s.log,
	})
	show.end(err)
	if result == nil {
		return s.scrub(unfinished(ctx, err, table))
	}
	if !f.showKeys { // nobody asked for values of rows
		result.Samples = nil
	}
	if f.asJSON {
		if err := printJSON(cmd.OutOrStdout(), result); err != nil {
			return err
		}
	} else {
		printLoad(cmd.OutOrStdout(), result)
	}
	if err != nil {
		return s.scrub(unfinished(ctx, err, table))
	}
	if judge == nil {
		return nil
	}
	if !result.Differs() { // what was found in pieces before is right
		if err := verify.Forget(ctx, s.pool, s.consumer.Group, result.Table); err != nil {
			return s.scrub(err)
		}
	}
	return judge(result)
}

// unfinished says what a command that failed has done to the table.
func unfinished(ctx context.Context, err error, table string) error {
	switch rebuild.OutcomeOf(err) {
	case rebuild.Changed:
		return fmt.Errorf("the table is done, and its stage is left: %w: `oncesink verify %s` removes it", err, table)
	case rebuild.InDoubt:
		return fmt.Errorf("either all of it is done, or nothing: %w: `oncesink verify %s` tells; the same command may be run again in either case", err, table)
	}
	if ctx.Err() != nil {
		return errors.New("interrupted: nothing was changed; the same command goes on where this one stopped")
	}
	return err
}

// connectBoth connects to both ends, and wants a ledger. It goes on without the tables that a run leaves out.
func (s *session) connectBoth(ctx context.Context) error {
	if err := s.connectPostgres(ctx); err != nil {
		return err
	}
	if err := s.checkLedger(ctx); err != nil {
		return s.scrub(err)
	}
	if err := s.connectKafka(ctx); err != nil {
		return err
	}
	return s.leave(ctx)
}

// connectFor is connectBoth for a table, and returns the name that the configuration has for it. A table that a run leaves out is refused.
func (s *session) connectFor(ctx context.Context, table string) (string, error) {
	if err := s.connectBoth(ctx); err != nil {
		return "", err
	}
	table = s.cfg.TableName(table)
	return table, s.left[table]
}

func printLoad(w io.Writer, r *rebuild.Result) {
	would := ""
	if r.DryRun {
		would = "to be "
	}
	what := r.Table
	if r.Swapped {
		for _, c := range r.Children {
			what += ", " + c.Table
		}
		printWrapped(w, "", what+": exchanged for what the topics say")
		printWrapped(w, "", fmt.Sprintf("%d record(s) read in %.1f s; the group's positions were locked for %.2f s", r.Records, r.Seconds, r.Frozen))
		printMemory(w, r)
		return
	}
	if r.Keys > 0 {
		what += fmt.Sprintf(", %d key(s)", r.Keys)
	}
	if r.From != "" {
		what += fmt.Sprintf(", %s up to %s", r.From, r.To)
	}
	printWrapped(w, "", fmt.Sprintf("%s: %d row(s) %sadded, %d changed, %d deleted", what, r.Added, would, r.Changed, r.Deleted))
	printHistory(w, r)
	if r.Foreign > 0 {
		printWrapped(w, "", fmt.Sprintf("%d row(s) were made by no topic", r.Foreign))
	}
	printWrapped(w, "", fmt.Sprintf("%d record(s) read in %.1f s; the group's positions were locked for %.2f s", r.Records, r.Seconds, r.Frozen))
	for _, c := range r.Children {
		printWrapped(w, "", fmt.Sprintf("%s: %d row(s) %sadded, %d changed, %d deleted", c.Table, c.Added, would, c.Changed, c.Deleted))
		if c.Sets > 0 {
			printWrapped(w, "", fmt.Sprintf("%s: remembered for %d parent(s) otherwise than the topics say", c.Table, c.Sets))
		}
	}
	printMemory(w, r)
	for _, kind := range []string{"added", "changed", "deleted"} {
		if keys := r.Samples[kind]; len(keys) > 0 {
			printWrapped(w, "", "to be "+kind+", for example: "+strings.Join(keys, " "))
		}
	}
	if r.DeadLetters > 0 {
		where := ""
		if !r.DryRun { // else they are the stage's alone
			where = ": `oncesink dead-letters list`"
		}
		printWrapped(w, "", fmt.Sprintf("%d record(s) can't be written%s", r.DeadLetters, where))
	}
}

// printHistory says what of the history is gone, and how many rows stay for that.
func printHistory(w io.Writer, r *rebuild.Result) {
	for i := range r.History {
		if r.History[i].Kind != rebuild.Whole {
			printWrapped(w, "", r.History[i].Words())
		}
	}
	if r.Kept > 0 {
		printWrapped(w, "", fmt.Sprintf("%d row(s) kept as they are: their events are gone", r.Kept))
	}
}

// printMemory says how the delete memory compares: what it decides are events to come.
func printMemory(w io.Writer, r *rebuild.Result) {
	m := r.Memory
	if m == nil {
		return
	}
	would, forgotten := "", "forgotten"
	if r.DryRun {
		would, forgotten = "to be ", "to be forgotten"
	}
	if m.Differ+m.Missing+m.Stray > 0 {
		printWrapped(w, "", fmt.Sprintf("remembered deletions: %d %sadded, %d changed, %d %s", m.Missing, would, m.Differ, m.Stray, forgotten))
	}
	if m.Unproven > 0 {
		printWrapped(w, "", fmt.Sprintf("%d remembered deletion(s) that the topics neither prove nor refute: their tombstones are gone, or came from another topic", m.Unproven))
	}
}
