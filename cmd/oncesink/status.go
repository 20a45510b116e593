package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/oncesink/oncesink/docs"
	"github.com/oncesink/oncesink/internal/verify"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
)

// statusReport is what `oncesink status --json` prints.
type statusReport struct {
	Group string `json:"group"`
	// State is the worst of the partitions' states, in the order of [states]; empty without partitions.
	State       string            `json:"state"`
	Partitions  []partitionStatus `json:"partitions"`
	DeadLetters map[string]int64  `json:"dead_letters"`    // by topic, status new or retry
	Letters     []openLetters     `json:"dead_letters_by"` // the same by what was in the way, the most frequent first
	NewFields   []newFieldReport  `json:"new_fields"`      // that no column takes, of tables that do not ignore that
	History     []historyReport   `json:"incomplete_history"`
	// Verified is what `oncesink verify` knows of tables that it looked at a piece at a time.
	Verified []verify.State `json:"verified"`
	// KafkaError says why lags are unknown.
	KafkaError string `json:"kafka_error,omitempty"`
}

// openLetters counts dead letters of one kind.
type openLetters struct {
	refusedReport
	Last time.Time `json:"last"` // when the last one of them was kept
}

// partitionStatus is one partition. Lags are null where they are not known.
type partitionStatus struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	State     string `json:"state"`
	Position  int64  `json:"position"`
	// Lag is how many offsets lie between the next record to apply and the last stable offset; 0 if there is none.
	Lag *int64 `json:"lag"`
	// Open are records that nobody may read yet: they lie behind a transaction that is open, for so many seconds, as far as its first record has a time.
	Open        *int64     `json:"open"`
	OpenSeconds *float64   `json:"open_seconds,omitempty"`
	LagSeconds  *float64   `json:"lag_seconds"` // age of the next record to apply; 0 if there is none
	Owner       string     `json:"owner"`
	OwnerAlive  bool       `json:"owner_alive"` // the owner has a session in the database now
	Paused      bool       `json:"paused"`
	Halted      string     `json:"halted,omitempty"`
	Reason      string     `json:"reason,omitempty"`  // the kind of what halted it: gap, truncated, recreated, cluster, no_row, dead_letter_limit, archive or error
	Stuck       string     `json:"stuck,omitempty"`   // what its owner fails at, while it goes on trying
	Runbook     string     `json:"runbook,omitempty"` // where steps are that end a halt, or what it is stuck at
	MovedAt     *time.Time `json:"moved_at"`

	stable int64 // the last stable offset, where the lag is known
}

// The states of a partition.
const (
	stateHalted  = "halted"  // a person has to act
	stateStuck   = "stuck"   // its owner fails at the same again and again
	stateStopped = "stopped" // its owner has no session in the database
	stateUnowned = "unowned" // nobody has claimed it yet
	statePaused  = "paused"
	stateRunning = "running"
)

// states are all of them, the worst first.
var states = []string{stateHalted, stateStuck, stateStopped, stateUnowned, statePaused, stateRunning}

// state is what counts most about the partition.
func (p *partitionStatus) state() string {
	switch {
	case p.Halted != "":
		return stateHalted
	case p.Paused:
		return statePaused
	case p.Owner == "":
		return stateUnowned
	case !p.OwnerAlive:
		return stateStopped
	case p.Stuck != "":
		return stateStuck
	}
	return stateRunning
}

// steps is where the runbook says what to do; empty if nothing is to be done.
func (p *partitionStatus) steps() string {
	switch {
	case p.State == stateHalted && p.Reason != "":
		return docs.Runbook(p.Reason)
	case p.State == stateHalted: // of an older version
		return docs.Runbook("why-a-partition-halts")
	case p.State == stateStuck:
		return wiring.StuckSteps(p.Stuck)
	}
	return ""
}

