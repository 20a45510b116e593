package verify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/sink"
)

// maxKept bounds the mismatches of a table that the ledger keeps: beyond it they are counted.
const maxKept = 1000

// maxFound bounds those that a result names.
const maxFound = 20

// cursor is where a walk stands. The ledger keeps it.
type cursor struct {
	Began   time.Time `json:"began"` // by the database's clock; zero: the pass has not begun
	Station string    `json:"station,omitempty"`
	// Key and Offset are of what was looked at last, and of what is next.
	Key    []string `json:"key,omitempty"`
	Offset int64    `json:"offset,omitempty"`
	Tally  Tally    `json:"tally"`
	// Seconds that it took so far.
	Seconds float64 `json:"seconds"`
}

// turn is the walk of a call, as the ledger has it: who takes it up takes it from who had it.
type turn struct {
	number, pass int64
	cursor
}

// ErrTaken says that another call has taken the walk up.
var ErrTaken = errors.New("another `oncesink verify` walks through the table by now: leave it to one of them")

// take takes the walk up.
func (c *checker) take(ctx context.Context) (*turn, error) {
	w := &turn{}
	var walk []byte
	err := c.Pool.QueryRow(ctx, `insert into oncesink.checks as c (sink_group, target, turn) values ($1::text, $2::text, 1)
		on conflict (sink_group, target) do update set turn = c.turn + 1 returning turn, pass, walk`, c.Group, c.title).Scan(&w.number, &w.pass, &walk)
	if err != nil {
		return nil, fmt.Errorf("take up the walk: %w", err)
	}
	if err := json.Unmarshal(walk, &w.cursor); err != nil {
		return nil, fmt.Errorf("read where the walk stands: %w", err)
	}
	return w, nil
}

// save keeps where the walk stands, and what was found on the way there, in one transaction.
func (c *checker) save(ctx context.Context, w *turn, found []Mismatch) error {
	text, err := json.Marshal(w.cursor)
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, c.Pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `update oncesink.checks set walk = $4::text::jsonb, looked_at = now() where sink_group = $1::text and target = $2::text and turn = $3::bigint`,
			c.Group, c.title, w.number, string(text))
		if err != nil {
			return fmt.Errorf("keep where the walk stands: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return ErrTaken
		}
		return c.note(ctx, tx, found)
	})
}

// begin notes when the pass began.
func (c *checker) begin(ctx context.Context, w *turn) error {
	var now time.Time
	if err := c.Pool.QueryRow(ctx, "select clock_timestamp()").Scan(&now); err != nil {
		return fmt.Errorf("ask for the time: %w", err)
	}
	w.cursor = cursor{Began: now}
	return c.save(ctx, w, nil)
}

// finish ends the pass: what it did not see again is a mismatch no longer.
func (c *checker) finish(ctx context.Context, w *turn) (mended int64, err error) {
	text, err := json.Marshal(w.Tally)
	if err != nil {
		return 0, err
	}
	err = pgx.BeginFunc(ctx, c.Pool, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, `update oncesink.checks set pass = pass + 1, walk = '{}', finished_at = now(), finished = $4::text::jsonb
			 where sink_group = $1::text and target = $2::text and turn = $3::bigint`, c.Group, c.title, w.number, string(text))
		if err != nil {
			return fmt.Errorf("end the pass: %w", err)
		}
		if tag.RowsAffected() == 0 {
			return ErrTaken
		}
		tag, err = tx.Exec(ctx, "delete from oncesink.mismatches where sink_group = $1::text and target = $2::text and seen_at < $3::timestamptz", c.Group, c.title, w.Began)
		mended = tag.RowsAffected()
		return err
	})
	return mended, err
}

// looked notes that a sample was looked at, and what was found.
func (c *checker) looked(ctx context.Context, found []Mismatch) error {
	return pgx.BeginFunc(ctx, c.Pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, `insert into oncesink.checks (sink_group, target, looked_at) values ($1::text, $2::text, now())
			on conflict (sink_group, target) do update set looked_at = now()`, c.Group, c.title); err != nil {
			return fmt.Errorf("note the sample: %w", err)
		}
		return c.note(ctx, tx, found)
	})
}

