package kafka

import (
	"context"
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/offsets"
)

// spanned is an archive that has a range of offsets.
type spanned struct {
	first, end int64
	err        error
}

func (s spanned) Span(context.Context, offsets.Token, offsets.Partition) (int64, int64, bool, error) {
	return s.first, s.end, s.first < s.end, s.err
}

func (spanned) Read(context.Context, offsets.Token, offsets.Partition, int64, func([]*kgo.Record) bool) error {
	return errors.New("nobody reads")
}

func (spanned) At(context.Context, offsets.Token, offsets.Partition, []int64, func(*kgo.Record)) (int64, error) {
	return 0, errors.New("nobody reads")
}

func (spanned) String() string { return "there" }

// shelf is an archive that has one record.
type shelf struct {
	spanned
	record *kgo.Record
}

func (s shelf) Read(_ context.Context, _ offsets.Token, _ offsets.Partition, from int64, yield func([]*kgo.Record) bool) error {
	if s.record != nil && s.record.Offset >= from {
		yield([]*kgo.Record{s.record})
	}
	return nil
}

// Rule 35: every offset of a log that begins at 20, and of what an archive has, is read from one of both or missing, and the seam lies where the
// log begins.
func TestReach(t *testing.T) {
	for _, c := range []struct {
		name                     string
		a                        Archive
		start, beginning         int64
		next, archived, from, to int64
	}{
		{"no archive, in the log", nil, 20, 20, 25, 25, 0, 0},
		{"no archive, at its start", nil, 20, 20, 20, 20, 0, 0},
		{"no archive, below", nil, 20, 20, 19, 19, 19, 20},
		{"nothing archived", spanned{}, 20, 20, 5, 5, 5, 20},
		{"the archive ends in the log", spanned{first: 0, end: 30}, 20, 0, 5, 20, 0, 0},
		{"it is not asked for what the log has", spanned{first: 0, end: 30}, 20, 0, 20, 20, 0, 0},
		{"it ends where the log begins", spanned{first: 3, end: 20}, 20, 3, 19, 20, 0, 0},
		{"it ends one below", spanned{first: 3, end: 19}, 20, 20, 3, 19, 19, 20},
		{"its last record", spanned{first: 3, end: 19}, 20, 20, 18, 19, 19, 20},
		{"between both", spanned{first: 3, end: 10}, 20, 20, 10, 10, 10, 20},
		{"below the archive", spanned{first: 3, end: 20}, 20, 3, 2, 2, 2, 3},
		{"below an archive that lies in the log", spanned{first: 25, end: 30}, 20, 20, 2, 2, 2, 20},
		{"an archive that begins where the log does", spanned{first: 20, end: 30}, 20, 20, 19, 19, 19, 20},
		{"a whole log", spanned{first: 0, end: 30}, 0, 0, 0, 0, 0, 0},
	} {
		r, err := ReachOf(t.Context(), c.a, offsets.Token{1}, offsets.Partition{Topic: "orders"}, c.start, 40)
		if err != nil {
			t.Fatal(err)
		}
		from, to, missing := r.Missing(c.next)
		if got := r.Beginning(); got != c.beginning {
			t.Errorf("%s: it begins at %d, want %d", c.name, got, c.beginning)
		}
		if got := r.Archived(c.next); got != c.archived {
			t.Errorf("%s: from %d the archive is read up to %d, want %d", c.name, c.next, got, c.archived)
		}
		if from != c.from || to != c.to || missing != (c.from < c.to) {
			t.Errorf("%s: from %d on %d to %d are missing (%t), want %d to %d", c.name, c.next, from, to, missing, c.from, c.to)
		}
	}
	if _, err := ReachOf(t.Context(), spanned{err: errors.New("away")}, offsets.Token{}, offsets.Partition{}, 1, 2); err == nil {
		t.Error("an archive that is away has nothing, it seems")
	}
}
