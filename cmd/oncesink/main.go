// Command oncesink writes Kafka topics into PostgreSQL tables, every event
// counted once.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	_ "time/tzdata" // zones of the configuration, on an image that has none

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/config"
	"github.com/oncesink/oncesink/internal/demo"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Exit codes. docs/reference/codes.md has what stands beside them.
const (
	exitOK     = 0 // done; of run: it was told to stop, and everything in hand was finished or dropped
	exitFailed = 1 // failed at run time: partitions that are halted or stuck, rows that differ
	exitConfig = 2 // a person has to change the configuration or its surroundings first: an unreachable server, a missing table, a wrong password
	exitFound  = 3 // check found something, or mapping plan something to accept
	// records were not written: a run to the end left dead letters, a retry's were refused again, or dead letters are new where that is asked for
	exitLetters = 4
	// exitInterrupted is what shells have for a program that ctrl-C ended: the demo before its proof. A run that is told to stop
	// is done.
	exitInterrupted = 130
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the whole program: it returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	var name string
	if _, other := fmt.Sscanf(err.Error(), "unknown command %q", &name); other == nil {
		err = unknownCommand(root, name)
	}
	report(stderr, err)
	return exitCode(err)
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "oncesink",
		Short: "Kafka topics in, PostgreSQL tables out, every event counted once",
		Long: `oncesink reads Kafka topics as a consumer group and writes them into PostgreSQL tables.
The rows of a batch and the positions after it are one transaction: redelivery, crashes,
paused processes and replay from offset zero change nothing.

Exit codes: 0 done, 1 failed at run time, 2 the configuration or the environment has to
be changed first, 3 check found what keeps a replay from giving the same rows, 4 records are
dead letters, where the command was to tell.`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.Version = version()
	root.SetVersionTemplate(versionLine())
	root.DisableSuggestions = true // they are unknownCommand's
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{fmt.Errorf("%w: see `%s --help`", err, cmd.CommandPath())}
	})
	addGroup(root, "start", "Begin:", newNewCommand(), newConfigCommand(), newSchemaCommand(), newInitCommand(), newCheckCommand(), newDoctorCommand(), newMappingCommand())
	addGroup(root, "run", "Run, and look:", newRunCommand(), newStatusCommand(), newHealthCommand(), newArchiveCommand())
	addGroup(root, "steer", "Steer partitions:", newPauseCommand(), newResumeCommand(), newRewindCommand(), newReplayCommand(), newAcceptGapCommand(), newAcceptDeadLettersCommand(), newAdoptCommand())
	addGroup(root, "mend", "Mend rows:", newDeadLettersCommand(), newVerifyCommand(), newRebuildCommand(), newBackfillCommand(), newRollupCommand())
	addGroup(root, "try", "Try things out:", newDemoCommand(), newGenerateCommand())
	root.AddCommand(newVersionCommand(), newManCommand())
	root.InitDefaultCompletionCmd()
	addCompletions(root)
	fitHelp(root)
	root.InitDefaultHelpCmd()
	help, _, _ := root.Find([]string{"help"})
	help.Run = nil
	help.RunE = func(_ *cobra.Command, args []string) error {
		topic, _, err := root.Find(args)
		if err != nil {
			return unknownCommand(root, args[0])
		}
		topic.InitDefaultHelpFlag()
		return topic.Help()
	}
	return root
}

// addGroup adds commands under a heading of the help.
func addGroup(root *cobra.Command, id, title string, commands ...*cobra.Command) {
	root.AddGroup(&cobra.Group{ID: id, Title: title})
	for _, c := range commands {
		c.GroupID = id
	}
	root.AddCommand(commands...)
}

// unknownCommand names the commands that may be meant.
func unknownCommand(root *cobra.Command, name string) error {
	meant := ""
	root.SuggestionsMinimumDistance = 2
	if s := root.SuggestionsFor(name); len(s) > 0 {
		meant = fmt.Sprintf("; did you mean %q?", s[0])
	}
	return &usageError{fmt.Errorf("unknown command %q%s: see `oncesink --help`", name, meant)}
}

// usageError is a command line that can't be understood.
type usageError struct{ error }

// scrubbed is an error whose message holds no secret of the configuration.
type scrubbed struct {
	cause   error
	message string
}

func (e *scrubbed) Error() string { return e.message }
func (e *scrubbed) Unwrap() error { return e.cause }

// environmentError is a broker or a database that can't be used as configured.
type environmentError struct{ message string }

func (e *environmentError) Error() string { return e.message }

// isDenied says that a role lacks a right: SQLSTATE insufficient_privilege.
func isDenied(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == pgerr.InsufficientPrivilege
}

func exitCode(err error) int {
	var (
		usage  *usageError
		conf   *config.Error
		set    *sink.ConfigError
		env    *environmentError
		mapped *offsets.MappingError
		rights *offsets.RightsError
		server *offsets.ServerError
		halted *haltedError
		found  *findingsError
		sample *sampleError
		dead   *lettersError
		open   *unacceptedError
		strict *warningsError
	)
	if errors.Is(err, demo.ErrInterrupted) {
		return exitInterrupted
	}
	if errors.As(err, &dead) {
		return exitLetters
	}
	if errors.As(err, &found) || errors.As(err, &sample) || errors.As(err, &open) || errors.As(err, &strict) {
		return exitFound
	}
	if errors.As(err, &usage) || errors.As(err, &conf) || errors.As(err, &set) || errors.As(err, &env) ||
		errors.As(err, &mapped) || errors.As(err, &rights) || errors.As(err, &server) || errors.As(err, &halted) || errors.Is(err, offsets.ErrNoLedger) || isDenied(err) {
		return exitConfig
	}
	return exitFailed
}

// report prints an error for a person: what is wrong and what to do, each
// problem on lines of its own.
func report(w io.Writer, err error) {
	var conf *config.Error
	if errors.As(err, &conf) {
		for _, block := range conf.Blocks() {
			fmt.Fprintf(w, "oncesink: %s\n", block)
		}
		return
	}
	for _, line := range strings.Split(pgerr.Text(err), "\n") {
		if isTerminal(w) {
			printWrapped(w, "", "oncesink: "+line)
		} else {
			fmt.Fprintf(w, "oncesink: %s\n", line)
		}
	}
	for _, steps := range stepsOf(err) {
		fmt.Fprintf(w, "  %s%s\n", stepByStep, steps)
	}
}
