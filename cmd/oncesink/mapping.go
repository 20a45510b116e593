package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/offsets"
)

func newMappingCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "mapping",
		Short: "Change what rows mean: what differs, and from when on",
		Long: `Which topic is written into which table, and how, is a group's mapping. The ledger knows
which one each partition has, and refuses processes with another one until it is accepted.

A change that leaves the key of a row alone, which event wins and what deletes it, can be
rolled out while the group runs: plan says so, accept lets processes of both run side by
side, and then they are replaced one after the other. Other changes are accepted at once:
processes with the old mapping stop.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &usageError{fmt.Errorf("name what to do: plan or accept: see `%s --help`", cmd.CommandPath())}
		},
	}
	cmd.AddCommand(newMappingPlanCommand(), newMappingAcceptCommand())
	return cmd
}

func newMappingPlanCommand() *cobra.Command {
	var f flags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "plan",
		Short: "Say how this configuration's mapping differs from the group's",
		Long: `Compares this configuration's mapping with the one that the group's partitions have, says what
differs, whether processes of both may run side by side, and what becomes of rows that are
there. It changes nothing. It ends with 0 if there is nothing to accept, and with 3 if there
is.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, s, err := f.planMapping(cmd)
			if err != nil {
				return err
			}
			defer s.close()
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), p)
			} else {
				p.print(cmd.OutOrStdout())
			}
			if err == nil && p.open() {
				return &unacceptedError{}
			}
			return err
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print the plan as JSON")
	return cmd
}

