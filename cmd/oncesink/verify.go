package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/rebuild"
	"github.com/oncesink/oncesink/internal/verify"
	"github.com/oncesink/oncesink/internal/wiring"
)

var verifyHelp = `
Rows that no topic made differ from the topics.
` + fmt.Sprintf(historyHelp, "differences")

// verifyFlags are those of verify in production.
type verifyFlags struct {
	sample     int
	walk       bool
	continuous bool
	rate       float64
	during     time.Duration
}

func (v *verifyFlags) add(cmd *cobra.Command) {
	cmd.Flags().IntVar(&v.sample, "sample", 0, "look at `N` rows and N events that are drawn at random")
	cmd.Flags().BoolVar(&v.walk, "walk", false, "look at all rows and events, from where the last walk stopped")
	cmd.Flags().BoolVar(&v.continuous, "continuous", false, "walk again and again, until it is stopped")
	cmd.Flags().Float64Var(&v.rate, "rate", defaultRate, "rows, and records, that it looks at in a second; 0: as fast as it goes")
	cmd.Flags().DurationVar(&v.during, "for", 0, "with --walk: stop after so long; the next call goes on (default: at the end)")
}

const defaultRate = 1000

// pieces reports whether the table is to be looked at a piece at a time.
func (v *verifyFlags) pieces() bool { return v.sample != 0 || v.walk || v.continuous }

// check refuses flags that don't go together.
func (v *verifyFlags) check(cmd *cobra.Command, f *loadFlags) error {
	wrong := func(format string, args ...any) error { return &usageError{fmt.Errorf(format, args...)} }
	modes := 0
	for _, on := range []bool{v.sample != 0, v.walk, v.continuous} {
		if on {
			modes++
		}
	}
	switch {
	case modes > 1:
		return wrong("--sample, --walk and --continuous: one of them")
	case v.sample < 0:
		return wrong("--sample %d: give how many rows are looked at", v.sample)
	case v.rate < 0:
		return wrong("--rate %g: give how many rows are looked at in a second, or 0", v.rate)
	case v.during < 0 || v.during > 0 && !v.walk:
		return wrong("--for: it says how long a --walk lasts")
	case modes == 0 && cmd.Flags().Changed("rate"):
		return wrong("--rate: without --sample, --walk or --continuous it reads as fast as it goes")
	case modes > 0 && f.keepStage:
		return wrong("--keep-stage: --sample, --walk and --continuous make no stage")
	}
	for _, a := range f.accept {
		if modes > 0 && a != rebuild.ForeignRows {
			return wrong("--accept %s: with --sample, --walk and --continuous it takes %s; what else can't be told is counted apart", a, rebuild.ForeignRows)
		}
	}
	return nil
}

func newVerifyCommand() *cobra.Command {
	var f loadFlags
	var v verifyFlags
	cmd := &cobra.Command{
		Use:   "verify TABLE",
		Short: "Compare a table with its topics",
		Long: `Reads the topics of TABLE from offset zero and compares, at one position, what they say with
what the table has. It changes nothing, and may run beside oncesink run. It ends with 0 if
they agree and with 1 if rows differ: oncesink rebuild corrects them. The memory of deleted rows,
which decides about events to come, and tables of children are compared with their table.
With --show-keys it names a few of the rows that differ.
` + verifyHelp,
		Args: oneName("table"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := v.check(cmd, &f); err != nil {
				return err
			}
			if v.pieces() {
				return v.run(cmd, &f, args[0])
			}
			f.dryRun = true
			return f.run(cmd, args[0], nil, func(r *rebuild.Result) error {
				if r.Differs() {
					return fmt.Errorf("%s differs from its topics: `oncesink rebuild %s` corrects it", r.Table, args[0])
				}
				return nil
			})
		},
	}
	f.add(cmd)
	v.add(cmd)
	return cmd
}

