package consumer

import (
	"context"

	"github.com/oncesink/oncesink/offsets"
)

// askWhetherWeMay drops the lanes that may not be claimed now.
//
// Rule 3: if the row still names our claim, nobody else has claimed it: an
// operator moved it, or a transaction of ours was cut off, and we may claim at
// once. If it names another claim we may be a zombie that just woke up: only
// a sign of the group that we are a member, asked for after the loss, allows us
// to claim again. A lane that was never claimed was assigned just now.
func (a *attempt) askWhetherWeMay(ctx context.Context) {
	var doubtful []offsets.Row
	open := a.open[:0]
	for _, r := range a.open {
		last, row := r.lane.view().claim, a.row[r.lane.Partition]
		switch {
		case last.ID.IsZero() || row == nil || row.ClaimID == last.ID:
		case !a.patient:
			a.later = append(a.later, r)
			continue
		default:
			doubtful = append(doubtful, *row)
		}
		open = append(open, r)
	}
	a.open = open
	if len(doubtful) > 0 {
		refused := a.m.refuseClaims(ctx, doubtful)
		a.keep(func(r *request) error { return refused[r.lane.Partition] })
	}
}

// refuseClaims says which rows that name another claim may not be claimed, and why.
func (m *member) refuseClaims(ctx context.Context, rows []offsets.Row) map[offsets.Partition]error {
	if len(m.cfg.Assign) == 0 {
		return m.mirror.confirm(ctx, m, rows)
	}
	type answer struct {
		alive bool
		err   error
	}
	refused, answers := map[offsets.Partition]error{}, map[string]answer{}
	for _, row := range rows {
		if row.Instance == m.ledger.Instance() {
			continue // a claim of this process whose answer was lost
		}
		said, asked := answers[row.Instance]
		if !asked {
			said.alive, said.err = m.ledger.Alive(ctx, row.Instance)
			answers[row.Instance] = said
		}
		if said.alive {
			said.err = &twoOwnersError{Partition: row.Partition, winner: row.Owner}
		}
		if said.err != nil {
			refused[row.Partition] = said.err
		}
	}
	return refused
}

// twoOwnersError says that two processes were given the same partition by hand.
type twoOwnersError struct {
	offsets.Partition
	winner string
}

func (e *twoOwnersError) Error() string {
	return e.Partition.String() + ": assigned by hand to this process and to " + e.winner +
		", which claimed it last and is alive: this one stands by. Give each partition to one process"
}
