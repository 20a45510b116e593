package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/offsets"
)

// rewindFlags are the command line of `oncesink rewind`.
type rewindFlags struct {
	flags
	to          string
	dry, asJSON bool
}

func newRewindCommand() *cobra.Command {
	var f rewindFlags
	cmd := &cobra.Command{
		Use:   "rewind TOPIC[/PARTITION]...",
		Short: "Read partitions again, from an earlier offset or a time",
		Long: `Sends all partitions of a topic, or one, back to --to: beginning (the oldest record that the log
still has), an offset, or a time such as 2026-11-24T00:00:00Z (the first record at or after it).
Their owner reads on from there within about a second; guarded tables stay as they are. A partition
that stands there or below is left alone: a rewind never moves forward. All of it is one
transaction.

For an offset Kafka need not be there; where it is, none is gone to that the log no longer has.
To send the whole group back, and to wait for it: oncesink replay.

It calls oncesink.rewind(), which is there for psql, too.`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{fmt.Errorf("rewind what? Name a topic, or TOPIC/PARTITION; `oncesink replay` is for the whole group: see `%s --help`", cmd.CommandPath())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f.add(cmd)
	cmd.Flags().StringVar(&f.to, "to", "", "`WHERE` to: beginning, an offset, or a time")
	cmd.Flags().BoolVar(&f.dry, "dry-run", false, "print what would be done and change nothing")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "print JSON")
	return cmd
}

func (f *rewindFlags) run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if f.to == "" {
		return &usageError{errors.New("--to is missing: beginning, an offset, or a time such as 2026-11-24T00:00:00Z")}
	}
	from, err := parseReplayFrom("--to", f.to, time.Now())
	if err != nil {
		return err
	}
	s, err := load(f.flags, stderr)
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.connectPostgres(ctx); err != nil {
		return err
	}
	if err := s.checkLedger(ctx); err != nil {
		return s.scrub(err)
	}
	ledger := offsets.New(s.pool, s.consumer.Group, offsets.Options{})
	rows, err := s.rewindRows(ctx, ledger, from, args)
	if err != nil {
		return err
	}
	plan, unknown, err := s.planRewind(ctx, from, rows)
	if err != nil {
		return err
	}
	done, err := plan.carryOut(ctx, ledger, rows, f.dry)
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted: either all partitions were sent back or none (see `oncesink status`); it may be run again")
	}
	if err != nil {
		return s.scrub(err)
	}
	r := plan.report(done)
	r.Group, r.DryRun = s.consumer.Group, f.dry
	if unknown != "" {
		r.Warnings = append(r.Warnings, unknown)
	}
	if err := r.warnOfIdleness(ctx, ledger); err != nil {
		return s.scrub(err)
	}
	if f.asJSON {
		return printJSON(stdout, r)
	}
	r.print(stdout)
	if n := len(r.moved); n > 0 && !f.dry && len(r.Warnings) == 0 {
		printWrapped(stdout, "", "the owner reads on from there within about a second; `oncesink status` shows how far it is")
	}
	return nil
}

// rewindRows are the ledger's rows that the arguments name, which may be sent to where from says.
func (s *session) rewindRows(ctx context.Context, ledger *offsets.Ledger, from replayFrom, args []string) ([]offsets.Row, error) {
	all, err := ledger.Rows(ctx)
	if err != nil {
		return nil, s.scrub(err)
	}
	var named []offsets.Row
	for _, a := range args {
		topic, partition, err := place(a)
		if err != nil {
			return nil, err
		}
		found := false
		for _, r := range all {
			if r.Topic != topic || partition != nil && *partition != r.Partition.Partition {
				continue
			}
			found = true
			if r.ReplayRefused != "" && (from.offset == nil || !r.TruncatedTo(*from.offset)) {
				return nil, &environmentError{fmt.Sprintf("group %s can't be rewound: %s; see `oncesink rebuild`", s.consumer.Group, r.ReplayRefused)}
			}
			if !slices.ContainsFunc(named, func(n offsets.Row) bool { return n.Partition == r.Partition }) {
				named = append(named, r)
			}
		}
		if !found {
			return nil, &environmentError{fmt.Sprintf("group %s has no position of %s: `oncesink status` lists what it has", s.consumer.Group, a)}
		}
	}
	return named, nil
}

// planRewind asks the brokers as a replay does. An offset can do without them: then it says what is not known.
func (s *session) planRewind(ctx context.Context, from replayFrom, rows []offsets.Row) (*replayPlan, string, error) {
	err := s.connectKafka(ctx)
	if err == nil {
		for _, r := range rows {
			if err := s.sameTopic(r); err != nil {
				return nil, "", err
			}
		}
		var p *replayPlan
		if p, err = s.planReplay(ctx, from, rows); err == nil {
			return p, "", nil
		}
	}
	if from.offset == nil {
		return nil, "", err
	}
	p := &replayPlan{group: s.consumer.Group, from: from, reach: map[offsets.Partition]kafka.Reach{}}
	return p, "whether the log still has that offset is not known: " + err.Error(), nil
}
