package main

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/rebuild"
)

// What an interrupted rebuild says of the table is true: unchanged up to the commit, done after it, and in doubt between.
func TestUnfinished(t *testing.T) {
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	lost := errors.New("connection lost")
	for _, tc := range []struct {
		ctx  context.Context
		err  error
		says []string
		not  string
	}{
		{interrupted, context.Canceled, []string{"nothing was changed", "goes on where this one stopped"}, "verify"},
		{t.Context(), lost, []string{"connection lost"}, "interrupted"},
		{interrupted, &rebuild.Error{Outcome: rebuild.Changed, Err: lost}, []string{"the table is done", "connection lost", "`oncesink verify orders`"}, "nothing"},
		{interrupted, &rebuild.Error{Outcome: rebuild.InDoubt, Err: lost}, []string{"all of it is done, or nothing", "`oncesink verify orders` tells"}, "interrupted"},
		{t.Context(), &rebuild.Error{Outcome: rebuild.InDoubt, Err: lost}, []string{"all of it is done, or nothing"}, "interrupted"},
	} {
		got := unfinished(tc.ctx, tc.err, "orders").Error()
		for _, s := range tc.says {
			if !strings.Contains(got, s) {
				t.Errorf("%v: %q, want %q in it", tc.err, got, s)
			}
		}
		if strings.Contains(got, tc.not) {
			t.Errorf("%v: %q has %q in it", tc.err, got, tc.not)
		}
	}
}