func newStatusCommand() *cobra.Command {
	var f flags
	var asJSON, watching bool
	var w watch
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show positions, lag, owners and dead letters",
		Long: `Shows the ledger: for each partition the position (the offset of the next record to
apply), the lag in records and in seconds, who owns it, and whether it is paused, halted,
stuck at something that its owner keeps trying, or its owner has stopped; then dead letters
by what was in the way, fields for which tables have no column (new_fields), and tables that
oncesink verify found to be otherwise than their topics say. The lag in seconds is the age of the next record to apply, which is
looked at: unknown where that takes too long. Both are 0 where there is none, whatever lies
behind the position of aborted transactions or compacted records. Records behind a
transaction that is open, which nobody may read yet, are counted apart; that is said once it
has been open for a minute, for it may hang.

Ends with 1 if a partition is halted or stuck, and with 2 if a server can't be reached: without
Kafka it shows all but the lag.

--watch shows it again every two seconds, with how fast the positions move, until ctrl-C,
which ends with 0: on a terminal in place, elsewhere one after the other, with --json an object
a line. Where the screen has no room for the partitions it has a line for each topic.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := w.check(watching, cmd.Flags().Changed("every"), cmd.Flags().Changed("count")); err != nil {
				return err
			}
			s, err := load(f, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer s.close()
			if w.json = asJSON; watching {
				return w.run(cmd.Context(), s, cmd.OutOrStdout(), cmd.ErrOrStderr())
			}
			r, err := s.status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				err = printJSON(cmd.OutOrStdout(), r)
			} else {
				r.print(cmd.OutOrStdout())
			}
			return errors.Join(err, r.failure())
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	cmd.Flags().BoolVarP(&watching, "watch", "w", false, "show it again and again")
	cmd.Flags().DurationVar(&w.every, "every", 2*time.Second, "with --watch: how often")
	cmd.Flags().IntVar(&w.count, "count", 0, "with --watch: end after `N` times (default: when it is stopped)")
	return cmd
}

func (s *session) status(ctx context.Context) (*statusReport, error) {
	if err := s.connectPostgres(ctx); err != nil {
		return nil, err
	}
	if err := s.checkLedger(ctx); err != nil {
		return nil, s.scrub(err)
	}
	ledger := offsets.New(s.pool, s.consumer.Group, offsets.Options{})
	rows, err := ledger.Rows(ctx)
	if err != nil {
		return nil, s.scrub(err)
	}
	histories, err := ledger.History(ctx)
	if err != nil {
		return nil, s.scrub(err)
	}
	r := &statusReport{Group: s.consumer.Group, Partitions: []partitionStatus{}, DeadLetters: map[string]int64{}, Letters: []openLetters{}, History: historyReports(histories)}
	var stable, ends kadm.ListedOffsets
	if err := s.connectKafka(ctx); err != nil {
		r.KafkaError = err.Error()
		s.forgetKafka() // who asks again connects again
	} else if stable, err = s.admin.ListCommittedOffsets(ctx, s.meta.Topics.Names()...); err != nil {
		r.KafkaError = s.kafkaError(err).Error()
	} else if ends, err = s.admin.ListEndOffsets(ctx, s.meta.Topics.Names()...); err != nil {
		r.KafkaError = s.kafkaError(err).Error()
	}
	alive := map[string]bool{}
	for _, row := range rows {
		p := partitionOf(row, stable, ends)
		if _, known := alive[row.Instance]; !known && row.Owner != "" {
			if alive[row.Instance], err = ledger.Alive(ctx, row.Instance); err != nil {
				return nil, s.scrub(err)
			}
		}
		p.OwnerAlive = alive[row.Instance]
		p.State = p.state()
		p.Runbook = p.steps()
		r.Partitions = append(r.Partitions, p)
	}
	s.lookAhead(ctx, r.Partitions)
	r.State = worst(r.Partitions)
	return r, s.scrub(s.conn(ctx, func(c *pgx.Conn) error {
		if err := r.countLetters(ctx, c); err != nil {
			return err
		}
		if r.NewFields, err = s.newFields(ctx, c); err != nil {
			return err
		}
		r.Verified, err = verify.States(ctx, c, r.Group)
		return err
	}))
}

// worst is the worst state of the partitions.
func worst(all []partitionStatus) string {
	for _, state := range states {
		if slices.ContainsFunc(all, func(p partitionStatus) bool { return p.State == state }) {
			return state
		}
	}
	return ""
}

// countLetters counts the dead letters of the group that are open.
func (r *statusReport) countLetters(ctx context.Context, c *pgx.Conn) error {
	rows, err := c.Query(ctx, `select topic, code, coalesce(target, ''), coalesce(column_name, ''), count(*), max(recorded_at)
		from oncesink.dead_letters where sink_group = $1 and status in ('new', 'retry')
		group by 1, 2, 3, 4 order by 5 desc, 1, 2, 3, 4`, r.Group)
	if err != nil {
		return err
	}
	var x openLetters
	_, err = pgx.ForEachRow(rows, []any{&x.Topic, &x.Code, &x.Table, &x.Column, &x.Count, &x.Last}, func() error {
		r.DeadLetters[x.Topic] += x.Count
		r.Letters = append(r.Letters, x)
		return nil
	})
	return err
}

// failure is what a person has to look at. It is the answer of a command that may be a check of health.
func (r *statusReport) failure() error {
	if r.KafkaError != "" {
		return &led{&environmentError{"lag unknown: " + r.KafkaError}, docs.Runbook("kafka-is-away")}
	}
	n := 0
	for _, p := range r.Partitions {
		if p.State == stateHalted || p.State == stateStuck {
			n++
		}
	}
	if n > 0 {
		return fmt.Errorf("%d of %d partition(s) stand still: %s", n, len(r.Partitions), r.State)
	}
	return nil
}

// partitionOf tells how far a row of the ledger is behind the last stable offset, and that behind the log's end. What of it is to
// be applied, lookAhead finds out.
func partitionOf(row offsets.Row, stable, ends kadm.ListedOffsets) partitionStatus {
	p := partitionStatus{
		Topic: row.Topic, Partition: row.Partition.Partition, Position: row.Position.Next,
		Owner: row.Owner, Paused: row.Paused, Halted: row.Halted, Reason: row.HaltReason, Stuck: row.Stuck,
	}
	if !row.MovedAt.IsZero() {
		p.MovedAt = &row.MovedAt
	}
	last, ok := stable.Lookup(row.Topic, row.Partition.Partition)
	if !ok || last.Err != nil {
		return p
	}
	lag := max(0, last.Offset-row.Position.Next)
	p.Lag, p.stable = &lag, last.Offset
	if end, ok := ends.Lookup(row.Topic, row.Partition.Partition); ok && end.Err == nil {
		open := max(0, end.Offset-last.Offset)
		p.Open = &open
	}
	if lag == 0 {
		p.LagSeconds = new(float64)
	}
	return p
}
