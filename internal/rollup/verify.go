package rollup

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgtx"
)

// Report is how a rollup compares with its table.
type Report struct {
	Rollup string `json:"rollup"`
	Groups int64  `json:"groups"`
	// Wrong is how many groups differ.
	Wrong int64 `json:"wrong"`
	// Samples are a few of them.
	Samples []Difference `json:"samples,omitempty"`
}

// Difference is a group that is not what the rows of its table say.
type Difference struct {
	// Group holds the group's values, Has and Should the columns as they are and as they ought
	// to be, all as JSON; null: the group is not there.
	Group  string  `json:"group"`
	Has    *string `json:"has"`
	Should *string `json:"should"`
}

// maxSamples is how many differences a report names.
const maxSamples = 5

// Verify recomputes the rollup from scratch and compares, in one snapshot: so the table may be written
// meanwhile.
func Verify(ctx context.Context, conn *pgx.Conn, r *Rollup) (*Report, error) {
	report := &Report{Rollup: r.Name()}
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		if err := pgtx.Exec(ctx, tx, r.session()); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, r.compareSQL())
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var d Difference
			var wrong bool
			if err := rows.Scan(&d.Group, &d.Has, &d.Should, &wrong); err != nil {
				return err
			}
			report.Groups++
			if wrong {
				report.Wrong++
				if len(report.Samples) < maxSamples {
					report.Samples = append(report.Samples, d)
				}
			}
		}
		return rows.Err()
	})
	if err != nil {
		return nil, fmt.Errorf("verify rollup %s: %w", r.Definition.Name, err)
	}
	return report, nil
}

// compareSQL brings each group of either side, with both sides' values. Numbers of JSON compare by value.
func (r *Rollup) compareSQL() string {
	list := func(columns []Column) string {
		return "jsonb_build_array(" + each(len(columns), ", ", func(i int) string { return "v." + identifier(columns[i-1].Name) }) + ")"
	}
	side := func(from string) string {
		return fmt.Sprintf("(select %s as k, %s as c from (%s) v)", list(r.GroupBy), list(r.Columns), from)
	}
	return fmt.Sprintf("select coalesce(has.k, should.k)::text, has.c::text, should.c::text, has.c is distinct from should.c\n  from %s has full join %s should on has.k = should.k\n order by 1",
		side("select * from "+r.view), side(r.freshSQL()))
}
