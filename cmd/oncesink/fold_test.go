package main

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/rebuild"
)

// What is said of many partitions is said of some, and counted; what is said of few is said of each.
func TestFoldAlike(t *testing.T) {
	var all []string
	for i := range 9 {
		all = append(all, fmt.Sprintf("orders/%d is paused", i))
	}
	all = append(all, "something else", "items/0 is paused", "items/1 is paused", "items/2 is paused", "items/3 is paused")
	want := []string{"orders/0 is paused", "orders/1 is paused", "orders/2 is paused", "and 6 more like the last: --json has them all", "something else",
		"items/0 is paused", "items/1 is paused", "items/2 is paused", "items/3 is paused"}
	if got := foldAlike(all); !slices.Equal(got, want) {
		t.Errorf("folded to %q", got)
	}
}

// A line of progress says how far it is before it says of what, so that a narrow terminal cuts the end.
func TestBarLine(t *testing.T) {
	for want, at := range map[string]rebuild.Progress{
		"waiting, 3 s": {Phase: "waiting"},
		" 25% █████░░░░░░░░░░░░░░░ reading, about 9 s left": {Phase: "reading", Done: 10, Total: 40},
		"  0% ░░░░░░░░░░░░░░░░░░░░ reading":                 {Phase: "reading", Total: 40},
		"100% ████████████████████ reading, about 0 s left": {Phase: "reading", Done: 50, Total: 40},
	} {
		if got := barLine(at, 3*time.Second); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
