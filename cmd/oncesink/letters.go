package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/letters"
	"github.com/oncesink/oncesink/internal/pgname"
)

func newDeadLettersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead-letters",
		Short: "Look at records that could not be written, and settle them",
		Long: `A record that can't be written is kept whole in oncesink.dead_letters, as a
dead letter. It is new until somebody has it tried again (retry: then resolved,
or new again) or wants nothing more of it (discarded). A letter is named by the
place of its record, TOPIC/PARTITION@OFFSET.

Nothing of a record is shown without --payload, and neither is the message of
its error, which may quote a value: what the error's code means is said
instead.

Kafka need not be there, but to try records again. The cookbook is
docs/dead-letters.md.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &usageError{fmt.Errorf("name what to do: list, show, retry, discard, export or stats: see `%s --help`", cmd.CommandPath())}
		},
	}
	cmd.AddCommand(newLettersListCommand(), newLettersShowCommand(), newLettersRetryCommand(), newLettersDiscardCommand(),
		newLettersExportCommand(), newLettersStatsCommand())
	return cmd
}

// letterFlags pick dead letters.
type letterFlags struct {
	flags
	topic, code, table      string
	partition, offset       int64
	hasPartition, hasOffset bool
	since, until            string
	status                  string // where it can be chosen
}

func (f *letterFlags) add(cmd *cobra.Command) {
	f.flags.add(cmd)
	cmd.Flags().StringVar(&f.topic, "topic", "", "letters of this topic")
	cmd.Flags().Int64Var(&f.partition, "partition", 0, "letters of this partition of --topic")
	cmd.Flags().Int64Var(&f.offset, "offset", 0, "the letter at this offset of --partition")
	cmd.Flags().StringVar(&f.code, "code", "", "letters with this code, such as 22P02")
	cmd.Flags().StringVar(&f.table, "table", "", "letters that this table refused")
	cmd.Flags().StringVar(&f.since, "since", "", "letters kept since a time, or so long ago (24h)")
	cmd.Flags().StringVar(&f.until, "until", "", "letters kept before a time, or so long ago")
}

// addStatus adds the choice of what became of the letters, and its default.
func (f *letterFlags) addStatus(cmd *cobra.Command, standard string) {
	cmd.Flags().StringVar(&f.status, "status", standard, "statuses, open or all")
}

// named puts the one argument that there may be, a place, into the flags.
func (f *letterFlags) named(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	for _, name := range []string{"topic", "partition", "offset"} {
		if cmd.Flags().Changed(name) {
			return &usageError{fmt.Errorf("%s names its letter: leave --%s out", args[0], name)}
		}
	}
	var one letters.Filter
	if err := letters.ParsePlace(args[0], &one); err != nil {
		return &usageError{fmt.Errorf("%q: %w", args[0], err)}
	}
	f.topic, f.partition, f.offset = one.Topic, int64(*one.Partition), *one.Offset
	f.hasPartition, f.hasOffset = true, true
	return nil
}

// onePlace wants at most one argument.
func onePlace(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return &usageError{fmt.Errorf("name one letter at most, or use the filters: see `%s --help`", cmd.CommandPath())}
	}
	return nil
}

// filter is what the flags say. Tables have the names that letters know them by.
func (f *letterFlags) filter(s *session, now time.Time) (out letters.Filter, err error) {
	out = letters.Filter{Topic: f.topic, Code: f.code}
	switch {
	case f.partition < 0 || f.offset < 0 || f.partition > math.MaxInt32:
		return out, &usageError{errors.New("partitions and offsets are numbers from 0")}
	case f.hasPartition && f.topic == "":
		return out, &usageError{errors.New("--partition goes with --topic")}
	case f.hasOffset && !f.hasPartition:
		return out, &usageError{errors.New("--offset goes with --topic and --partition")}
	}
	if f.hasPartition {
		partition := int32(f.partition)
		out.Partition = &partition
	}
	if f.hasOffset {
		out.Offset = &f.offset
	}
	if f.table != "" {
		schema, name, err := pgname.Qualify(s.cfg.TableName(f.table), cmp.Or(s.sinkCfg.SearchPath, "public"))
		if err != nil {
			return out, &usageError{fmt.Errorf("--table: %w", err)}
		}
		out.Table = schema + "." + name
	}
	if out.Since, err = parseMoment("since", f.since, now); err == nil {
		out.Until, err = parseMoment("until", f.until, now)
	}
	if err == nil && !out.Since.IsZero() && !out.Until.IsZero() && !out.Since.Before(out.Until) {
		err = &usageError{fmt.Errorf("--since %s does not lie before --until %s", f.since, f.until)}
	}
	return out, err
}

// all reports whether nothing is filtered.
func (f *letterFlags) all() bool {
	return f.topic+f.code+f.table+f.since+f.until == ""
}

// parseMoment reads a time, or how long ago it is.
func parseMoment(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return at, &usageError{fmt.Errorf("--%s %q: use a time such as 2026-11-24T00:00:00Z, or how long ago: 24h, 90m", flag, text)}
	}
	return at, nil
}

// statuses are those that the flag names.
func (f *letterFlags) statuses() ([]string, error) {
	switch f.status {
	case "open":
		return letters.Open, nil
	case "all":
		return letters.All, nil
	}
	list := strings.Split(f.status, ",")
	for _, s := range list {
		if !slices.Contains(letters.All, s) {
			return nil, &usageError{fmt.Errorf("--status %q: use %s, several of them with commas, open (new and retry) or all", s, strings.Join(letters.All, ", "))}
		}
	}
	return list, nil
}

// withLetters connects to the database and calls do with the dead letters of the group, and those that the flags pick.
func (f *letterFlags) withLetters(cmd *cobra.Command, do func(context.Context, *session, letters.Group, letters.Filter) error) error {
	ctx := cmd.Context()
	s, err := load(f.flags, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer s.close()
	f.hasPartition = f.hasPartition || cmd.Flags().Changed("partition")
	f.hasOffset = f.hasOffset || cmd.Flags().Changed("offset")
	filter, err := f.filter(s, time.Now())
	if err != nil {
		return err
	}
	if err := s.connectPostgres(ctx); err != nil {
		return err
	}
	if err := s.checkLedger(ctx); err != nil {
		return s.scrub(err)
	}
	g := letters.Group{Name: s.consumer.Group, On: s.pool}
	if err := g.Check(ctx); err != nil {
		return s.scrub(err)
	}
	err = do(ctx, s, g, filter)
	if stopped := (*interruptedError)(nil); err != nil && ctx.Err() != nil && !errors.As(err, &stopped) {
		return errors.New("interrupted: nothing was changed")
	}
	return s.scrub(err)
}

func newLettersListCommand() *cobra.Command {
	var f letterFlags
	var limit int
	var payload, asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the newest first",
		Long: `Lists the open dead letters of the group, the newest first: the place of the
