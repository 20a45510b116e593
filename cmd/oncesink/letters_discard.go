package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/letters"
)

func newLettersDiscardCommand() *cobra.Command {
	var f letterFlags
	var all, dry, undo, asJSON bool
	cmd := &cobra.Command{
		Use:   "discard [TOPIC/PARTITION@OFFSET]",
		Short: "Say that nobody wants dead letters written any more",
		Long: `Discards the open dead letters that the filters pick: nobody wants their
records written any more. They stay in the table, with who discarded them, and
a replay leaves them discarded. --undo makes discarded letters new again.

It says first which letters they are. Without a filter it wants --all.`,
		Args: onePlace,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.named(cmd, args); err != nil {
				return err
			}
			if f.all() && !all {
				return errNoFilter("discard")
			}
			from := letters.Open
			if undo {
				from = []string{letters.Discarded}
			}
			return f.withLetters(cmd, func(ctx context.Context, s *session, g letters.Group, filter letters.Filter) error {
				r := discardReport{Group: s.consumer.Group, DryRun: dry, Undo: undo}
				var err error
				if r.Kinds, err = g.Kinds(ctx, filter, from); err != nil {
					return err
				}
				if !asJSON {
					r.printPlan(cmd.OutOrStdout())
				}
				if r.Letters = sumOf(r.Kinds); !dry && r.Letters > 0 {
					if r.Done, err = g.Discard(ctx, filter, undo); err != nil {
						return allOrNone(ctx, err, "are settled")
					}
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), r)
				}
				r.print(cmd.OutOrStdout())
				return nil
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&all, "all", false, "all open letters of the group")
	cmd.Flags().BoolVar(&undo, "undo", false, "make discarded letters new again")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say which letters they are, and change nothing")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// discardReport is what `oncesink dead-letters discard --json` prints.
type discardReport struct {
	Group   string         `json:"group"`
	DryRun  bool           `json:"dry_run"`
	Undo    bool           `json:"undo"`
	Letters int64          `json:"letters"` // that the filters pick
	Kinds   []letters.Kind `json:"kinds"`
	Done    int64          `json:"done"` // discarded, or made new again
}

func sumOf(kinds []letters.Kind) (n int64) {
	for _, k := range kinds {
		n += k.Letters
	}
	return n
}

func (r *discardReport) printPlan(w io.Writer) {
	if n := sumOf(r.Kinds); n > 0 {
		done := "to be discarded"
		if r.Undo {
			done = "to be new again"
		}
		fmt.Fprintf(w, "%s dead letter(s) %s:\n", thousands(int(n)), done)
		printKinds(w, "  ", r.Kinds)
	}
}

func (r *discardReport) print(w io.Writer) {
	switch {
	case r.Letters == 0 && r.Undo:
		fmt.Fprintln(w, "no such letters are discarded")
	case r.Letters == 0:
		fmt.Fprintln(w, "no such dead letters are open")
	case r.DryRun:
		fmt.Fprintln(w, "not done: --dry-run")
	case r.Undo:
		fmt.Fprintf(w, "%s dead letter(s) are new again\n", thousands(int(r.Done)))
	default:
		printWrapped(w, "", fmt.Sprintf("%s dead letter(s) discarded: they stay in the table; --undo makes them new again", thousands(int(r.Done))))
	}
}
