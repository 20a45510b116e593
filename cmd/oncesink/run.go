package main

import (
	"cmp"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/wiring"
)

func newRunCommand() *cobra.Command {
	var f flags
	var untilEnd bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Join the group and write until stopped",
		Long: `Joins the consumer group and writes until it is stopped. SIGTERM and ctrl-C finish the
running transactions, leave the group and end with 0, within limits.stop_timeout.

At the start, a broker or database that can't be reached, a missing table or topic ends
it with 2. Later on it waits for them, as long as it takes, and goes on from the ledger.

With --until-end it stops where the topics ended when it started, for schedulers; a
partition that halted makes it end with 1 when the others are done.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			s, err := loadTables(f, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer s.close()
			for _, w := range s.cfg.Warnings() {
				s.log.Warn(w)
			}
			s.consumer.UntilEnd = untilEnd
			p, err := s.prepare(ctx)
			if err == nil {
				err = p.refused()
			}
			if ctx.Err() != nil {
				return nil // told to stop before there was anything to finish
			}
			if err != nil {
				return err
			}
			if p.passing != nil {
				s.log.Warn("not everything could be looked at before the start", "error", p.passing)
			}
			for _, w := range p.warnings {
				s.log.Warn(w)
			}
			limitMemory(cmp.Or(s.consumer.BufferBytes, wiring.BufferBytes))
			s.log.Info("connected", "topics", p.sink.Topics(), "cluster", s.meta.Cluster, "instance", p.ledger.Instance())
			s.log.Info("running", "group", s.consumer.Group, "version", version())
			if err := p.consumer.Run(ctx); err != nil {
				return s.scrub(fmt.Errorf("run: %w", err))
			}
			s.log.Info("stopped", "group", s.consumer.Group)
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&untilEnd, "until-end", false, "stop at the end that the topics have now")
	return cmd
}

// limitMemory has the garbage collector work harder before the heap grows beyond what
// the buffers and what the clients and statements take explain.
// GOMEMLIMIT, if set, counts instead.
func limitMemory(buffers int64) {
	const others = 80 << 20
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(buffers + others)
	}
}
