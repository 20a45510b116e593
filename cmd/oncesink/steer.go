package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgtype"
	"github.com/spf13/cobra"

	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
)

// steering is the command line of an operator's command on partitions, and what the command says.
type steering struct {
	flags
	action offsets.Action
	// does is what is said of a partition, would what is said of it where nothing is done.
	use, short, long string
	does, would      func(offsets.Change) string
	// next is what follows from it while an owner runs.
	next string
	// confirm is what --yes agrees to; empty: the command asks for none.
	confirm string

	topicID             string
	to                  int64
	all, dry, yes, json bool
}

// steerReport is what the commands print with --json.
type steerReport struct {
	Group  string         `json:"group"`
	Action offsets.Action `json:"action"`
	// DryRun says that nothing was changed.
	DryRun     bool          `json:"dry_run"`
	Partitions []steerChange `json:"partitions"`
	// Next says what follows.
	Next string `json:"next"`
}

// steerChange is a partition before and after.
type steerChange struct {
	Topic      string `json:"topic"`
	Partition  int32  `json:"partition"`
	From       int64  `json:"from"` // the position
	To         int64  `json:"to"`
	Paused     bool   `json:"paused"`
	Halted     string `json:"halted,omitempty"` // why it stood still before
	Generation int32  `json:"generation"`

	text string
}

func newPauseCommand() *cobra.Command {
	return (&steering{
		action: offsets.Pause, use: "pause TOPIC[/PARTITION]...", short: "Have partitions stand still until they are resumed",
		long: `Pauses all partitions of a topic, or one: its owner stops reading them within about a
second, and what it has in hand is dropped and read again later. They stay paused over restarts and
rebalances, until oncesink resume. --all pauses the whole group.`,
		does: func(c offsets.Change) string {
			if c.Before.Paused {
				return fmt.Sprintf("was paused already, at %d", c.After.Position.Next)
			}
			return fmt.Sprintf("paused at %d", c.After.Position.Next)
		},
		would: func(c offsets.Change) string { return fmt.Sprintf("would be paused, at %d", c.After.Position.Next) },
		next:  "the owner stops reading within about a second; `oncesink resume` has it go on",
	}).command()
}

func newResumeCommand() *cobra.Command {
	return (&steering{
		action: offsets.Resume, use: "resume TOPIC[/PARTITION]...", short: "Let paused or halted partitions go on",
		long: `Lets all partitions of a topic go on, or one, from where they stand: those that were paused, and
those that halted, whose cause has to be gone. A cause that is still there halts them again. --all
resumes the whole group.`,
		does: func(c offsets.Change) string {
			switch at := c.After.Position.Next; {
			case c.Before.Halted != "":
				return fmt.Sprintf("resumed at %d; it had halted: %s", at, firstSentence(wiring.Reason(c.Before.Partition, stateHalted, c.Before.Halted)))
			case !c.Before.Paused:
				return fmt.Sprintf("was not paused, at %d", at)
			default:
				return fmt.Sprintf("resumed at %d", at)
			}
		},
		would: func(c offsets.Change) string { return fmt.Sprintf("would go on at %d", c.After.Position.Next) },
		next:  "the owner goes on within about a second; `oncesink status` says whether it halts again",
	}).command()
}

func newAcceptGapCommand() *cobra.Command {
	return (&steering{
		action: offsets.AcceptGap, use: "accept-gap TOPIC/PARTITION", short: "Go on behind records that can't be read, which are lost",
		long: `Moves the position of a partition forward to --to, as the message of a partition that halted at a
gap says. The records before it are never applied: they are lost for the tables. Without --yes it
says which, changes nothing, and ends with 2.`,
		does:    func(c offsets.Change) string { return "skipped " + skipped(c) },
		would:   func(c offsets.Change) string { return "would skip " + skipped(c) },
		next:    "the owner reads on from there within about a second",
		confirm: "these records are never applied",
	}).command()
}

