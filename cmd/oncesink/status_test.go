package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oncesink/oncesink/docs"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
)

// Why a partition stands still is said once, with its name, whatever the reason begins with.
func TestStatusNotes(t *testing.T) {
	for _, test := range []struct{ halted, stuck, want string }{
		{"orders/0: offsets 10 to 24 are missing", "", "orders/0 halted: offsets 10 to 24 are missing"},
		{"SQLSTATE 58030: the disk broke", "", "orders/0 halted: SQLSTATE 58030: the disk broke"},
		{"halted: SQLSTATE 58030: the disk broke", "", "orders/0 halted: SQLSTATE 58030: the disk broke"}, // as it was stored once
		{"halted: orders/0: halted: SQLSTATE 58030: the disk broke", "", "orders/0 halted: SQLSTATE 58030: the disk broke"},
		{"orders/0 halted: halted: a gap", "", "orders/0 halted: a gap"},
		{"", "57P03: the server starts up", "orders/0 stuck: 57P03: the server starts up"},
		{"a gap", "57P03: the server starts up", "orders/0 halted: a gap"},
	} {
		r := statusReport{Group: "g", Partitions: []partitionStatus{{Topic: "orders", Owner: "me", OwnerAlive: true, Halted: test.halted, Stuck: test.stuck}}}
		r.Partitions[0].State = r.Partitions[0].state()
		var b strings.Builder
		r.print(&b)
		var notes []string
		for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
			if strings.HasPrefix(line, "orders/0") {
				notes = append(notes, line)
			}
		}
		if len(notes) != 1 || notes[0] != test.want {
			t.Errorf("says\n%s\nwant %q", b.String(), test.want)
		}
		if state := strings.Fields(test.want)[1]; !strings.Contains(b.String(), " "+strings.TrimSuffix(strings.ToUpper(state), ":")+" ") {
			t.Errorf("the table does not show %s:\n%s", state, b.String())
		}
	}
}

// Each reason for which partitions have halted leads to its place in the runbook, once, before what is no trouble.
func TestStatusLeadsToTheRunbook(t *testing.T) {
	t.Parallel()
	open, minutes, moment := int64(3), 125.0, 59.0
	r := statusReport{Group: "g", Partitions: []partitionStatus{
		{Topic: "orders", Partition: 0, State: stateRunning, Open: &open, OpenSeconds: &minutes},
		{Topic: "orders", Partition: 4, State: stateRunning, Open: &open, OpenSeconds: &moment}, {Topic: "orders", Partition: 5, State: stateRunning, Open: &open}, {Topic: "orders", Partition: 1, State: stateHalted, Halted: "a gap", Reason: "gap"},
		{Topic: "orders", Partition: 2, State: stateHalted, Halted: "a gap", Reason: "gap"}, {Topic: "orders", Partition: 3, State: stateStuck, Stuck: "57P03"},
	}}
	for i := range r.Partitions {
		r.Partitions[i].Runbook = r.Partitions[i].steps()
	}
	notes := r.notes(9)
	if len(notes) != 6 || notes[3] != "what to do, step by step: "+docs.Runbook("gap") || notes[4] != "what to do, step by step: "+docs.Runbook("stuck") || !strings.HasPrefix(notes[5], "orders/0: 3 more offset(s) can't be read before a transaction ends that has been open for 2 min") {
		t.Errorf("notes are\n%s", strings.Join(notes, "\n"))
	}
}

// A statement that a message ends with is printed in one piece, whatever the names in it.
func TestStatementsAreNotBroken(t *testing.T) {
	statement := offsets.Command("accept_gap", "a group's (long) name  with spaces", "orders", int32(0), int64(25))
	var b strings.Builder
	printWrapped(&b, "", "orders/0 halted: offsets 10 to 24 are missing: retention removed them before they were read. If they can be done without: "+statement+". Or not")
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if !slices.ContainsFunc(lines, func(line string) bool { return strings.Contains(line, statement+".") }) || len(lines) < 3 {
		t.Errorf("printed as\n%s", b.String())
	}
	for n := range 70 {
		b.Reset()
		printWrapped(&b, "", strings.Repeat("x", n+1)+" and then `oncesink run`, or `oncesink check --sample 10`, or a ` alone")
		if s := b.String(); !strings.Contains(s, "`oncesink run`,") || !strings.Contains(s, "`oncesink check --sample 10`,") {
			t.Errorf("printed as\n%s", s)
		}
	}
}

// A connection on which nothing is answered does not keep a command from ending.
func TestCloseIsBounded(t *testing.T) {
	pool, _, err := offsets.NewPool(t.Context(), testpg.URL(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Release)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		(&session{pool: pool}).close()
	}()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("it waits for a connection that is held")
	}
}
