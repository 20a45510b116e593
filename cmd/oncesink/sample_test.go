package main

import (
	"bytes"
	"maps"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/sample"
)

// TestShares: partitions give the same, and the others what a small one lacks.
func TestShares(t *testing.T) {
	for _, tt := range []struct {
		sizes map[int32]int64
		n     int64
		want  map[int32]int64
	}{
		{map[int32]int64{0: 100}, 10, map[int32]int64{0: 10}},
		{map[int32]int64{0: 100, 1: 100}, 11, map[int32]int64{0: 6, 1: 5}},
		{map[int32]int64{0: 100, 1: 2, 2: 0}, 50, map[int32]int64{0: 48, 1: 2, 2: 0}},
		{map[int32]int64{0: 3, 1: 2}, 50, map[int32]int64{0: 3, 1: 2}},
		{map[int32]int64{0: 3, 1: 2, 2: 9}, 1, map[int32]int64{0: 0, 1: 1, 2: 0}},
	} {
		if got := shares(tt.sizes, tt.n); !maps.Equal(got, tt.want) {
			t.Errorf("%v of %v: %v, want %v", tt.n, tt.sizes, got, tt.want)
		}
	}
}

// TestSamplePrinted: whatever names there are, no line is wider than a terminal of 80 columns unless a word is, and
// no name acts on it.
func TestSamplePrinted(t *testing.T) {
	topic := sample.Topic{Topic: "orders", Records: 1234567, Refused: 1200000, MoreNotTaken: 7,
		Tables:  []sample.Table{{Table: "public.orders", Rows: 34567, Deletes: 12, NotFilled: strings.Fields(strings.Repeat("some_column ", 30))}},
		Letters: []sample.Letter{{Table: "public.orders", Column: "placed_at", Code: "22008", Why: "out of the range of dates and times", Count: 1200000, Partition: 11, Offset: 123456789}}}
	for range 40 {
		topic.NotTaken = append(topic.NotTaken, sample.Field{Path: "customer.address\x1b[31m", Count: 1000})
	}
	var b bytes.Buffer
	(&sampleReport{Topics: []sample.Topic{topic}, Unfinished: strings.Repeat("because ", 30), Untried: strings.Repeat("because ", 30)}).print(&b)
	for line := range strings.Lines(b.String()) {
		if len(line) > 81 {
			t.Errorf("too wide: %s", line)
		}
	}
	if s := b.String(); strings.Contains(s, "\x1b") || !strings.Contains(s, "1,200,000 x 22008, public.orders.placed_at: out of the range") || !strings.Contains(s, "and 35 more") {
		t.Errorf("got:\n%s", s)
	}
}