record, when it was refused first (UTC), the error's code, the table and column
that refused it, what became of it, and how often it was refused.

--payload adds the message, key, value and headers, as text, or as hexadecimal
digits after \x where they are none, each cut to 80 columns. With --json they
are whole, and in base64 where they are no text.

--status takes new, retry, resolved, discarded, several of them with commas,
open (which is new,retry) or all.

--since and --until take a time such as 2026-11-24T00:00:00Z, or how long ago
it is: 24h, 90m. They are about the first refusal.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if limit < 1 {
				return &usageError{fmt.Errorf("--limit %d: use 1 or more", limit)}
			}
			statuses, err := f.statuses()
			if err != nil {
				return err
			}
			return f.withLetters(cmd, func(ctx context.Context, s *session, g letters.Group, filter letters.Filter) error {
				list, all, err := g.List(ctx, filter, statuses, limit, payload)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(cmd.OutOrStdout(), lettersReport{s.consumer.Group, lettersJSON(list), all - int64(len(list))})
				}
				printLetters(cmd.OutOrStdout(), list, payload)
				printMore(cmd.OutOrStdout(), len(list), all, f.all() && f.status == "open")
				return nil
			})
		},
	}
	f.add(cmd)
	f.addStatus(cmd, "open")
	cmd.Flags().IntVar(&limit, "limit", 50, "list so many at most")
	cmd.Flags().BoolVar(&payload, "payload", false, "print messages and records, too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newLettersShowCommand() *cobra.Command {
	var f letterFlags
	var payload, asJSON bool
	cmd := &cobra.Command{
		Use:   "show TOPIC/PARTITION@OFFSET",
		Short: "Show one dead letter",
		Long: `Shows all that is known of a dead letter, whatever became of it; with --payload
also its message, and the record's key, value and headers, whole. Of a topic
that was recreated there may be several at one place: all are shown, that of
the newest topic first.`,
		Args: oneName("letter"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.named(cmd, args); err != nil {
				return err
			}
			return f.withLetters(cmd, func(ctx context.Context, s *session, g letters.Group, filter letters.Filter) error {
				list, _, err := g.List(ctx, filter, letters.All, maxShown, payload)
				switch {
				case err != nil:
					return err
				case len(list) == 0:
					return fmt.Errorf("group %s has no dead letter at %s", s.consumer.Group, args[0])
				case asJSON:
					return printJSON(cmd.OutOrStdout(), lettersJSON(list))
				}
				slices.SortStableFunc(list, func(a, b letters.Letter) int { return cmp.Compare(b.Generation, a.Generation) })
				for i := range list {
					if i > 0 {
						fmt.Fprintln(cmd.OutOrStdout())
					}
					printLetter(cmd.OutOrStdout(), &list[i])
				}
				return nil
			})
		},
	}
	f.flags.add(cmd)
	cmd.Flags().BoolVar(&payload, "payload", false, "print the message and the record, too")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// maxShown bounds the incarnations of a topic that are shown.
const maxShown = 1000

func errNoFilter(verb string) error {
	return &usageError{fmt.Errorf("%s which? Name a letter, use a filter such as --topic, or --all for all open letters of the group", verb)}
}

// lettersError ends a command that found records which are not written.
type lettersError struct{ message string }

func (e *lettersError) Error() string { return e.message }
