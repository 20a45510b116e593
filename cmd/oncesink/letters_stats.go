package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/letters"
)

func newLettersStatsCommand() *cobra.Command {
	var f letterFlags
	var fail, asJSON bool
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Count dead letters by what refused them",
		Long: `Counts the dead letters of the group by topic, code, table, column and what
became of them, with when the first was kept and when the last was tried (UTC).

With --fail-if-new it ends with 4 if any of them is new: for a scheduler, or
CI.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			statuses, err := f.statuses()
			if err != nil {
				return err
			}
			return f.withLetters(cmd, func(ctx context.Context, s *session, g letters.Group, filter letters.Filter) error {
				kinds, err := g.Kinds(ctx, filter, statuses)
				if err != nil {
					return err
				}
				r := statsReport{s.consumer.Group, kinds}
				if asJSON {
					err = printJSON(cmd.OutOrStdout(), r)
				} else {
					r.print(cmd.OutOrStdout(), f.all() && f.status == "all")
				}
				if n := r.count(letters.New); err == nil && fail && n > 0 {
					return &lettersError{fmt.Sprintf("%d dead letter(s) are new", n)}
				}
				return err
			})
		},
	}
	f.add(cmd)
	f.addStatus(cmd, "all")
	cmd.Flags().BoolVar(&fail, "fail-if-new", false, "end with 4 if any is new")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// statsReport is what `oncesink dead-letters stats --json` prints.
type statsReport struct {
	Group string         `json:"group"`
	Kinds []letters.Kind `json:"kinds"`
}

func (r *statsReport) count(status string) (n int64) {
	for _, k := range r.Kinds {
		if k.Status == status {
			n += k.Letters
		}
	}
	return n
}

func (r *statsReport) print(w io.Writer, unfiltered bool) {
	if len(r.Kinds) == 0 {
		if unfiltered {
			fmt.Fprintln(w, "no dead letters")
		} else {
			fmt.Fprintln(w, "no such dead letters")
		}
		return
	}
	for i := 0; i < len(r.Kinds); {
		j := i
		of := statsReport{}
		for ; j < len(r.Kinds) && r.Kinds[j].Topic == r.Kinds[i].Topic; j++ {
			of.Kinds = append(of.Kinds, r.Kinds[j])
		}
		i = j
		of.printTopic(w)
	}
}

// printTopic prints kinds of one topic, by what became of the letters.
func (r *statsReport) printTopic(w io.Writer) {
	var sums []string
	for _, status := range letters.All {
		if n := r.count(status); n > 0 {
			sums = append(sums, thousands(int(n))+" "+status)
		}
	}
	printWrapped(w, "", r.Kinds[0].Topic+": "+strings.Join(sums, ", "))
	for _, status := range letters.All {
		for _, k := range r.Kinds {
			if k.Status != status {
				continue
			}
			printWrapped(w, "  ", k.Status+": "+kindText(&k, ""))
			span := "first " + when(k.First) + ", last tried " + when(k.Last)
			if k.Attempts > 1 {
				span += fmt.Sprintf(", up to %d times", k.Attempts)
			}
			printWrapped(w, "    ", span)
		}
	}
}
