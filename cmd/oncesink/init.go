package main

import (
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

func newInitCommand() *cobra.Command {
	var f flags
	var print, accept bool
	var role string
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Create the ledger, the dead letters and what the tables need",
		Long: `Creates, in the database of postgres.url: the schema oncesink with the ledger and the dead
letters; target tables that are missing and have a create: statement; the two columns
_oncesink_source and _oncesink_offset of tables with a guard, and what remembers their
deletes; rollups that were never built. A ledger of an older version is migrated. It may be run again, and by several
processes at once.

--print connects to nothing and prints the SQL for a DBA; with --role it grants what
oncesink run needs, which is no right to create anything. The script may be run again at any
time, and brings a database of an older version up to date.

--accept-mapping tells the ledger that this configuration's mapping holds from now on.
Processes that run with another one stop.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			s, err := load(f, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer s.close()
			if print {
				rollups, err := s.rollupScript(role)
				if err == nil {
					_, err = fmt.Fprint(cmd.OutOrStdout(), offsets.SQL(role), "\n", sink.InitSQL(s.sinkCfg, role), rollups)
				}
				return err
			}
			if role != "" {
				return &usageError{fmt.Errorf("--role goes with --print: the printed script holds the grants")}
			}
			if err := s.connectPostgres(ctx); err != nil {
				return err
			}
			err = s.conn(ctx, func(c *pgx.Conn) error {
				if err := offsets.Init(ctx, c); err != nil {
					return err
				}
				return sink.Init(ctx, c, s.sinkCfg)
			})
			if isDenied(err) {
				return s.scrub(fmt.Errorf("%w: give a DBA the output of `oncesink init --print --role ROLE`", err))
			}
			if err != nil {
				return s.scrub(err)
			}
			if err := s.initRollups(ctx, cmd.OutOrStdout()); err != nil {
				return s.scrub(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "ledger, dead letters and %d table(s) are ready\n", len(s.sinkCfg.Tables))
			if !accept {
				return nil
			}
			sk, _, err := s.open(ctx)
			if err != nil {
				return err
			}
			err = s.conn(ctx, func(c *pgx.Conn) error {
				return offsets.AcceptMappings(ctx, c, s.consumer.Group, sk.Mappings())
			})
			if err != nil {
				return s.scrub(err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "the mapping of group %s is this configuration's from now on\n", s.consumer.Group)
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&print, "print", false, "print the SQL and connect to nothing")
	cmd.Flags().StringVar(&role, "role", "", "with --print: grant this role what oncesink run needs")
	cmd.Flags().BoolVar(&accept, "accept-mapping", false, "make this configuration's mapping the group's")
	return cmd
}
