package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// summary is what a run did. `oncesink run --json` prints it at the end.
type summary struct {
	Group       string          `json:"group"`
	Records     int64           `json:"records"` // that the positions moved over, dead letters included
	Rows        int64           `json:"rows"`    // inserted or changed
	Deleted     int64           `json:"deleted"` // by tombstones
	DeadLetters int64           `json:"dead_letters"`
	Refused     []refusedReport `json:"dead_letters_by"`
	Tables      []tableSummary  `json:"tables"`
	// Positions of the group's partitions, as they stand at the end; null if the database does not answer.
	Positions []positionReport `json:"positions"`
	Seconds   float64          `json:"seconds"`
}

type tableSummary struct {
	Table   string `json:"table"`
	Rows    int64  `json:"rows"`
	Deleted int64  `json:"deleted"`
}

// refusedReport are the dead letters of one kind. Of many kinds the later ones are counted together, without a topic.
type refusedReport struct {
	Topic  string `json:"topic"`
	Code   string `json:"code"`
	Table  string `json:"table"`
	Column string `json:"column"`
	Count  int64  `json:"count"`
}

func (r refusedReport) String() string {
	if r.Topic == "" {
		return fmt.Sprintf("%s for other reasons", thousands(r.Count))
	}
	text := fmt.Sprintf("%s of %s: %s", thousands(r.Count), r.Topic, strings.TrimSpace(r.Code+" "+r.Table))
	if r.Column != "" {
		text += "." + r.Column
	}
	return text
}

type positionReport struct {
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	Position  int64  `json:"position"`
}

// summarize looks at what a run has done.
func (s *session) summarize(ledger *offsets.Ledger, stats sink.Stats, took time.Duration) *summary {
	r := &summary{Group: s.consumer.Group, Records: stats.Records, DeadLetters: stats.DeadLetters, Refused: []refusedReport{}, Tables: []tableSummary{},
		Seconds: took.Round(time.Millisecond).Seconds()}
	for _, x := range stats.Refused {
		r.Refused = append(r.Refused, refusedReport{x.Topic, x.Code, x.Table, x.Column, x.DeadLetters})
	}
	for _, t := range stats.Tables {
		x := tableSummary{t.Table, t.Copied + t.Upserted, t.Tombstones - t.TombstonesWithoutRow}
		r.Rows, r.Deleted = r.Rows+x.Rows, r.Deleted+x.Deleted
		r.Tables = append(r.Tables, x)
	}
	// The run's own context may have ended: that is how one stops it.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	rows, err := ledger.Rows(ctx)
	if err != nil {
		return r
	}
	r.Positions = []positionReport{}
	for _, row := range rows {
		if _, read := s.consumer.Topics[row.Topic]; read {
			r.Positions = append(r.Positions, positionReport{row.Topic, row.Partition.Partition, row.Position.Next})
		}
	}
	return r
}

// after is what was done in two lives, of which before, if it is not nil, is the earlier.
func (r *summary) after(before *summary) *summary {
	if before == nil {
		return r
	}
	out := *r
	out.Records, out.Rows, out.Deleted, out.DeadLetters = r.Records+before.Records, r.Rows+before.Rows, r.Deleted+before.Deleted, r.DeadLetters+before.DeadLetters
	out.Seconds = math.Round((r.Seconds+before.Seconds)*1000) / 1000
	out.Refused = slices.Clone(before.Refused)
	for _, x := range r.Refused {
		same := func(y refusedReport) bool { y.Count = x.Count; return y == x }
		if i := slices.IndexFunc(out.Refused, same); i >= 0 {
			out.Refused[i].Count += x.Count
		} else {
			out.Refused = append(out.Refused, x)
		}
	}
	out.Tables = slices.Clone(before.Tables)
	for _, x := range r.Tables {
		if i := slices.IndexFunc(out.Tables, func(y tableSummary) bool { return y.Table == x.Table }); i >= 0 {
			out.Tables[i].Rows, out.Tables[i].Deleted = out.Tables[i].Rows+x.Rows, out.Tables[i].Deleted+x.Deleted
		} else {
			out.Tables = append(out.Tables, x)
		}
	}
	return &out
}

// maxTold bounds how many positions, and kinds of dead letters, a summary for a person names.
const maxTold = 12

// positions are where the partitions stand, if they are few.
func (r *summary) positions() string {
	if len(r.Positions) > maxTold {
		return ""
	}
	var at []string
	for _, p := range r.Positions {
		at = append(at, fmt.Sprintf("%s/%d at %d", p.Topic, p.Partition, p.Position))
	}
	return strings.Join(at, ", ")
}

// note logs the summary.
func (r *summary) note(log *slog.Logger) {
	for i, x := range r.Refused {
		if i == maxTold {
			log.Warn("there are more kinds of dead letters", "kinds", len(r.Refused)-maxTold)
			break
		}
		log.Warn("dead letters of this run", "topic", x.Topic, "code", x.Code, "table", x.Table, "column", x.Column, "dead_letters", x.Count)
	}
	attrs := []any{"group", r.Group, "records", r.Records, "rows", r.Rows, "deleted", r.Deleted, "dead_letters", r.DeadLetters, "seconds", r.Seconds}
	if at := r.positions(); at != "" {
		attrs = append(attrs, "positions", at)
	}
	log.Info("stopped", attrs...)
}

// print writes the summary for a person.
func (r *summary) print(w io.Writer) {
	text := fmt.Sprintf("%s records in %s: %s rows written", thousands(r.Records), age(r.Seconds), thousands(r.Rows))
	if r.Deleted > 0 {
		text += fmt.Sprintf(", %s deleted", thousands(r.Deleted))
	}
	printWrapped(w, "", text+fmt.Sprintf(", %s dead letters", thousands(r.DeadLetters)))
	for i, x := range r.Refused {
		if i == maxTold {
			fmt.Fprintf(w, "  and %d more kinds\n", len(r.Refused)-maxTold)
			break
		}
		printWrapped(w, "  ", x.String())
	}
	if at := r.positions(); at != "" {
		printWrapped(w, "", "the group stands at "+at)
	}
}

// left says that a run to the end left dead letters.
func (r *summary) left() error {
	return &lettersError{fmt.Sprintf("%s of this run's records became dead letters: `oncesink dead-letters list` shows them; with --allow-dead-letters this ends with 0", thousands(r.DeadLetters))}
}
