package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/letters"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// retryReport is what `oncesink dead-letters retry --json` prints.
type retryReport struct {
	Group   string         `json:"group"`
	DryRun  bool           `json:"dry_run"`
	Late    bool           `json:"late"`
	Letters int64          `json:"letters"` // that the filters pick
	Kinds   []letters.Kind `json:"kinds"`
	// Waiting are partitions whose letters nobody tries now.
	Waiting  []waitingLetters `json:"waiting"`
	Warnings []string         `json:"warnings"`
	Asked    int64            `json:"asked"` // to be tried again
	// Outcome is what became of them, where that was waited for.
	Outcome *letters.Outcome `json:"outcome,omitempty"`
	Seconds float64          `json:"seconds,omitempty"`
}

// waitingLetters are those of a partition that nobody tries now.
type waitingLetters struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Letters   int64  `json:"letters"`
	Why       string `json:"why"`
	// Remedy is the statement that mends it, if there is one.
	Remedy string `json:"remedy,omitempty"`
	// unowned: nothing but a process is missing.
	unowned bool
}

// says why they wait, and what to do.
func (x *waitingLetters) says() string {
	if x.Remedy == "" {
		return x.Why
	}
	return x.Why + ": " + x.Remedy
}

func (x *waitingLetters) partition() offsets.Partition {
	return offsets.Partition{Topic: x.Topic, Partition: x.Partition}
}

type retryFlags struct {
	letterFlags
	all, late, dryRun, wait, asJSON bool
}