// run looks at a table a piece at a time, and prints what was found.
func (v *verifyFlags) run(cmd *cobra.Command, f *loadFlags, table string) error {
	ctx := cmd.Context()
	s, err := loadTables(f.flags, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer s.close()
	s.loads(table)
	if table, err = s.connectFor(ctx, table); err != nil {
		return err
	}
	limitMemory(cmp.Or(s.consumer.BufferBytes, wiring.BufferBytes))
	archive, err := s.archive(ctx)
	if err != nil {
		return err
	}
	var schemas event.SchemaSource
	if s.consumer.Registry != nil {
		asked, err := s.consumer.NewRegistry(s.pool)
		if err != nil {
			return err
		}
		if beside, ok := archive.(event.SchemaSource); ok {
			asked.Beside(beside)
		}
		schemas = asked
	}
	print := func(r *verify.Result) error {
		if !f.showKeys { // nobody asked for values of rows
			for i := range r.Found {
				r.Found[i].Key = nil
			}
		}
		switch {
		case f.asJSON && v.continuous:
			return json.NewEncoder(cmd.OutOrStdout()).Encode(r)
		case f.asJSON:
			return printJSON(cmd.OutOrStdout(), r)
		}
		printVerified(cmd.OutOrStdout(), r, f.showKeys)
		return nil
	}
	show := newProgress(cmd.ErrOrStderr(), s.log)
	r, err := verify.Run(ctx, verify.Options{
		Pool: s.pool, Client: s.client, Archive: archive, Sink: s.sinkCfg, Group: s.consumer.Group, Table: table, Schemas: schemas,
		Sample: v.sample, Continuous: v.continuous, For: v.during, Rate: v.rate, Foreign: slices.Contains(f.accept, rebuild.ForeignRows),
		Progress: func(p verify.Progress) { show.tell(rebuild.Progress{Phase: p.Phase, Done: p.Done, Total: p.Total}) },
		Passed:   print, Logger: s.log,
	})
	show.end(err)
	if err != nil {
		return s.scrub(err)
	}
	if err := print(r); err != nil {
		return err
	}
	if r.Kept > 0 || r.Mismatches > 0 {
		return fmt.Errorf("%s has %d mismatch(es) with its topics: `oncesink rebuild %s` corrects it", r.Table, cmp.Or(r.Kept, r.Mismatches), table)
	}
	return nil
}

// untoldWords say why something can't be told.
var untoldWords = map[string]string{
	verify.Retention:  "the log begins behind the event, and no archive has it",
	verify.Compacted:  "compaction may have taken the event",
	verify.Source:     "of a topic, or a partition, that the group does not read, or that was made anew",
	verify.Mapping:    "by another mapping than the group has now, or than this configuration",
	verify.Older:      "older than the columns in question",
	verify.DeadLetter: "the event is a dead letter",
	verify.Refused:    "the event would be refused now",
	verify.Schema:     "nobody has the event's schema",
	verify.Trigger:    "triggers or rules of the table may have changed it",
	verify.Accepted:   "made by no topic, which is accepted",
}

func printVerified(w io.Writer, r *verify.Result, keys bool) {
	what := "a sample"
	switch {
	case r.Complete:
		what = fmt.Sprintf("pass %d, all of it", r.Pass)
	case r.Pass > 0:
		what = fmt.Sprintf("pass %d, so far", r.Pass)
	}
	printWrapped(w, "", fmt.Sprintf("%s: %s: %d mismatch(es)", r.Table, what, r.Mismatches))
	rows := fmt.Sprintf("looked at %s row(s)", thousands(r.Rows))
	if r.RowsAbout > r.Rows && !r.Complete {
		rows += fmt.Sprintf(" of about %s", thousands(r.RowsAbout))
	}
	if r.Children > 0 {
		rows += fmt.Sprintf(" with %s child row(s)", thousands(r.Children))
	}
	if r.Deletions > 0 {
		rows += fmt.Sprintf(", %s remembered deletion(s)", thousands(r.Deletions))
	}
	rows += fmt.Sprintf(", and %s event(s)", thousands(r.Events))
	if r.EventsAbout > r.Events && !r.Complete {
		rows += fmt.Sprintf(" of about %s", thousands(r.EventsAbout))
	}
	if r.Moved > 0 {
		rows += fmt.Sprintf("; %s were written meanwhile", thousands(r.Moved))
	}
	printWrapped(w, "", rows)
	archived := ""
	if r.Archived > 0 {
		archived = fmt.Sprintf(", and %s record(s) from the archive,", thousands(r.Archived))
	}
	printWrapped(w, "", fmt.Sprintf("%s record(s), %s byte(s) read from Kafka%s in %.1f s", thousands(r.Records), thousands(r.Bytes), archived, r.Seconds))
	for _, why := range slices.Sorted(maps.Keys(r.Untold)) {
		printWrapped(w, "", fmt.Sprintf("can't be told: %s: %s", thousands(r.Untold[why]), cmp.Or(untoldWords[why], why)))
	}
	if r.Mended > 0 {
		printWrapped(w, "", fmt.Sprintf("%d that were found before are right by now", r.Mended))
	}
	printMismatches(w, r.Found, keys)
	if r.Kept > int64(len(r.Found)) {
		printWrapped(w, "", fmt.Sprintf("%d are kept: `select * from oncesink.mismatches`", r.Kept))
	}
}

// printMismatches names some, by what is wrong; with the keys of rows if they are asked for.
func printMismatches(w io.Writer, found []verify.Mismatch, keys bool) {
	for i := range found {
		printWrapped(w, "  ", strings.TrimSpace(found[i].Kind+" "+found[i].Describe(keys)))
	}
}
