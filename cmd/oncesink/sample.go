package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/internal/sample"
	"github.com/oncesink/oncesink/sink"
)

// Bounds of a sample.
const (
	maxSample  = 100_000          // records of a topic
	sampleTime = 60 * time.Second // in all
)

// sampleReport is what would become of the topics' last records.
type sampleReport struct {
	// Asked is how many records of each topic were asked for.
	Asked  int            `json:"asked"`
	Topics []sample.Topic `json:"topics"`
	// Untried says why only what the decoder refuses is known.
	Untried string `json:"untried,omitempty"`
	// Unfinished says why fewer records were read than there are.
	Unfinished string `json:"unfinished,omitempty"`
}

// sample reads the last n records of each topic, without a group, and finds out what would become of them.
func (s *session) sample(ctx context.Context, sk *engine.Sink, n int) (*sampleReport, error) {
	ctx, cancel := context.WithTimeout(ctx, sampleTime)
	defer cancel()
	stretches, err := s.stretches(ctx, n)
	if err != nil {
		return nil, s.kafkaError(err)
	}
	var schemas event.SchemaSource
	if s.consumer.Registry != nil {
		if schemas, err = s.consumer.NewRegistry(s.pool); err != nil {
			return nil, err
		}
	}
	x, r := sample.New(sk, schemas), &sampleReport{Asked: n}
	left, err := s.readStretches(ctx, stretches, func(records []sink.Record) error { return x.Add(ctx, records...) })
	if left > 0 && ctx.Err() == nil {
		r.Unfinished = fmt.Sprintf("in %d partition(s), where nothing came for %v: their last offsets may hold no records", left, readPause)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		r.Unfinished, err = fmt.Sprintf("after %v: with fewer records it is faster", sampleTime), nil
	}
	if err != nil {
		return nil, s.scrub(err)
	}
	r.Topics, r.Untried = x.Report(), x.Untried
	for _, t := range s.meta.Topics.Names() { // those without a record
		if !slices.ContainsFunc(r.Topics, func(r sample.Topic) bool { return r.Topic == t }) {
			r.Topics = append(r.Topics, sample.Topic{Topic: t, Tables: []sample.Table{}, Letters: []sample.Letter{}, NotTaken: []sample.Field{}})
		}
	}
	slices.SortFunc(r.Topics, func(a, b sample.Topic) int { return cmp.Compare(a.Topic, b.Topic) })
	return r, nil
}

// refusedTopics are those of which no record passes.
func (r *sampleReport) refusedTopics() (names []string) {
	for _, t := range r.Topics {
		passed := 0
		for _, table := range t.Tables {
			passed += table.Rows + table.Deletes
		}
		if t.Refused > 0 && passed == 0 {
			names = append(names, t.Topic)
		}
	}
	return names
}

func (r *sampleReport) refused() (n int) {
	for _, t := range r.Topics {
		n += t.Refused
	}
	return n
}

// sampleError ends a check whose sample would be dead letters.
type sampleError struct {
	n     int
	whole []string
}

func (e *sampleError) Error() string {
	if len(e.whole) > 0 {
		return "no record of the sample of " + strings.Join(e.whole, ", ") + " would become a row: correct the mapping or the table"
	}
	return fmt.Sprintf("%d record(s) of the sample would be dead letters", e.n)
}

// found is the error that a sample is; nil if it is in order.
func (r *sampleReport) found(strict bool) error {
	whole := r.refusedTopics()
	if n := r.refused(); len(whole) > 0 || strict && n > 0 {
		return &sampleError{n, whole}
	}
	return nil
}

// print writes it for a terminal of 80 columns.
func (r *sampleReport) print(w io.Writer) {
	const most = 12 // fields
	for _, t := range r.Topics {
		fmt.Fprintln(w)
		printWrapped(w, "", fmt.Sprintf("sample of %s: the last %s record(s)", t.Topic, thousands(t.Records)))
		for _, table := range t.Tables {
			line := fmt.Sprintf("  %s: %s row(s)", table.Table, thousands(table.Rows))
			if table.Deletes > 0 {
				line += fmt.Sprintf(", %s deletion(s)", thousands(table.Deletes))
			}
			fmt.Fprintln(w, line)
			if len(table.NotFilled) > 0 {
				printWrapped(w, "    ", "columns that no field fills: "+strings.Join(table.NotFilled, ", "))
			}
		}
		if t.Unmatched > 0 {
			fmt.Fprintf(w, "  of no table, by `when:` or by what their envelope says: %s\n", thousands(t.Unmatched))
		}
		if t.Refused > 0 {
			fmt.Fprintf(w, "  dead letters: %s\n", thousands(t.Refused))
		}
		for _, l := range t.Letters {
			what := cmp.Or(l.Table, "the record")
			if l.Column != "" {
				what += "." + l.Column
			}
			if l.Constraint != "" {
				what += ", " + l.Constraint
			}
			printWrapped(w, "    ", fmt.Sprintf("%s x %s, %s: %s (one is %s/%d, offset %d)", thousands(l.Count), l.Code, what, l.Why, t.Topic, l.Partition, l.Offset))
		}
		if len(t.NotTaken) > 0 {
			var s []string
			for _, f := range t.NotTaken[:min(most, len(t.NotTaken))] {
				s = append(s, fmt.Sprintf("%s (%s)", printable(f.Path), thousands(f.Count)))
			}
			if more := len(t.NotTaken) - len(s) + t.MoreNotTaken; more > 0 {
				s = append(s, fmt.Sprintf("and %s more", thousands(more)))
			}
			printWrapped(w, "  ", "fields that no column takes: "+strings.Join(s, ", "))
		}
	}
	if r.Unfinished != "" {
		printWrapped(w, "", "warning: the sample ended "+r.Unfinished)
	}
	if r.Untried != "" {
		printWrapped(w, "", "warning: the server did not try the rows: "+r.Untried+". What it would refuse is not known: grant temporary on database DATABASE to ROLE")
	}
}

// printable is a field's name without what a terminal would act on.
func printable(name string) string {
	if quoted := strconv.Quote(name); strings.ContainsFunc(name, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return quoted
	}
	return name
}
