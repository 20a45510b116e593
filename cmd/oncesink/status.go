package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/oncesink/oncesink/offsets"
)

// statusReport is what `oncesink status --json` prints.
type statusReport struct {
	Group       string            `json:"group"`
	Partitions  []partitionStatus `json:"partitions"`
	DeadLetters map[string]int64  `json:"dead_letters"` // by topic, status new
	History     []historyReport   `json:"incomplete_history"`
	// KafkaError says why lags are unknown.
	KafkaError string `json:"kafka_error,omitempty"`
}

// partitionStatus is one partition. Lags are null where they are not known.
type partitionStatus struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Position  int64  `json:"position"`
	Lag       *int64 `json:"lag"` // records up to the last stable offset
	// Open are records that nobody may read yet: they lie behind a transaction that is open.
	Open       *int64     `json:"open"`
	LagSeconds *float64   `json:"lag_seconds"` // age of the last applied record if there are newer ones, else 0
	Owner      string     `json:"owner"`
	OwnerAlive bool       `json:"owner_alive"` // the owner has a session in the database now
	Paused     bool       `json:"paused"`
	Halted     string     `json:"halted,omitempty"`
	Stuck      string     `json:"stuck,omitempty"` // what its owner fails at, while it goes on trying
	MovedAt    *time.Time `json:"moved_at"`
}

func newStatusCommand() *cobra.Command {
	var f flags
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show positions, lag, owners and dead letters",
		Long: `Shows the ledger: for each partition the position (the offset of the next record to
apply), the lag in records and in seconds, who owns it, and whether it is paused, halted,
stuck at something that its owner keeps trying, or its owner has stopped; then dead letters
per topic. The lag in seconds is the age of the last applied record, 0 at the end of the
log. Records behind a transaction that is open, which nobody may read yet, are counted apart: it
may hang. Works without Kafka, but for the lag.`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := load(f, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer s.close()
			r, err := s.status(cmd.Context())
			if err != nil {
				return err
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), r)
			}
			r.print(cmd.OutOrStdout())
			return nil
		},
	}
	f.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
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
	r := &statusReport{Group: s.consumer.Group, Partitions: []partitionStatus{}, DeadLetters: map[string]int64{}, History: historyReports(histories)}
	var stable, ends kadm.ListedOffsets
	if err := s.connectKafka(ctx); err != nil {
		r.KafkaError = err.Error()
	} else if stable, err = s.admin.ListCommittedOffsets(ctx, s.meta.Topics.Names()...); err != nil {
		r.KafkaError = s.kafkaError(err).Error()
	} else if ends, err = s.admin.ListEndOffsets(ctx, s.meta.Topics.Names()...); err != nil {
		r.KafkaError = s.kafkaError(err).Error()
	}
	alive := map[string]bool{}
	for _, row := range rows {
		p := partitionOf(row, stable, ends, time.Now())
		if _, known := alive[row.Instance]; !known && row.Owner != "" {
			if alive[row.Instance], err = ledger.Alive(ctx, row.Instance); err != nil {
				return nil, s.scrub(err)
			}
		}
		p.OwnerAlive = alive[row.Instance]
		r.Partitions = append(r.Partitions, p)
	}
	return r, s.conn(ctx, func(c *pgx.Conn) error {
		rows, err := c.Query(ctx, `select topic, count(*) from oncesink.dead_letters where sink_group = $1 and status = 'new' group by topic`, s.consumer.Group)
		if err != nil {
			return s.scrub(err)
		}
		var topic string
		var n int64
		_, err = pgx.ForEachRow(rows, []any{&topic, &n}, func() error {
			r.DeadLetters[topic] = n
			return nil
		})
		return s.scrub(err)
	})
}

// partitionOf tells how far a row of the ledger is behind the last stable offset, and that behind the log's end.
func partitionOf(row offsets.Row, stable, ends kadm.ListedOffsets, now time.Time) partitionStatus {
	p := partitionStatus{
		Topic: row.Topic, Partition: row.Partition.Partition, Position: row.Position.Next,
		Owner: row.Owner, Paused: row.Paused, Halted: row.Halted, Stuck: row.Stuck,
	}
	if !row.MovedAt.IsZero() {
		p.MovedAt = &row.MovedAt
	}
	last, ok := stable.Lookup(row.Topic, row.Partition.Partition)
	if !ok || last.Err != nil {
		return p
	}
	lag, seconds := max(0, last.Offset-row.Position.Next), 0.0
	p.Lag = &lag
	if end, ok := ends.Lookup(row.Topic, row.Partition.Partition); ok && end.Err == nil {
		open := max(0, end.Offset-last.Offset)
		p.Open = &open
	}
	switch {
	case lag == 0:
		p.LagSeconds = &seconds
	case !row.Position.Time.IsZero():
		seconds = max(0, now.Sub(row.Position.Time).Seconds())
		p.LagSeconds = &seconds
	}
	return p
}

// standsStill says why a partition is in a state; the reason may name both already.
func standsStill(p offsets.Partition, state, reason string) string {
	for _, said := range []string{state + ": ", p.String() + ": "} {
		reason = strings.TrimPrefix(reason, said)
	}
	return p.String() + " " + state + ": " + reason
}

func (r *statusReport) print(w io.Writer) {
	fmt.Fprintf(w, "group %s\n", r.Group)
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"topic", "part.", "position", "lag", "seconds", "state", "owner"})
	t.SetColumnConfigs([]table.ColumnConfig{{Name: "owner", WidthMax: 32}, {Name: "topic", WidthMax: 24}})
	var notes []string
	for _, p := range r.Partitions {
		at := offsets.Partition{Topic: p.Topic, Partition: p.Partition}
		state, lag, seconds := "ok", "?", "?"
		if p.Lag != nil {
			lag = fmt.Sprint(*p.Lag)
		}
		if p.Open != nil && *p.Open > 0 {
			notes = append(notes, fmt.Sprintf("%s: %d more offset(s) lie behind an open transaction, and can't be read before it ends: if it hangs, kafka-transactions.sh finds and aborts it", at, *p.Open))
		}
		if p.LagSeconds != nil {
			seconds = fmt.Sprintf("%.0f", *p.LagSeconds)
		}
		switch {
		case p.Halted != "":
			state = "HALTED"
			notes = append(notes, standsStill(at, "halted", p.Halted))
		case p.Paused:
			state = "paused"
		case p.Owner == "":
			state = "unclaimed"
		case !p.OwnerAlive:
			state = "stopped"
		case p.Stuck != "":
			state = "STUCK"
			notes = append(notes, standsStill(at, "stuck", p.Stuck))
		}
		t.AppendRow(table.Row{p.Topic, p.Partition, p.Position, lag, seconds, state, p.Owner})
	}
	if len(r.Partitions) > 0 {
		t.Render()
	} else {
		fmt.Fprintln(w, "no positions yet: nothing has run for this group")
	}
	for _, n := range notes {
		printWrapped(w, "", n)
	}
	for _, topic := range slices.Sorted(maps.Keys(r.DeadLetters)) {
		fmt.Fprintf(w, "dead letters of %s: %d (`oncesink dead-letters stats`)\n", topic, r.DeadLetters[topic])
	}
	for _, h := range r.History {
		fmt.Fprintf(w, "%s lacks the events of %s/%d before offset %d\n", h.Table, h.Topic, h.Partition, h.Since)
	}
	if r.KafkaError != "" {
		printWrapped(w, "", "lag unknown: "+r.KafkaError)
	}
}