// note keeps mismatches: those that are kept already are seen again, and new ones as long as there is room.
func (c *checker) note(ctx context.Context, tx pgx.Tx, found []Mismatch) error {
	if len(found) == 0 {
		return nil
	}
	b := &pgx.Batch{}
	for i := range found {
		m := &found[i]
		var topic *string
		var partition *int32
		var offset *int64
		if m.Topic != "" {
			topic, partition, offset = &m.Topic, &m.Partition, &m.Offset
		}
		key := m.of
		if key == nil {
			key = []string{}
		}
		b.Queue(`insert into oncesink.mismatches as m (sink_group, target, kind, relation, row_key, topic, partition, "offset", columns, problem, written_by, written_at)
			select $1::text, $2::text, $3::text, $4::text, $5::text[], $6::text, $7::int, $8::bigint, $9::text[], $10::text, nullif($11::text, ''), $12::timestamptz
			 where (select count(*) from oncesink.mismatches where sink_group = $1::text and target = $2::text) < $13::int
			    or exists (select from oncesink.mismatches where sink_group = $1::text and target = $2::text and kind = $3::text and relation = $4::text and row_key = $5::text[])
			    on conflict (sink_group, target, kind, relation, row_key) do update
			   set topic = excluded.topic, partition = excluded.partition, "offset" = excluded."offset", columns = excluded.columns, problem = excluded.problem,
			       written_by = excluded.written_by, written_at = excluded.written_at, seen_at = now()`,
			c.Group, c.title, m.Kind, m.Table, key, topic, partition, offset, m.Columns, m.Problem, m.Transaction, m.Written, maxKept)
	}
	if err := tx.SendBatch(ctx, b).Close(); err != nil {
		return fmt.Errorf("keep mismatches: %w", err)
	}
	return nil
}

// Querier is a pool, a connection or a transaction.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Kept returns mismatches of a group that are kept, of a table or, with "", of all, those that were found last first; n at most.
func Kept(ctx context.Context, on Querier, group, table string, n int) ([]Mismatch, error) {
	rows, err := on.Query(ctx, `select kind, relation, row_key, coalesce(topic, ''), coalesce(partition, 0), coalesce("offset", 0), columns, problem, coalesce(written_by, ''), written_at, found_at
		from oncesink.mismatches where sink_group = $1::text and ($2::text = '' or target = $2::text) order by found_at desc, target, kind, relation, row_key limit $3::int`, group, table, n)
	if err != nil {
		return nil, fmt.Errorf("read mismatches: %w", err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (m Mismatch, err error) {
		err = row.Scan(&m.Kind, &m.Table, &m.of, &m.Topic, &m.Partition, &m.Offset, &m.Columns, &m.Problem, &m.Transaction, &m.Written, &m.Found)
		m.Key = m.of
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("read mismatches: %w", err)
	}
	return all, nil
}

// State is what is kept of a table's checks.
type State struct {
	Table string `json:"table"`
	// Looked is when a walk or a sample looked last, and Finished when a walk had seen everything.
	Looked   *time.Time `json:"looked_at,omitempty"`
	Finished *time.Time `json:"finished_at,omitempty"`
	// Mismatches that are kept, by kind.
	Mismatches map[string]int64 `json:"mismatches"`
}

// Sum is how many mismatches are kept.
func (s *State) Sum() (n int64) {
	for _, k := range s.Mismatches {
		n += k
	}
	return n
}

// Kinds says how many there are of each kind, in one order.
func (s *State) Kinds() string {
	var out []string
	for _, k := range Kinds {
		if n := s.Mismatches[k]; n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, k))
		}
	}
	return strings.Join(out, ", ")
}

