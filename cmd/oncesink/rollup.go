package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/config"
	"github.com/oncesink/oncesink/internal/rollup"
)

func newRollupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rollup",
		Short: "Build, verify or drop a rollup: counts and sums per group",
		Long: `A rollup is a view of counts and sums per group over a target table, such as orders and
revenue per day. It is declared under rollups: in the configuration, and kept by triggers in
the transaction that changes the rows: an update, a delete, a late event, a replay and a
retry move a sum by exactly what they change.

oncesink init builds rollups that were never built. The commands here may run beside
oncesink run.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &usageError{fmt.Errorf("name what to do: build, verify or drop: see `%s --help`", cmd.CommandPath())}
		},
	}
	cmd.AddCommand(newRollupBuildCommand(), newRollupVerifyCommand(), newRollupDropCommand())
	return cmd
}

func newRollupBuildCommand() *cobra.Command {
	var f flags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "build NAME",
		Short: "Make a rollup anew from the rows of its table",
		Long: `Makes the rollup anew from the rows of its table: after its definition was changed, or to
mend one that verify finds wrong. Readers see the last build until the new one is complete.
The table is locked for a moment only, in which triggers are made or removed; oncesink run,
and anybody else, goes on writing. Stopped at any moment, it has changed nothing that readers
see; the same command begins anew.`,
		Args: oneName("rollup"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.withRollup(cmd, args[0], func(ctx context.Context, s *session, r *rollup.Rollup) error {
				groups, err := rollup.Build(ctx, s.pool, r)
				switch {
				case err == nil && asJSON:
					return printJSON(cmd.OutOrStdout(), builtRollup{r.Name(), groups})
				case err == nil:
					printWrapped(cmd.OutOrStdout(), "", fmt.Sprintf("%s: built, %d group(s)", r.Name(), groups))
				}
				return err
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newRollupVerifyCommand() *cobra.Command {
	var f flags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "verify NAME",
		Short: "Compare a rollup with the rows of its table",
		Long: `Counts and sums the rows of the table and compares, in one snapshot. It changes nothing, and
may run beside oncesink run. It ends with 0 if they agree and with 1 if a group differs:
oncesink rollup build mends it.`,
		Args: oneName("rollup"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.withRollup(cmd, args[0], func(ctx context.Context, s *session, r *rollup.Rollup) error {
				if err := r.Ready(); err != nil {
					return err
				}
				var report *rollup.Report
				err := s.conn(ctx, func(c *pgx.Conn) (err error) {
					report, err = rollup.Verify(ctx, c, r)
					return err
				})
				if err != nil {
					return err
				}
				if asJSON {
					err = printJSON(cmd.OutOrStdout(), report)
				} else {
					printRollup(cmd.OutOrStdout(), report)
				}
				if err == nil && report.Wrong > 0 {
					err = fmt.Errorf("%s differs from its table: `oncesink rollup build %s` mends it", report.Rollup, args[0])
				}
				return err
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

func newRollupDropCommand() *cobra.Command {
	var f flags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "drop NAME",
		Short: "Remove a rollup: its view, its sums and its triggers",
		Long: `Removes a rollup from the database: its view, its sums and the triggers on its table. Run it
while the rollup is still in the configuration, then remove it there, too.`,
		Args: oneName("rollup"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.withRollup(cmd, args[0], func(ctx context.Context, s *session, r *rollup.Rollup) error {
				err := s.conn(ctx, func(c *pgx.Conn) error { return rollup.Drop(ctx, c, r) })
				switch {
				case err == nil && asJSON:
					return printJSON(cmd.OutOrStdout(), struct {
						Rollup  string `json:"rollup"`
						Dropped bool   `json:"dropped"`
					}{r.Name(), true})
				case err == nil:
					printWrapped(cmd.OutOrStdout(), "", fmt.Sprintf("%s: dropped", r.Name()))
				}
				return err
			})
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// withRollup connects to PostgreSQL alone and opens the rollup of that name.
func (f *flags) withRollup(cmd *cobra.Command, name string, do func(context.Context, *session, *rollup.Rollup) error) error {
	ctx := cmd.Context()
	s, err := loadTables(*f, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	defer s.close()
	if err := s.knowTables(ctx); err != nil {
		return err
	}
	name = s.cfg.RollupName(name)
	var found []rollup.Definition
	var names []string
	for _, d := range s.rollups {
		names = append(names, d.Name)
		if d.Name == name {
			found = append(found, d)
		}
	}
	if len(found) == 0 {
		return &usageError{fmt.Errorf("no rollup %q in the configuration%s", name, config.Suggest(name, names))}
	}
	if err := s.connectPostgres(ctx); err != nil {
		return err
	}
	if err := s.checkLedger(ctx); err != nil {
		return s.scrub(err)
	}
	all, err := s.openRollups(ctx, found)
	if err == nil {
		err = do(ctx, s, all[0])
	}
	if isDenied(err) {
		err = fmt.Errorf("%w: it takes the owner of the table", err)
	}
	if ctx.Err() != nil && err != nil {
		return errors.New("interrupted: readers see what they saw before; the same command begins anew")
	}
	return s.scrub(err)
}

// openRollups opens rollups, whose common tables are made if they are missing.
func (s *session) openRollups(ctx context.Context, definitions []rollup.Definition) (all []*rollup.Rollup, err error) {
	err = s.conn(ctx, func(c *pgx.Conn) error {
		if err := rollup.Init(ctx, c); err != nil {
			return err
		}
		all, err = rollup.Open(ctx, c, definitions)
		return err
	})
	return all, err
}

// initRollups builds the rollups that were never built.
func (s *session) initRollups(ctx context.Context, out io.Writer) ([]builtRollup, error) {
	built := []builtRollup{}
	if len(s.rollups) == 0 {
		return built, nil
	}
	all, err := s.openRollups(ctx, s.rollups)
	if err != nil {
		return nil, err
	}
	for _, r := range all {
		if !r.Missing() {
			if err := r.Ready(); err != nil {
				return nil, err
			}
			continue
		}
		groups, err := rollup.Build(ctx, s.pool, r)
		if err != nil {
			return nil, err
		}
		built = append(built, builtRollup{r.Name(), groups})
		printWrapped(out, "", fmt.Sprintf("rollup %s: built, %d group(s)", r.Name(), groups))
	}
	return built, nil
}

// rollupScript is the DBA's part of the rollups.
func (s *session) rollupScript(role string) (string, error) {
	if len(s.rollups) == 0 {
		return "", nil
	}
	var b strings.Builder
	b.WriteString("\n-- Rollups of oncesink. Run it as the owner of the target tables, while nobody has to write them.\nbegin;\n\n" + rollup.InitSQL(role))
	for i := range s.rollups {
		script, err := s.rollups[i].Script()
		if err != nil {
			return "", err
		}
		b.WriteString(script)
	}
	b.WriteString("\ncommit;\n")
	return b.String(), nil
}

func printRollup(w io.Writer, r *rollup.Report) {
	printWrapped(w, "", fmt.Sprintf("%s: %d group(s), %d wrong", r.Rollup, r.Groups, r.Wrong))
	text := func(s *string) string {
		if s == nil {
			return "no such group"
		}
		return *s
	}
	for _, d := range r.Samples {
		printWrapped(w, "  ", fmt.Sprintf("%s: has %s, should have %s", d.Group, text(d.Has), text(d.Should)))
	}
}
