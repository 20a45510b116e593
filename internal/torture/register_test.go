package torture

import (
	"fmt"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/oncesink/oncesink/internal/torture/checker"
)

// The row of a key is a register. An event is a write that takes effect at some moment between its production and the end of the run, or never:
// of events in one transaction only the last one does. A read by SQL takes effect between its begin and its end. A write may only follow one
// of a lower version, so a history in which a reader sees a row go back, or a row that nobody had produced yet, has no order.
type step struct {
	write   bool
	version int64
}

var register = porcupine.Model{
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		in := input.(step)
		if in.write {
			return true, max(state.(int64), in.version) // an event that comes after a newer one changes nothing
		}
		return output.(int64) == state.(int64), state
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprint(input, output) },
}

// linearizable has porcupine, which knows nothing of this program, look for an order of each key's operations. It returns how many reads
// there were.
func linearizable(history []checker.Op) (reads int, err error) {
	const forever = int64(1) << 60
	byKey := map[int64][]porcupine.Operation{}
	seen := map[int64]map[int64]bool{}
	for _, op := range history {
		if op.Kind == checker.Read && seen[op.Key] == nil {
			seen[op.Key] = map[int64]bool{}
		}
		if op.Kind == checker.Read {
			reads++
			seen[op.Key][op.Version] = true
			byKey[op.Key] = append(byKey[op.Key], porcupine.Operation{ClientId: 0, Input: step{}, Call: op.Begun, Output: op.Version, Return: op.Ended})
		}
	}
	for _, op := range history {
		// A write that no reader has seen may never have been one by itself.
		if op.Kind == checker.Upsert && seen[op.Key][op.Version] {
			byKey[op.Key] = append(byKey[op.Key], porcupine.Operation{ClientId: 1 + len(byKey[op.Key]), Input: step{true, op.Version}, Call: op.Begun, Output: int64(0), Return: forever})
		}
	}
	for key, ops := range byKey {
		switch porcupine.CheckOperationsTimeout(register, ops, 20*time.Second) {
		case porcupine.Illegal:
			return reads, fmt.Errorf("the reads of key %d have no order", key)
		case porcupine.Unknown:
			return reads, fmt.Errorf("the reads of key %d: no answer in 20 s", key)
		}
	}
	return reads, nil
}

// Porcupine says yes to reads in order, and no to a row that goes back, that comes before its event, or that vanishes.
func TestLinearizable(t *testing.T) {
	write := func(version, begun int64) checker.Op {
		return checker.Op{Kind: checker.Upsert, Key: 1, Version: version, Begun: begun, Ended: begun + 1}
	}
	read := func(version, begun int64) checker.Op {
		return checker.Op{Kind: checker.Read, Key: 1, Version: version, Begun: begun, Ended: begun + 1}
	}
	for _, tt := range []struct {
		name string
		ops  []checker.Op
		ok   bool
	}{
		{"in order", []checker.Op{write(1, 0), write(2, 1), write(3, 2), read(0, 3), read(1, 10), read(3, 20), read(3, 30)}, true},
		{"back", []checker.Op{write(1, 0), write(2, 1), read(2, 10), read(1, 20)}, false},
		{"before its event", []checker.Op{read(1, 0), write(1, 10), read(1, 20)}, false},
		{"gone", []checker.Op{write(1, 0), read(1, 10), read(0, 20)}, false},
	} {
		if _, err := linearizable(tt.ops); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
