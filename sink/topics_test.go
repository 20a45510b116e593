package sink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A handler of some topics sees their records alone, in their order; without any of them it isn't called. The batch
// stays as it is, for the handler after it.
func TestOnTopics(t *testing.T) {
	at := func(places ...string) (records []Record) {
		for i, topic := range places {
			records = append(records, Record{Topic: topic, Offset: int64(i)})
		}
		return records
	}
	refuses := errors.New("refused")
	for _, c := range []struct {
		topics, batch, want string // want "": not called
	}{
		{"a", "a b a", "a/0 a/2"},
		{"a b", "a b c a", "a/0 b/1 a/3"},
		{"a", "a a", "a/0 a/1"},
		{"a", "b c", ""},
		{"", "a", ""},
	} {
		batch := at(strings.Fields(c.batch)...)
		was := fmt.Sprint(batch)
		var got []string
		err := OnTopics(func(_ context.Context, _ pgx.Tx, records []Record) error {
			for _, r := range records {
				got = append(got, fmt.Sprintf("%s/%d", r.Topic, r.Offset))
			}
			return refuses
		}, strings.Fields(c.topics)...)(t.Context(), nil, batch)
		if strings.Join(got, " ") != c.want || (err != nil) != (c.want != "") || err != nil && !errors.Is(err, refuses) {
			t.Errorf("topics %q of %q: got %v, %v, want %q", c.topics, c.batch, got, err, c.want)
		}
		if fmt.Sprint(batch) != was {
			t.Errorf("topics %q of %q: the batch became %v", c.topics, c.batch, batch)
		}
	}
	// Each of several handlers gets its records.
	var seen []string
	note := func(name string) Handler {
		return func(_ context.Context, _ pgx.Tx, records []Record) error {
			seen = append(seen, fmt.Sprintf("%s %d", name, len(records)))
			return nil
		}
	}
	for _, h := range []Handler{OnTopics(note("first"), "a"), OnTopics(note("second"), "b", "a"), note("all")} {
		if err := h(t.Context(), nil, at("a", "b", "c")); err != nil {
			t.Fatal(err)
		}
	}
	if want := []string{"first 1", "second 2", "all 3"}; !slices.Equal(seen, want) {
		t.Errorf("got %v, want %v", seen, want)
	}
}
