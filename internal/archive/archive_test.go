package archive

import (
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/offsets"
)

// What was written is read, from any offset.
func TestWrittenIsRead(t *testing.T) {
	a, err := Open(t.Context(), t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	s := Source{Cluster: "c", TopicID: offsets.NewToken(), Partition: offsets.Partition{Topic: "orders", Partition: 3}}
	at := time.UnixMilli(1700000000000)
	next := int64(5)
	for range 3 { // files
		w, err := a.Begin(t.Context(), s, next)
		if err != nil {
			t.Fatal(err)
		}
		var records []*kgo.Record
		for range 10 {
			records = append(records, &kgo.Record{Topic: "orders", Partition: 3, Offset: next, Timestamp: at, Key: fmt.Append(nil, next), Value: []byte{}})
			next += 2
		}
		if err := w.Records(records, next); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Finish(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	first, end, ok, err := a.Span(t.Context(), s.TopicID, s.Partition)
	if first != 5 || end != next || !ok || err != nil {
		t.Fatalf("span %d to %d, %v, %v", first, end, ok, err)
	}
	for from := first; from <= end; from++ {
		want := from + (from+1)%2
		err := a.Read(t.Context(), s.TopicID, s.Partition, from, func(records []*kgo.Record) bool {
			for _, r := range records {
				if r.Offset != want || string(r.Key) != fmt.Sprint(want) || r.Value == nil || !r.Timestamp.Equal(at) {
					t.Errorf("from %d: %+v, want %d", from, r, want)
				}
				want += 2
			}
			return true
		})
		if err != nil || want != end {
			t.Errorf("from %d: up to %d, %v", from, want, err)
		}
	}
}
