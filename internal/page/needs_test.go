package page

import (
	"slices"
	"testing"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/verify"
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

// A table that is not what its topics say is told, and one that is, is not.
func TestMismatched(t *testing.T) {
	t.Parallel()
	got := mismatched([]verify.State{{Table: "public.orders", Mismatches: map[string]int64{verify.Missing: 2, verify.Row: 1}}, {Table: "public.items", Mismatches: map[string]int64{}}})
	if len(got) != 1 || got[0].Level != "act" || got[0].Text != "Found: 1 row, 2 missing." || got[0].Commands[0] != "oncesink verify public.orders --sample 1 --show-keys" {
		t.Errorf("told: %+v", got)
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