// States returns what is kept of the checks of a group's tables, by their names.
func States(ctx context.Context, on Querier, group string) ([]State, error) {
	rows, err := on.Query(ctx, `select c.target, c.looked_at, c.finished_at, m.kind, m.n
		  from oncesink.checks c left join (select target, kind, count(*) as n from oncesink.mismatches where sink_group = $1::text group by 1, 2) m using (target)
		 where c.sink_group = $1::text order by c.target, m.kind`, group)
	if err != nil {
		return nil, fmt.Errorf("read what was verified: %w", err)
	}
	all := []State{}
	var s State
	var kind *string
	var n *int64
	_, err = pgx.ForEachRow(rows, []any{&s.Table, &s.Looked, &s.Finished, &kind, &n}, func() error {
		if len(all) == 0 || all[len(all)-1].Table != s.Table {
			one := s
			one.Mismatches = map[string]int64{}
			all = append(all, one)
		}
		if kind != nil {
			all[len(all)-1].Mismatches[*kind] = *n
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read what was verified: %w", err)
	}
	return all, nil
}

// Forget removes the mismatches of a table that are kept: it is known to be what its topics say.
func Forget(ctx context.Context, on Querier, group, table string) error {
	if _, err := on.Exec(ctx, "delete from oncesink.mismatches where sink_group = $1::text and target = $2::text", group, table); err != nil {
		return fmt.Errorf("forget mismatches: %w", err)
	}
	return nil
}

var _ Querier = (*pgxpool.Pool)(nil)

// again looks again at the mismatches that are kept: those that are none any more are removed.
func (c *checker) again(ctx context.Context) error {
	kept, err := Kept(ctx, c.Pool, c.Group, c.title, maxKept)
	if err != nil || len(kept) == 0 {
		return err
	}
	tally := c.result.Tally
	still, err := c.still(ctx, kept)
	c.result.Tally = tally
	if err != nil {
		return err
	}
	return pgx.BeginFunc(ctx, c.Pool, func(tx pgx.Tx) error {
		for i := range kept {
			m := &kept[i]
			if slices.ContainsFunc(still, func(s Mismatch) bool {
				return s.Kind == m.Kind && s.Table == m.Table && slices.Equal(s.of, m.of)
			}) {
				continue
			}
			if _, err := tx.Exec(ctx, "delete from oncesink.mismatches where sink_group = $1::text and target = $2::text and kind = $3::text and relation = $4::text and row_key = $5::text[]",
				c.Group, c.title, m.Kind, m.Table, m.of); err != nil {
				return fmt.Errorf("remove what is mended: %w", err)
			}
			c.result.Mended++
		}
		return c.note(ctx, tx, still)
	})
}

// still are those of the kept mismatches that are seen again. An event that can't be read any more stays missing.
func (c *checker) still(ctx context.Context, kept []Mismatch) (still []Mismatch, err error) {
	var rows, deletions, orphans [][]string
	offs := map[*feed][]int64{}
	for i := range kept {
		m := &kept[i]
		f := c.feedOf(m)
		event := m.Topic != "" && f != nil
		if len(m.of) == 0 {
			continue // of an append table: its rows have no names
		}
		switch m.Kind {
		case Place, Row, Foreign:
			if c.table.Memory != "" && m.Table == c.deletions().title {
				deletions = append(deletions, m.of)
			} else {
				rows = append(rows, m.of)
			}
		case Orphan:
			orphans = append(orphans, append([]string{m.Table}, m.of...))
		case Children:
			rows = append(rows, m.of)
			fallthrough
		default:
			if event {
				offs[f] = append(offs[f], m.Offset)
			}
		}
	}
	add := func(more []Mismatch, err error) error {
		still = append(still, more...)
		return err
	}
	for of, keys := range map[relation][][]string{c.rows(): rows, c.deletions(): deletions} {
		if len(keys) == 0 {
			continue
		}
		slices.SortFunc(keys, slices.Compare)
		keys = slices.CompactFunc(keys, slices.Equal)
		all, err := c.byKeys(ctx, of, keys)
		if err != nil {
			return nil, err
		}
		if err := add(c.judge(ctx, of, all)); err != nil {
			return nil, err
		}
	}
	for f, at := range offs {
		f := *f
		slices.Sort(at)
		at = slices.Compact(at)
		list, err := c.these(ctx, &f, at)
		if err != nil {
			return nil, err
		}
		if err := add(c.judgeEvents(ctx, f.Partition, list)); err != nil {
			return nil, err
		}
		for i := range kept {
			m := &kept[i]
			if c.feedOf(m) != nil && c.feedOf(m).Partition == f.Partition && (m.Kind == Missing || m.Kind == Deletion) && c.lost(&f, m.Offset) {
				still = append(still, *m)
			}
		}
	}
	for _, t := range c.table.Children {
		for _, o := range orphans {
			if o[0] != t.Title() {
				continue
			}
			if err := add(c.orphan(ctx, t, o[1:])); err != nil {
				return nil, err
			}
		}
	}
	return still, nil
}

// feedOf is the partition of the mismatch's event.
func (c *checker) feedOf(m *Mismatch) *feed {
	for i := range c.feeds {
		if c.feeds[i].Topic == m.Topic && c.feeds[i].Partition.Partition == m.Partition {
			return &c.feeds[i]
		}
	}
	return nil
}

// Describe says for a person what is wrong; with the key of the row if that is wanted, which is a value of it.
func (m *Mismatch) Describe(keys bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s", m.Table, m.Problem)
	if len(m.Columns) > 0 {
		fmt.Fprintf(&b, " (%s)", strings.Join(m.Columns, ", "))
	}
	if keys && len(m.Key) > 0 {
		fmt.Fprintf(&b, ", key (%s)", strings.Join(m.Key, ", "))
	}
	if m.Topic != "" {
		fmt.Fprintf(&b, ", event %s/%d offset %d", m.Topic, m.Partition, m.Offset)
	}
	if m.Transaction != "" {
		fmt.Fprintf(&b, "; the row was last written by transaction %s", m.Transaction)
		if m.Written != nil {
			fmt.Fprintf(&b, " at %s", m.Written.UTC().Format(time.RFC3339))
		}
	}
	return b.String()
}

// configuration makes the refusal of a role that lacks the ledger's new tables one that says what to do.
func configuration(err error) error {
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == "42501" {
		return &sink.ConfigError{Problem: pg.Message, Fix: "`oncesink init --print --role ROLE` shows the grants"}
	}
	return err
}