func newAcceptDeadLettersCommand() *cobra.Command {
	return (&steering{
		action: offsets.AcceptDeadLetters, use: "accept-dead-letters TOPIC/PARTITION", short: "Go on although too many records are dead letters",
		long: `Lets a partition go on that halted for too many dead letters: what can't be written below the
offset --below becomes dead letters, however many. They are kept whole, to be tried again later:
oncesink dead-letters.`,
		does: func(c offsets.Change) string {
			return fmt.Sprintf("goes on at %d", c.After.Position.Next)
		},
		would: func(c offsets.Change) string { return fmt.Sprintf("would go on at %d", c.After.Position.Next) },
		next:  "the owner goes on within about a second, and keeps as dead letters what can't be written",
	}).command()
}

func newAdoptCommand() *cobra.Command {
	return (&steering{
		action: offsets.Adopt, use: "adopt TOPIC", short: "Go on with a topic that was deleted and created again",
		long: `Has a topic that was recreated, or that another cluster has, read from its beginning. Events of the
new topic count as newer than those of the old one, whose rows stay. The positions in the old
topic are given up: without --yes it says which, changes nothing, and ends with 2.

The new topic is the one that the brokers have now; --id names it, and then Kafka need not be there.`,
		does: func(c offsets.Change) string { return fmt.Sprintf("%d -> 0 of the new topic", c.Before.Position.Next) },
		would: func(c offsets.Change) string {
			return fmt.Sprintf("would go from %d to 0 of the new topic", c.Before.Position.Next)
		},
		next:    "the owner reads the new topic within about a second, from its beginning",
		confirm: "the positions in the old topic are given up",
	}).command()
}

func skipped(c offsets.Change) string {
	from, to := c.Before.Position.Next, c.After.Position.Next
	return fmt.Sprintf("%s, %s in all: never applied", events(from, to), thousands(to-from))
}

