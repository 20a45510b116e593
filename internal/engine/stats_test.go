package engine

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/sink"
)

// Tombstones are counted once they are committed, those that met no row apart; a replay counts none, and warns of none.
func TestTombstonesAreCounted(t *testing.T) {
	for _, guard := range []string{"", "none"} {
		t.Run("guard "+guard, func(t *testing.T) {
			var log bytes.Buffer
			db := newDatabase(t, "create table q (name text primary key, v int)")
			e := db.open(sink.Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Tables: []sink.TableConfig{
				{Name: "q", Topics: []string{"o"}, Key: []string{"name"}, Guard: guard, RecordKey: map[string]string{"name": "$key"}}}})
			stats := func(want string) {
				t.Helper()
				if got := fmt.Sprint(e.Stats()); got != want {
					t.Errorf("got %s, want %s", got, want)
				}
			}
			warnings := func(want int) {
				t.Helper()
				if got := strings.Count(log.String(), "tombstones met no row"); got != want {
					t.Errorf("%d warnings, want %d:\n%s", got, want, log.String())
				}
			}
			stats("[]")
			// A record that is refused makes the batch be written again, in halves: nothing counts twice.
			values := []string{`{"name": "ann", "v": 1}`, `{"name": "bob", "v": 1}`, "-ann", `{"name": "eve", "v": 99999999999}`}
			e.write(e.add(0, 0, values...))
			stats("[{public.q 1 0}]")
			warnings(0)
			values = append(values, `-"bob"`, `-"eve"`)
			e.write(e.add(0, 4, values[4:]...))
			stats("[{public.q 3 2}]")
			warnings(1)
			if !strings.Contains(log.String(), "topic=o table=public.q tombstones=2") || !strings.Contains(log.String(), "$key_json") {
				t.Errorf("it does not say what to look at:\n%s", log.String())
			}
			e.write(e.add(0, 6, `-"cid"`)) // within the minute
			stats("[{public.q 4 3}]")
			warnings(1)
			if guard == "none" {
				return
			}
			e.stats.tables["public.q"].unwarned = 0
			e.stats.tables["public.q"].warned = e.stats.tables["public.q"].warned.Add(-rowlessPause)
			e.rewind("o", 0, 0)
			e.write(e.add(0, 0, append(values, `-"cid"`)...))
			stats("[{public.q 4 3}]")
			warnings(1)
		})
	}
}