func newMappingAcceptCommand() *cobra.Command {
	var f flags
	var atOnce bool
	var window time.Duration
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "accept",
		Short: "Let processes with this configuration's mapping write",
		Long: `Tells the ledger that processes with this configuration's mapping may write, beside those that
run with the old one. Nobody stops. A partition goes over when a process with this mapping
gets it from the group, and each event is written by one of both. For the time of --window a
partition may go back, when a new process fails, or the change is undone; after it the change
goes one way. Whatever was accepted before is replaced.

It refuses a change that would have two processes disagree about the key of a row, about which
event wins or what deletes it. --at-once accepts any change from the positions of now on:
processes with the old mapping stop, with 2.

Rows that are there stay as they are: oncesink rebuild applies the mapping to them.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, out := cmd.Context(), cmd.OutOrStdout()
			if window < 0 {
				return &usageError{errors.New("--window is a time of 0 or more")}
			}
			if atOnce && cmd.Flags().Changed("window") {
				return &usageError{errors.New("--window is for processes that run side by side: leave it out, or --at-once")}
			}
			p, s, err := f.planMapping(cmd)
			if err != nil {
				return err
			}
			defer s.close()
			if err := p.accept(ctx, s, atOnce, window); err != nil {
				return err
			}
			if asJSON {
				return printJSON(out, p)
			}
			p.printAccepted(out, atOnce, window)
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&atOnce, "at-once", false, "from now on for all: processes with the old mapping stop")
	cmd.Flags().DurationVar(&window, "window", mappingWindow, "how long a partition may go back to the old mapping")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print what was accepted as JSON")
	return cmd
}

// mappingWindow is how long a partition may go back to the old mapping if nobody says how long.
const mappingWindow = time.Hour

// accept tells the ledger, unless processes of both mappings must not run side by side.
func (p *mappingPlan) accept(ctx context.Context, s *session, atOnce bool, window time.Duration) error {
	if why := mapping.Apart(p.Changes); why != "" && !atOnce {
		return &environmentError{"processes with the old mapping and with this one must not run side by side: " + why +
			". `oncesink mapping accept --at-once` accepts it from now on, and stops those with the old one"}
	}
	err := s.conn(ctx, func(c *pgx.Conn) error {
		if atOnce {
			return offsets.AcceptMappings(ctx, c, p.Group, p.now)
		}
		return offsets.AcceptMappingsBeside(ctx, c, p.Group, p.now, window)
	})
	p.Accepted = err == nil
	if isDenied(err) {
		err = fmt.Errorf("%w: a mapping is accepted by the ledger's owner, the role that ran `oncesink init`", err)
	}
	return s.scrub(err)
}

func (p *mappingPlan) printAccepted(w io.Writer, atOnce bool, window time.Duration) {
	p.printChanges(w)
	switch {
	case atOnce:
		printWrapped(w, "", fmt.Sprintf("the mapping of group %s is this configuration's from now on", p.Group))
	case len(p.Changes) == 0:
		printWrapped(w, "", fmt.Sprintf("the mapping of group %s is this configuration's already, and no other may run beside it", p.Group))
	default:
		printWrapped(w, "", fmt.Sprintf("accepted: replace the processes of group %s one after the other; partitions may go back for %s", p.Group, plain(window)))
	}
	p.printRows(w)
}

// plain is a duration without what is nothing in it: 1h, not 1h0m0s.
func plain(d time.Duration) string {
	text := d.String()
	for _, nothing := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, nothing) {
			text = text[:len(text)-2]
		}
	}
	return text
}

// mappingPlan is how a configuration's mapping differs from a group's.
type mappingPlan struct {
	Group      string           `json:"group"`
	Changes    []mapping.Change `json:"changes"`
	SideBySide bool             `json:"side_by_side"`
	Accepted   bool             `json:"accepted"`
	now        []offsets.Mapping
}

// planMapping compares a configuration with the ledger. The caller closes the session.
func (f *flags) planMapping(cmd *cobra.Command) (p *mappingPlan, s *session, err error) {
	ctx := cmd.Context()
	s, err = loadTables(*f, cmd.ErrOrStderr())
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.knowTables(ctx); err != nil {
		return nil, nil, err
	}
	if err := s.connectPostgres(ctx); err != nil {
		return nil, nil, err
	}
	if err := s.checkLedger(ctx); err != nil {
		return nil, nil, s.scrub(err)
	}
	p, err = s.compareMapping(ctx)
	return p, s, err
}

// compareMapping compares the session's configuration with the ledger.
func (s *session) compareMapping(ctx context.Context) (*mappingPlan, error) {
	sk, _, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	p := &mappingPlan{Group: s.consumer.Group, now: sk.Mappings()}
	err = s.conn(ctx, func(c *pgx.Conn) error { return p.compare(ctx, c) })
	return p, s.scrub(err)
}

func (p *mappingPlan) compare(ctx context.Context, c *pgx.Conn) error {
	group, err := offsets.GroupMappings(ctx, c, p.Group)
	if err != nil {
		return err
	}
	beside, err := offsets.AcceptedBeside(ctx, c, p.Group)
	if err != nil {
		return err
	}
	p.Changes, err = mapping.Changes(group, p.now, beside)
	if len(group) == 0 {
		p.Changes = nil // nothing was ever written: the first process brings its mapping
	}
	if p.Changes == nil {
		p.Changes = []mapping.Change{}
	}
	p.SideBySide, p.Accepted = mapping.Apart(p.Changes) == "", !p.open()
	return err
}

// open reports whether there is something to accept.
func (p *mappingPlan) open() bool {
	return slices.ContainsFunc(p.Changes, func(c mapping.Change) bool { return c.Until == nil })
}

func (p *mappingPlan) print(w io.Writer) {
	p.printChanges(w)
	switch why := mapping.Apart(p.Changes); {
	case len(p.Changes) == 0:
		printWrapped(w, "", fmt.Sprintf("nothing to accept: group %s has this mapping, or none so far", p.Group))
		return
	case !p.open():
		printWrapped(w, "", "accepted: processes of both mappings may run side by side, and partitions go over as processes are replaced")
	case why != "":
		printWrapped(w, "", "only at once: "+why+". `oncesink mapping accept --at-once` accepts it, and stops the processes with the old mapping")
	default:
		printWrapped(w, "", "it can be rolled out: run `oncesink mapping accept` with this configuration, then replace the processes one after the other")
	}
	p.printRows(w)
}

// printChanges says what differs.
func (p *mappingPlan) printChanges(w io.Writer) {
	for i := range p.Changes {
		c := &p.Changes[i]
		text := fmt.Sprintf("%s, of topic %s: ", c.Table, c.Topic)
		switch c.Kind {
		case mapping.NewTable:
			text += "new"
		case mapping.DroppedTable:
			text += "no longer written"
		default:
			text += "changed"
			if len(c.What) > 0 {
				text += ": " + strings.Join(c.What, ", ")
			}
		}
		if c.Until != nil {
			text += fmt.Sprintf(". Accepted; %d of %d partition(s) have gone over", c.Of-c.Partitions, c.Of)
			if time.Now().Before(*c.Until) {
				text += ", and may go back until " + c.Until.Format(time.DateTime)
			}
		}
		printWrapped(w, "", text)
	}
}

// printRows says what becomes of rows that are there.
func (p *mappingPlan) printRows(w io.Writer) {
	told := map[string]bool{}
	for i := range p.Changes {
		c := &p.Changes[i]
		if told[c.Table] {
			continue
		}
		told[c.Table] = true
		switch c.Kind {
		case mapping.NewTable:
			printWrapped(w, "", fmt.Sprintf("%s gets what is read from then on: `oncesink replay`, once all processes are new, brings the rest", c.Table))
		case mapping.Changed:
			printWrapped(w, "", fmt.Sprintf("rows of %s that are there stay as they are: `oncesink rebuild %s`, once all processes are new, applies this mapping to them", c.Table, c.Table))
		}
	}
}

// unacceptedError ends a plan that found something to accept.
type unacceptedError struct{}

func (*unacceptedError) Error() string {
	return "the mapping is not accepted: processes with this configuration would be refused"
}
