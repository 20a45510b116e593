package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/docs"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Errors lead to the runbook, each of several, however deep they lie.
func TestStepsOf(t *testing.T) {
	t.Parallel()
	gap := &consumer.GapError{Partition: offsets.Partition{Topic: "orders"}, From: 1, To: 2}
	for _, c := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("look: %w (it has version 1)", offsets.ErrNoLedger), "the-ledger-is-out-of-date"},
		{&scrubbed{&offsets.RightsError{Grants: []string{"grant"}}, "***"}, "rights-are-missing"},
		{&sink.ConfigError{Problem: "the role lacks SELECT", Cause: pgerr.ErrDenied}, "rights-are-missing"},
		{fmt.Errorf("init: %w", &pgconn.PgError{Code: "42501"}), "rights-are-missing"},
		{&sink.ConfigError{Problem: "another", Cause: &offsets.MappingError{}}, "the-mapping-is-refused"},
		{&led{&environmentError{"PostgreSQL: refused"}, docs.Runbook("the-database-is-away")}, "the-database-is-away"},
		{fmt.Errorf("run: %w", errors.Join(&sink.HaltError{Err: gap}, &sink.HaltError{Err: errors.New("a trigger")}, &sink.HaltError{Err: gap})), "gap error"},
		{&haltedError{errors.Join(gap, &offsets.ClusterChangedError{}, offsets.ErrNoPosition)}, "gap cluster no_row"},
		{&sink.ConfigError{Problem: "table orders does not exist", Fix: "create it"}, ""},
		{&pgconn.PgError{Code: "42P01"}, ""},
	} {
		var want []string
		for _, heading := range strings.Fields(c.want) {
			want = append(want, docs.Runbook(heading))
		}
		if got := stepsOf(c.err); !slices.Equal(got, want) {
			t.Errorf("%v leads to %q, want %q", c.err, got, want)
		}
	}
	var b strings.Builder
	if report(&b, fmt.Errorf("look: %w", offsets.ErrNoLedger)); !strings.HasSuffix(b.String(), "\n  what to do, step by step: "+docs.Runbook("the-ledger-is-out-of-date")+"\n") {
		t.Errorf("reported as\n%s", b.String())
	}
}

// A partition that stands still leads there by its state, and by what it waits for.
func TestStepsOfPartitions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of   partitionStatus
		want string
	}{
		{partitionStatus{State: stateHalted, Halted: "a gap", Reason: "gap"}, "gap"},
		{partitionStatus{State: stateHalted, Halted: "of an older version"}, "why-a-partition-halts"},
		{partitionStatus{State: stateStuck, Stuck: "SQLSTATE 53100, again and again"}, "stuck"},
		{partitionStatus{State: stateStuck, Stuck: "waiting for schema confluent 7 of the values of topic orders: no answer"}, "the-schema-registry-is-away"},
		{partitionStatus{State: stateStuck, Stuck: "waiting for a column of orders for note"}, "waiting-for-a-column"},
		{partitionStatus{State: stateStuck, Stuck: "waiting for records that are not in the log: no answer"}, "oncesinkpartitionwaiting"},
	} {
		if got := c.of.steps(); got != docs.Runbook(c.want) {
			t.Errorf("%+v leads to %s, want #%s", c.of, got, c.want)
		}
	}
	if got := (&partitionStatus{State: stateRunning, Stuck: "was"}).steps(); got != "" {
		t.Errorf("one that runs leads to %s", got)
	}
}
