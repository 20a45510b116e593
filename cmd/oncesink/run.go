package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/wiring"
)

func newRunCommand() *cobra.Command {
	var f flags
	var untilEnd, allowLetters, asJSON bool
	var adminListen string
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Join the group and write until stopped",
		Long: `Joins the consumer group and writes until it is stopped. SIGTERM and ctrl-C finish the
running transactions, leave the group and end with 0, within limits.stop_timeout.

At the start, a broker or database that can't be reached, a missing table or topic ends
it with 2. Later on it waits for them, as long as it takes, and goes on from the ledger.
Where a table has a pattern of topics, new ones are read once their table is there; until
then they are left out, with an error in the log, and hold up nothing.

With --until-end it stops where the topics ended when it started, for schedulers; a
partition that halted makes it end with 1 when the others are done, and records that became
dead letters with 4, unless --allow-dead-letters is given.

What a partition's log no longer has is read from the archive, where the configuration or
--from-archive names one: a group that was sent back below the log's start, or stands there,
reads on (docs/archive.md). With --archive-only it reads the archive alone, to its end, and stops;
a group without positions begins with the archive's first records.

It serves metrics, probes and its state at 127.0.0.1:9187, unless admin.listen says
otherwise (docs/monitoring.md).

On a terminal a line shows how far it is; elsewhere a line of the log says once a minute
what was applied, if anything was. At the end it says what it did; as JSON with --json.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			untilEnd = untilEnd || f.archiveOnly // where nothing comes after the end
			if allowLetters && !untilEnd {
				return &usageError{errors.New("--allow-dead-letters is for --until-end")}
			}
			out := newDisplay(cmd.ErrOrStderr())
			s, err := loadTables(f, out)
			if err != nil {
				return err
			}
			for _, w := range s.cfg.Warnings() {
				s.log.Warn(w)
			}
			s.consumer.UntilEnd = untilEnd
			s.alone.rests, s.alone.all = true, true
			stopAdmin, err := s.serveAdmin(ctx, adminListen)
			if err != nil {
				return err
			}
			defer stopAdmin()
			flush, err := s.trace(ctx)
			if err != nil {
				return err
			}
			defer flush()
			told := map[string]string{}
			p, err := s.prepareAll(ctx, told)
			if err != nil || ctx.Err() != nil {
				s.close()
			}
			if ctx.Err() != nil {
				return nil // told to stop before there was anything to finish
			}
			if err != nil {
				return err
			}
			limitMemory(cmp.Or(s.consumer.BufferBytes, wiring.BufferBytes))
			did, err := s.lives(ctx, p, told, out)
			switch {
			case asJSON:
				err = errors.Join(err, printJSON(cmd.OutOrStdout(), did))
			case out.terminal:
				did.print(out)
			default:
				did.note(s.log)
			}
			if err != nil {
				return s.scrub(fmt.Errorf("run: %w", err))
			}
			if untilEnd && !allowLetters && did.DeadLetters > 0 && ctx.Err() == nil {
				return did.left()
			}
			return nil
		},
	}
	f.add(cmd)
	f.addFromArchive(cmd)
	cmd.Flags().BoolVar(&untilEnd, "until-end", false, "stop at the end that the topics have now")
	cmd.Flags().BoolVar(&allowLetters, "allow-dead-letters", false, "with --until-end, end with 0 where records became dead letters, too")
	cmd.Flags().StringVar(&adminListen, "admin-listen", "", adminFlag)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was done as JSON at the end")
	return cmd
}

// narrated runs, tells what happens meanwhile, and returns what was done.
func (s *session) narrated(ctx context.Context, p *prepared, out *display) (*summary, error) {
	n := &narrator{stats: p.consumer.Stats, status: p.consumer.Status, display: out, log: s.log}
	telling, stop := context.WithCancel(context.WithoutCancel(ctx))
	var told sync.WaitGroup
	told.Go(func() { n.run(telling) })
	began := time.Now()
	err := p.consumer.Run(ctx)
	stop()
	told.Wait()
	return s.summarize(p.ledger, p.consumer.Stats(), time.Since(began)), err
}

// memoryOfOthers is what clients and statements take beside the buffers, in bytes.
const memoryOfOthers = 80 << 20

// limitMemory has the garbage collector work harder before the heap grows beyond what
// the buffers and what the clients and statements take explain.
// GOMEMLIMIT, if set, counts instead.
func limitMemory(buffers int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(buffers + memoryOfOthers)
	}
}
