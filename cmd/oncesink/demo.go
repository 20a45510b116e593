package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/oncesink/oncesink/internal/demo"
)

func newDemoCommand() *cobra.Command {
	var opts demo.Options
	var servers, asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See it work: crash, zombie, replay, on its own servers",
		Long: `Starts a broker that speaks Kafka's protocol and a private PostgreSQL, sends order
events through two worker processes into a table, kills one worker in the middle of a
batch, freezes the other past its session timeout and wakes it, compares the table and
a counter with what the topic says, replays the topic from offset zero, and compares again.

It takes less than a minute, needs nothing but PostgreSQL's server binaries (installed,
or downloaded once), and leaves nothing behind. It exits with 1 if anything differs.

--servers starts the broker and PostgreSQL alone, empty, and prints how to reach them: a
place to try a topic of your own.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.Orders < demo.MinOrders {
				return &usageError{fmt.Errorf("--orders %d: fewer than %d leave no time for the faults", opts.Orders, demo.MinOrders)}
			}
			executable, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program: %w", err)
			}
			opts.Worker = []string{executable, "demo", "worker"}
			opts.Program = typed(executable)
			if !cmd.Flags().Changed("seed") {
				opts.Seed = uint64(rand.Uint32())
			}
			opts.Out = cmd.OutOrStdout()
			if asJSON {
				opts.Out, opts.JSON = cmd.ErrOrStderr(), cmd.OutOrStdout()
			}
			if servers {
				return demo.Servers(cmd.Context(), opts)
			}
			if f, ok := opts.Out.(*os.File); ok {
				opts.Terminal = term.IsTerminal(int(f.Fd()))
			}
			return demo.Run(cmd.Context(), opts)
		},
	}
	f := cmd.Flags()
	f.Int64Var(&opts.Orders, "orders", 50_000, "how many order events to send")
	f.Uint64Var(&opts.Seed, "seed", 0, "same orders, and faults at about the same moments (default random)")
	f.StringVar(&opts.Dir, "dir", "", "work in this empty directory and leave it with its logs (default temporary)")
	f.BoolVar(&opts.Keep, "keep", false, "at the end, leave servers and workers up until ctrl-C")
	f.BoolVar(&servers, "servers", false, "start the servers alone and leave them up until ctrl-C")
	f.BoolVar(&asJSON, "json", false, "print what was compared, or of --servers how to reach them, as JSON, and the rest to stderr")
	cmd.AddCommand(&cobra.Command{
		Use:    "worker FILE",
		Short:  "A worker process of the demo",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return demo.Worker(cmd.Context(), args[0], cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	})
	return cmd
}

// typed is what a person types to run this program: its name, if that is where the
// shell finds it, or else its path.
func typed(executable string) string {
	name := filepath.Base(executable)
	if found, err := exec.LookPath(name); err == nil {
		a, err1 := os.Stat(found)
		b, err2 := os.Stat(executable)
		if err1 == nil && err2 == nil && os.SameFile(a, b) {
			return name
		}
	}
	return executable
}