func (s *steering) command() *cobra.Command {
	cmd := &cobra.Command{
		Use: s.use, Short: s.short,
		Long: s.long + fmt.Sprintf("\n\nIt calls oncesink.%s(), which is there for psql, too.", s.action),
		Args: func(cmd *cobra.Command, args []string) error { return s.arguments(cmd, args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.run(cmd.Context(), args, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	s.flags.add(cmd)
	switch s.action {
	case offsets.Pause, offsets.Resume:
		cmd.Flags().BoolVar(&s.all, "all", false, "all partitions of the group")
	case offsets.AcceptGap:
		cmd.Flags().Int64Var(&s.to, "to", 0, "the `OFFSET` to go on at")
	case offsets.AcceptDeadLetters:
		cmd.Flags().Int64Var(&s.to, "below", 0, "the `OFFSET` from which on they are counted again")
	case offsets.Adopt:
		cmd.Flags().StringVar(&s.topicID, "id", "", "the `ID` of the new topic (default: as the brokers say)")
	}
	if s.confirm != "" {
		cmd.Flags().BoolVar(&s.yes, "yes", false, "do it: "+s.confirm)
	}
	cmd.Flags().BoolVar(&s.dry, "dry-run", false, "print what would be done and change nothing")
	cmd.Flags().BoolVar(&s.json, "json", false, "print JSON")
	return cmd
}

// arguments wants as many names as the action takes.
func (s *steering) arguments(cmd *cobra.Command, args []string) error {
	many := s.action == offsets.Pause || s.action == offsets.Resume
	help := fmt.Sprintf("see `%s --help`", cmd.CommandPath())
	switch {
	case s.all && len(args) > 0:
		return &usageError{fmt.Errorf("--all is for the whole group: leave %s out, or --all", args[0])}
	case len(args) == 0 && !s.all && many:
		return &usageError{fmt.Errorf("%s what? Name a topic, TOPIC/PARTITION, or use --all for the whole group: %s", s.action, help)}
	case len(args) != 1 && !many:
		return &usageError{fmt.Errorf("name one %s: %s", strings.Fields(s.use)[1], help)}
	}
	for _, required := range []string{"to", "below"} {
		if f := cmd.Flags().Lookup(required); f != nil && !f.Changed {
			return &usageError{fmt.Errorf("--%s OFFSET is missing; the message of the halted partition has it: see `oncesink status`", required)}
		}
	}
	return nil
}

// place reads TOPIC or TOPIC/PARTITION.
func place(text string) (topic string, partition *int32, err error) {
	topic, number, one := strings.Cut(text, "/")
	if !one {
		return topic, nil, nil
	}
	n, err := strconv.ParseInt(number, 10, 32)
	if err != nil || n < 0 || n > math.MaxInt32 || topic == "" {
		return "", nil, &usageError{fmt.Errorf("%q: name a topic, or a partition as TOPIC/PARTITION, such as orders/3", text)}
	}
	p := int32(n)
	return topic, &p, nil
}

func (s *steering) run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	x, err := load(s.flags, stderr)
	if err != nil {
		return err
	}
	defer x.close()
	orders, err := s.orders(args)
	if err != nil {
		return err
	}
	if err := x.connectPostgres(ctx); err != nil {
		return err
	}
	if err := x.checkLedger(ctx); err != nil {
		return x.scrub(err)
	}
	ledger := offsets.New(x.pool, x.consumer.Group, offsets.Options{})
	if orders, err = s.complete(ctx, x, ledger, orders); err != nil {
		return err
	}
	asked := s.dry || s.confirm != "" && !s.yes
	done, err := ledger.Steer(ctx, asked, orders...)
	if refused := (*offsets.RefusedError)(nil); errors.As(err, &refused) {
		return &environmentError{s.refusal(refused)}
	}
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted: either all of it was done or nothing (see `oncesink status`); it may be run again")
	}
	if err != nil {
		return x.scrub(fmt.Errorf("%s: %w", s.action, err))
	}
	r := s.report(done, asked)
	r.Group = x.consumer.Group
	if r.Next, err = s.follows(ctx, ledger, done, asked); err != nil {
		return x.scrub(err)
	}
	if s.json {
		err = printJSON(stdout, r)
	} else {
		r.print(stdout)
	}
	if err == nil && asked && !s.dry {
		return &usageError{fmt.Errorf("not done: %s. To do it, say --yes", s.confirm)}
	}
	return err
}

// orders are what the arguments ask for.
func (s *steering) orders(args []string) ([]offsets.Order, error) {
	var id pgtype.UUID
	if err := id.Scan(s.topicID); s.topicID != "" && (err != nil || offsets.Token(id.Bytes).IsZero()) {
		return nil, &usageError{fmt.Errorf("--id %q: it is the id of a topic, as the message of the halted partition has it", s.topicID)}
	}
	var orders []offsets.Order
	for _, a := range args {
		topic, partition, err := place(a)
		if err != nil {
			return nil, err
		}
		switch {
		case s.action == offsets.Adopt && partition != nil:
			return nil, &usageError{fmt.Errorf("%q: a topic is adopted as a whole: name %s", a, topic)}
		case (s.action == offsets.AcceptGap || s.action == offsets.AcceptDeadLetters) && partition == nil:
			return nil, &usageError{fmt.Errorf("%q: name one partition, as TOPIC/PARTITION", a)}
		}
		o := offsets.Order{Action: s.action, Topic: topic, Partition: partition, To: s.to, TopicID: id.Bytes}
		if !slices.ContainsFunc(orders, func(y offsets.Order) bool {
			return y.Topic == topic && (y.Partition == nil || partition != nil && *y.Partition == *partition)
		}) {
			orders = append(orders, o)
		}
	}
	return orders, nil
}

// complete adds what the ledger or the brokers know: the group's topics, or the id of the topic that there is now.
func (s *steering) complete(ctx context.Context, x *session, ledger *offsets.Ledger, orders []offsets.Order) ([]offsets.Order, error) {
	if s.all {
		rows, err := ledger.Rows(ctx)
		if err != nil {
			return nil, x.scrub(err)
		}
		for _, r := range rows {
			if n := len(orders); n == 0 || orders[n-1].Topic != r.Topic {
				orders = append(orders, offsets.Order{Action: s.action, Topic: r.Topic})
			}
		}
		if len(rows) == 0 {
			return nil, &environmentError{fmt.Sprintf("group %s has no positions: there is nothing to %s", x.consumer.Group, s.action)}
		}
	}
	if s.action != offsets.Adopt {
		return orders, nil
	}
	o := &orders[0]
	if o.TopicID.IsZero() {
		if err := x.connectKafka(ctx); err != nil {
			return nil, err
		}
		if o.TopicID = offsets.Token(x.meta.Topics[o.Topic].ID); o.TopicID.IsZero() {
			return nil, &environmentError{fmt.Sprintf("the brokers say no id of topic %s: name it by --id", o.Topic)}
		}
	}
	rows, err := ledger.Rows(ctx)
	if err != nil {
		return nil, x.scrub(err)
	}
	mine := slices.DeleteFunc(rows, func(r offsets.Row) bool { return r.Topic != o.Topic })
	if len(mine) > 0 && !slices.ContainsFunc(mine, func(r offsets.Row) bool { return r.TopicID != o.TopicID }) {
		return nil, &environmentError{fmt.Sprintf("group %s reads the topic %s with the id %s already: there is nothing to adopt", x.consumer.Group, o.Topic, o.TopicID)}
	}
	return orders, nil
}

// refusal is what the ledger says, with commands instead of SQL.
func (s *steering) refusal(e *offsets.RefusedError) string {
	switch {
	case strings.Contains(e.Problem, "there is no group"):
		return e.Problem + ": nothing was read for it yet; start `oncesink run`, or your program, first"
	case strings.Contains(e.Problem, "has no topic"), strings.Contains(e.Problem, "has no partition"):
		return e.Problem + ": `oncesink status` lists what it has"
	case s.action == offsets.AcceptGap && e.Hint != "":
		return e.Problem + ". To read records again: `oncesink rewind`"
	}
	return e.Problem
}

func (s *steering) report(done []offsets.Change, asked bool) *steerReport {
	r := &steerReport{Action: s.action, DryRun: asked, Partitions: []steerChange{}}
	for _, c := range done {
		x := steerChange{
			Topic: c.After.Topic, Partition: c.After.Partition.Partition, From: c.Before.Position.Next, To: c.After.Position.Next,
			Paused: c.After.Paused, Halted: c.Before.Halted, Generation: c.After.Generation,
		}
		if s.action == offsets.Adopt {
			x.To = 0
		}
		say := s.does
		if asked {
			say = s.would
		}
		x.text = fmt.Sprintf("%s: %s", c.After.Partition, say(c))
		r.Partitions = append(r.Partitions, x)
	}
	return r
}

// follows says what comes next, and that nobody is there to notice.
func (s *steering) follows(ctx context.Context, ledger *offsets.Ledger, done []offsets.Change, asked bool) (string, error) {
	if asked {
		return "nothing was changed", nil
	}
	var rows []offsets.Rewound
	for _, c := range done {
		rows = append(rows, offsets.Rewound{Row: c.After})
	}
	alive, err := anyOwnerAlive(ctx, ledger, rows)
	if err == nil && !alive {
		return "no process owns these partitions now: it counts when `oncesink run`, or your program, runs", nil
	}
	return s.next, err
}

// firstSentence is what happened, without what to do.
func firstSentence(text string) string {
	first, _, _ := strings.Cut(text, ". ")
	return first
}

// print says it of each partition, or of a topic where many partitions would be told the same.
func (r *steerReport) print(w io.Writer) {
	for i, x := range r.Partitions {
		if i == maxTold && len(r.Partitions) > maxTold+1 {
			printWrapped(w, "", fmt.Sprintf("and %d more partitions", len(r.Partitions)-maxTold))
			break
		}
		printWrapped(w, "", x.text)
	}
	printWrapped(w, "", r.Next)
}
