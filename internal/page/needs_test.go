package page

import (
	"slices"
	"testing"

	"github.com/oncesink/oncesink/consumer"
)

// Each reason for which a partition halts has a sentence that says what to do.
func TestDo(t *testing.T) {
	t.Parallel()
	for _, r := range consumer.Reasons() {
		if do[r] == "" {
			t.Errorf("nothing is said of what to do about %s", r)
		}
	}
}

// What an error ends with is a command and a statement, and is not said twice.
func TestWayOut(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		says     string
		commands []string
	}{
		"it is gone. To read on: select oncesink.rewind('g', 'it''s', 0, 7), or `oncesink rewind it/0 --to 7`": {"it is gone. To read on:", []string{"oncesink rewind it/0 --to 7", "select oncesink.rewind('g', 'it''s', 0, 7)"}},
		"first `oncesink adopt t`, then look": {"first `oncesink adopt t`, then look", []string{"oncesink adopt t"}},
		"write public.t: SQLSTATE 42501":      {"write public.t: SQLSTATE 42501", nil},
	} {
		if says, commands := wayOut(text); says != want.says || !slices.Equal(commands, want.commands) {
			t.Errorf("%s: %q %q", text, says, commands)
		}
	}
}
