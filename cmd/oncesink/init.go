package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/rollup"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/offsets"
)

func newInitCommand() *cobra.Command {
	var f flags
	var script, dry, asJSON bool
	var role, accept string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Create the ledger, and what the tables need",
		Long: `Creates, in the database of postgres.url: the schema oncesink with the ledger and the dead
letters; target tables that are missing and have a create: statement, or create: auto, which
is the statement that oncesink schema prints; the two columns
_oncesink_source and _oncesink_offset of tables with a guard, and what remembers their
deletes; rollups that were never built. A ledger of an older version is migrated. It may be
run again, and by several processes at once.

It says beforehand what it makes, and what it alters in a table of yours, and does nothing at
all where a table can't be written as the configuration says: a view, a key without a
unique index. --dry-run says it and does nothing.

--print connects to nothing, but to what has the schema for create: auto, and to both ends
where a table has a pattern of topics, and prints the SQL for a DBA; with --role it grants what
oncesink run needs, which is no right to create anything, and names these grants at its
head. The script may be run again at any time, and brings a database of an older version up
to date.

--accept-mapping tells the ledger that this configuration's mapping holds from now on:
processes that run with another one stop. --accept-mapping=side-by-side leaves them, where
rows stay right meanwhile, and refuses what can't be rolled out, as oncesink mapping accept
does.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			s, err := load(f, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer s.close()
			switch {
			case script && asJSON:
				return &usageError{errors.New("--print prints SQL: leave --json out")}
			case role != "" && !script:
				return &usageError{fmt.Errorf("--role goes with --print: the printed script holds the grants")}
			case accept != "" && accept != acceptAtOnce && accept != acceptSideBySide:
				return &usageError{fmt.Errorf("--accept-mapping=%s: it is %s or %s", accept, acceptAtOnce, acceptSideBySide)}
			case accept != "" && len(s.sinkCfg.Tables) == 0:
				return &usageError{fmt.Errorf("--accept-mapping goes with tables: `tables: []` maps nothing")}
			case accept != "" && dry:
				return &usageError{fmt.Errorf("--dry-run goes without --accept-mapping: it changes nothing")}
			case accept != "" && script:
				return &usageError{fmt.Errorf("--print changes nothing: `oncesink mapping accept` accepts a mapping")}
			}
			if err := s.knowTables(ctx); err != nil {
				return err
			}
			if script {
				if err := s.automatic(ctx); err != nil {
					return err
				}
				rollups, err := s.rollupScript(role)
				if err == nil {
					text := offsets.SQL(role) + "\n" + schema.InitSQL(s.sinkCfg, role) + rollups
					_, err = fmt.Fprint(cmd.OutOrStdout(), grantsOf(text, role), text)
				}
				return err
			}
			if err := s.connectPostgres(ctx); err != nil {
				return err
			}
			if err := s.automatic(ctx); err != nil {
				return err
			}
			out := cmd.OutOrStdout()
			if asJSON {
				out = io.Discard
			}
			steps, err := s.planInit(ctx)
			if err != nil {
				return s.initError(err)
			}
			r := &initReport{Group: s.consumer.Group, DryRun: dry, Tables: len(s.sinkCfg.Tables), Steps: append([]string{}, steps...), Rollups: []builtRollup{}}
			tell := func() error {
				if asJSON {
					return printJSON(cmd.OutOrStdout(), r)
				}
				return nil
			}
			for _, step := range steps {
				printWrapped(out, "", step)
			}
			done := fmt.Sprintf("ledger, dead letters and %d table(s) are ready", len(s.sinkCfg.Tables))
			if len(s.sinkCfg.Tables) == 0 {
				done = "ledger and dead letters are ready"
			}
			switch {
			case dry && len(steps) > 0:
				fmt.Fprintln(out, "not done: --dry-run")
				return tell()
			case dry:
				fmt.Fprintln(out, "nothing to do: "+done)
				return tell()
			case len(steps) == 0:
				done = "nothing to do: " + done
			}
			err = s.conn(ctx, func(c *pgx.Conn) error {
				if err := offsets.Init(ctx, c); err != nil {
					return err
				}
				return schema.Init(ctx, c, s.sinkCfg)
			})
			if err != nil {
				return s.initError(err)
			}
			if r.Rollups, err = s.initRollups(ctx, out); err != nil {
				return s.scrub(err)
			}
			fmt.Fprintln(out, done)
			if accept == "" {
				return tell()
			}
			p, err := s.compareMapping(ctx)
			if err != nil {
				return err
			}
			if err := p.accept(ctx, s, accept == acceptAtOnce, mappingWindow); err != nil {
				return err
			}
			p.printAccepted(out, accept == acceptAtOnce, mappingWindow)
			r.AcceptedMapping = true
			return tell()
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&script, "print", false, "print the SQL, and change nothing")
	cmd.Flags().BoolVar(&dry, "dry-run", false, "say what would be done, and do nothing")
	cmd.Flags().StringVar(&role, "role", "", "with --print: grant this role what oncesink run needs")
	cmd.Flags().StringVar(&accept, "accept-mapping", "", "accept this configuration's mapping, `HOW`: at-once, or side-by-side")
	cmd.Flags().Lookup("accept-mapping").NoOptDefVal = acceptAtOnce
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was done as JSON")
	return cmd
}

// How --accept-mapping has the mapping accepted.
const (
	acceptAtOnce     = "at-once"
	acceptSideBySide = "side-by-side"
)

// initReport is what `oncesink init --json` prints.
type initReport struct {
	Group  string `json:"group"`
	DryRun bool   `json:"dry_run"`
	Tables int    `json:"tables"` // that are ready, or would be
	// Steps say what was made and altered, or with a dry run what would be.
	Steps           []string      `json:"steps"`
	Rollups         []builtRollup `json:"rollups"` // that were built
	AcceptedMapping bool          `json:"accepted_mapping"`
}

// builtRollup is what `oncesink rollup build --json` prints.
type builtRollup struct {
	Rollup string `json:"rollup"`
	Groups int64  `json:"groups"`
}

// grantStatement matches each grant of a script, also one that is composed because the database's name is not known.
var grantStatement = regexp.MustCompile(`(?m)^(?:do \$init\$ begin execute format\(')?(grant .+) to ("(?:[^"]|"")*"|%I'.*)[;,]`)

// grantsOf is the head of a script: all that it grants, for whoever has to say yes to it.
func grantsOf(script, role string) string {
	if role == "" {
		return "-- This script grants nothing new: with --role ROLE it grants what `oncesink run` needs, and names it here.\n" + kept + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "-- This script grants the role %s, and nobody else, what `oncesink run` needs, and nothing else:\n--\n", pgx.Identifier{role}.Sanitize())
	var named []string
	for _, g := range grantStatement.FindAllStringSubmatch(script, -1) {
		if g := strings.ReplaceAll(g[1], "%I", "DATABASE"); !slices.Contains(named, g) {
			named = append(named, g)
			fmt.Fprintf(&b, "--   %s\n", g)
		}
	}
	b.WriteString("--\n" + kept + "\n")
	return b.String()
}

// kept is what a script says of the roles of older versions.
const kept = "-- Roles that could run an older version of oncesink here can run this one.\n"

// planInit says what init is about to make and alter.
func (s *session) planInit(ctx context.Context) (steps []string, err error) {
	switch err := s.checkLedger(ctx); {
	case errors.Is(err, offsets.ErrNoLedger):
		steps = append(steps, "schema oncesink: creates the ledger, or brings it up to date")
	case err != nil:
		return nil, err
	}
	more, err := schema.Plan(ctx, s.pool, s.sinkCfg)
	if steps = append(steps, more...); err != nil || len(s.rollups) == 0 {
		return steps, err
	}
	if len(steps) > 0 { // their tables may not be there to look at
		return append(steps, "rollups: builds those that were never built"), nil
	}
	err = s.conn(ctx, func(c *pgx.Conn) error {
		all, err := rollup.Open(ctx, c, s.rollups)
		for _, r := range all {
			if r.Missing() {
				steps = append(steps, "rollup "+r.Name()+": builds it")
			}
		}
		return err
	})
	return steps, err
}

// initError tells a role that lacks a right who has it.
func (s *session) initError(err error) error {
	if isDenied(err) {
		err = fmt.Errorf("%w: give a DBA the output of `oncesink init --print --role ROLE`", err)
	}
	return s.scrub(err)
}