func newLettersRetryCommand() *cobra.Command {
	var f retryFlags
	cmd := &cobra.Command{
		Use:   "retry [TOPIC/PARTITION@OFFSET]",
		Short: "Have the group try dead letters again",
		Long: `Asks for the open dead letters that the filters pick to be tried again. The
process that owns their partition does it within about a second, oldest first,
under its fence, in transactions of their own, at most 500 a second. A letter
whose record is written is resolved; one that is refused again is new again,
with what it is refused for now.

It says first which letters they are, which of them wait because nobody reads
their partition, and where a record may come too late: handlers, tables with
guard: none, and events that do not have all columns, after later ones were
written. Those are refused again, with code ONS31, unless --late says to write
them nevertheless. Everywhere else the order of the guard decides, as in a
replay.

--wait follows until none of them is asked for any more, and says what became
of them. It ends with 4 if some were refused again, and with 1 if some wait in
a partition that is paused or halted.

Without a filter it wants --all.`,
		Args: onePlace,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.named(cmd, args); err != nil {
				return err
			}
			if f.letterFlags.all() && !f.all {
				return errNoFilter("retry")
			}
			if f.dryRun && f.wait {
				return &usageError{errors.New("--dry-run changes nothing: there is nothing to --wait for")}
			}
			return f.withLetters(cmd, func(ctx context.Context, s *session, g letters.Group, filter letters.Filter) error {
				return f.run(ctx, s, g, filter, cmd.OutOrStdout(), cmd.ErrOrStderr())
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&f.all, "all", false, "all open letters of the group")
	cmd.Flags().BoolVar(&f.late, "late", false, "write them, whatever came after them")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "wait for it, and say what became of them")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say which letters they are, and change nothing")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

func (f *retryFlags) run(ctx context.Context, s *session, g letters.Group, filter letters.Filter, stdout, stderr io.Writer) error {
	r, err := s.planRetry(ctx, g, filter, f.late)
	if err != nil {
		return err
	}
	if r.DryRun = f.dryRun; !f.asJSON {
		r.printPlan(stdout)
	}
	var asked *letters.Asked
	if !f.dryRun && r.Letters > 0 {
		if asked, err = letters.Ask(ctx, s.pool, s.consumer.Group, filter, f.late); err != nil {
			return allOrNone(ctx, err, "are asked for")
		}
		r.Asked = asked.Letters
		if f.wait {
			err = s.awaitLetters(ctx, g, asked, r, stderr)
		}
	}
	if f.asJSON {
		err = errors.Join(printJSON(stdout, r), err)
	} else {
		r.print(stdout, f.wait)
	}
	if err == nil && r.Outcome != nil && r.Outcome.Refused > 0 {
		err = &lettersError{fmt.Sprintf("%s of %s dead letter(s) were refused again", thousands(int(r.Outcome.Refused)), thousands(int(r.Asked)))}
	}
	return err
}

// planRetry says what a retry of the letters meets.
func (s *session) planRetry(ctx context.Context, g letters.Group, filter letters.Filter, late bool) (*retryReport, error) {
	r := &retryReport{Group: s.consumer.Group, Late: late, Warnings: []string{}}
	var err error
	if r.Kinds, err = g.Kinds(ctx, filter, letters.Open); err != nil {
		return nil, err
	}
	r.Letters = sumOf(r.Kinds)
	for i := range r.Kinds { // two of one kind, if some of it are asked for already
		r.Kinds[i].Status = ""
	}
	r.Kinds = merged(r.Kinds)
	in, err := g.Partitions(ctx, filter, letters.Open)
	if err != nil {
		return nil, err
	}
	if r.Waiting, err = s.waiting(ctx, in); err != nil {
		return nil, err
	}
	var topics []string
	for p := range in {
		topics = append(topics, p.Topic)
	}
	if len(topics) > 0 {
		r.Warnings = append(r.Warnings, lateWarnings(s.tablesOf(topics), topics, late)...)
	}
	return r, nil
}

// merged are kinds of which two have nothing apart.
func merged(kinds []letters.Kind) []letters.Kind {
	out := []letters.Kind{}
	for _, k := range kinds {
		i := slices.IndexFunc(out, func(o letters.Kind) bool {
			return o.Topic == k.Topic && o.Code == k.Code && o.Table == k.Table && o.Column == k.Column && o.Status == k.Status
		})
		if i < 0 {
			out = append(out, k)
			continue
		}
		o := &out[i]
		o.Letters, o.Attempts = o.Letters+k.Letters, max(o.Attempts, k.Attempts)
		if k.First.Before(o.First) {
			o.First = k.First
		}
		if k.Last.After(o.Last) {
			o.Last = k.Last
		}
	}
	return out
}

// waiting are the partitions whose letters nobody tries now.
func (s *session) waiting(ctx context.Context, in map[offsets.Partition]int64) ([]waitingLetters, error) {
	out := []waitingLetters{}
	if len(in) == 0 {
		return out, nil
	}
	partitions := slices.SortedFunc(maps.Keys(in), func(a, b offsets.Partition) int {
		return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	ledger := offsets.New(s.pool, s.consumer.Group, offsets.Options{})
	rows, err := ledger.Rows(ctx, partitions...)
	if err != nil {
		return nil, err
	}
	alive := map[string]bool{"": false}
	at := map[offsets.Partition]offsets.Row{}
	for _, row := range rows {
		at[row.Partition] = row
		if _, known := alive[row.Instance]; !known {
			if alive[row.Instance], err = ledger.Alive(ctx, row.Instance); err != nil {
				return nil, err
			}
		}
	}
	for _, p := range partitions {
		x := waitingLetters{Topic: p.Topic, Partition: p.Partition, Letters: in[p]}
		row, known := at[p]
		read := s.cfg.Reads(p.Topic)
		switch {
		case !known:
			x.Why, x.unowned = "the group has no position there", true
		case !read:
			x.Why, x.unowned = "the configuration does not read the topic", true
		case row.Halted != "":
			x.Why = "it has halted: `oncesink status` says why"
		case row.Paused:
			x.Why, x.Remedy = "it is paused", offsets.Remedy("resume", s.consumer.Group, p.Topic, p.Partition)
		case !alive[row.Instance]:
			x.Why, x.unowned = "no process reads there now: start `oncesink run`, or your program", true
		default:
			continue
		}
		out = append(out, x)
	}
	return out, nil
}

// lateWarnings say of which tables that the topics feed a record may come too late, and what becomes of it then.
func lateWarnings(all []sink.TableConfig, topics []string, late bool) (out []string) {
	var unguarded, partial []string
	for _, t := range all {
		switch {
		case !slices.ContainsFunc(t.Topics, func(topic string) bool { return slices.Contains(topics, topic) }), cmp.Or(t.Strategy, sink.Upsert) != sink.Upsert:
		case t.Guard == sink.GuardNone:
			unguarded = append(unguarded, t.Name)
		default:
			partial = append(partial, t.Name)
		}
	}
	const rebuild = "`oncesink rebuild` of the table applies events in their order"
	switch {
	case len(all) == 0 && late:
		out = append(out, "--late: the handlers are called for these records after later ones")
	case len(all) == 0:
		out = append(out, "the handlers have been called for later records: these are refused again as late (ONS31), unless --late is given")
	}
	switch names := strings.Join(unguarded, ", "); {
	case names == "":
	case late:
		out = append(out, "--late: "+names+" has no guard: these records overwrite what later ones have written")
	default:
		out = append(out, names+" has no guard that tells whether a later event has written the row: its records are refused again as late (ONS31), unless --late is given; "+rebuild)
	}
	switch names := strings.Join(partial, ", "); {
	case names == "":
	case late:
		out = append(out, "--late: an event that does not have all columns of "+names+" changes nothing where a later one has written the row, and its letter is resolved nevertheless")
	default:
		out = append(out, "an event that does not have all columns of "+names+" is refused again as late (ONS31) where a later one has written the row; "+rebuild)
	}
	return out
}

func (r *retryReport) printPlan(w io.Writer) {
	if r.Letters == 0 {
		fmt.Fprintln(w, "no such dead letters are open")
		return
	}
	fmt.Fprintf(w, "%s dead letter(s) to be tried again:\n", thousands(int(r.Letters)))
	printKinds(w, "  ", r.Kinds)
	printWaiting(w, r.Waiting)
	for _, warning := range r.Warnings {
		printWrapped(w, "", "note: "+warning)
	}
}

// printWaiting says of which partitions nobody tries the letters now.
func printWaiting(w io.Writer, all []waitingLetters) {
	const most = 5
	said := 0
	for _, x := range all {
		if x.unowned {
			continue
		}
		if said++; said <= most {
			printWrapped(w, "", fmt.Sprintf("%s wait in %s: %s", thousands(int(x.Letters)), x.partition(), x.says()))
		}
	}
	if said > most {
		printWrapped(w, "", fmt.Sprintf("and those of %d more partition(s) that are paused or halted: `oncesink status`", said-most))
	}
	var whys []string
	for _, x := range all {
		if x.unowned && !slices.Contains(whys, x.Why) {
			whys = append(whys, x.Why)
		}
	}
	for _, why := range whys {
		var names []string
		var n int64
		for _, x := range all {
			if x.unowned && x.Why == why {
				names, n = append(names, x.partition().String()), n+x.Letters
			}
		}
		printWrapped(w, "", fmt.Sprintf("%s wait in %s: %s", thousands(int(n)), some(names, most), why))
	}
}

// some names the first of a list, and how many there are beside them.
func some(names []string, most int) string {
	if len(names) <= most+1 {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

func (r *retryReport) print(w io.Writer, waited bool) {
	switch o := r.Outcome; {
	case r.Letters == 0:
	case r.DryRun:
		fmt.Fprintln(w, "not done: --dry-run")
	case o != nil:
		r.printOutcome(w)
	case r.Asked > 0 && !waited:
		printWrapped(w, "", fmt.Sprintf("%s asked for: `oncesink dead-letters list` shows what becomes of them, and --wait waits for it", thousands(int(r.Asked))))
	}
}

func (r *retryReport) printOutcome(w io.Writer) {
	o := r.Outcome
	said := []string{thousands(int(o.Written)) + " written"}
	for _, x := range []struct {
		n    int64
		what string
	}{{o.Refused, "refused again"}, {o.Discarded, "discarded meanwhile"}, {o.Gone, "deleted from the table meanwhile"}, {o.Left, "still to be tried"}} {
		if x.n > 0 {
			said = append(said, thousands(int(x.n))+" "+x.what)
		}
	}
	printWrapped(w, "", fmt.Sprintf("%s dead letter(s) tried again in %.1f s: %s", thousands(int(r.Asked-o.Left)), r.Seconds, strings.Join(said, ", ")))
	printKinds(w, "  ", o.Kinds)
}
