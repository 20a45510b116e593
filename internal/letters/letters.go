// Package letters looks at dead letters and settles them, for a person: what `oncesink dead-letters` asks of the database. Trying them
// again is their owners' work: here it is asked for.
package letters

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// What becomes of a letter. See internal/schema/sql/4_dead_letters.sql.
const (
	New       = "new"
	Retry     = "retry"
	Resolved  = "resolved"
	Discarded = "discarded"
)

// All are the statuses in the order of a letter's life.
var All = []string{New, Retry, Resolved, Discarded}

// Open are the statuses of letters that are not settled.
var Open = []string{New, Retry}

// Filter picks letters of a group. What is empty picks all.
type Filter struct {
	Topic     string
	Partition *int32
	Offset    *int64
	Code      string
	// Table as the letters have it: SCHEMA.TABLE, without quotes.
	Table string
	// Since and Until bound when a letter was kept first; Until is not among them.
	Since, Until time.Time
}

// Letter is a dead letter without anything of its record, but for its Payload.
type Letter struct {
	Topic      string     `json:"topic"`
	Partition  int32      `json:"partition"`
	Offset     int64      `json:"offset"`
	Generation int32      `json:"generation"` // of the topic: how often it was recreated
	Time       *time.Time `json:"time"`       // the record's
	Code       string     `json:"code"`       // empty: of a handler
	// Reason says in general what the code says: the message may quote the record.
	Reason     string     `json:"reason"`
	Table      string     `json:"table,omitempty"`
	Column     string     `json:"column,omitempty"`
	Constraint string     `json:"constraint,omitempty"`
	Status     string     `json:"status"`
	Attempts   int32      `json:"attempts"` // how often it was refused
	Late       bool       `json:"late,omitempty"`
	Recorded   time.Time  `json:"recorded_at"` // when it was refused first
	Tried      time.Time  `json:"tried_at"`    // when that was last
	Settled    *time.Time `json:"settled_at,omitempty"`
	SettledBy  string     `json:"settled_by,omitempty"`
	KeyBytes   *int64     `json:"key_bytes"` // null: none
	ValueBytes *int64     `json:"value_bytes"`
	// Payload is there if it was asked for.
	*Payload `json:"-"`
}

// Payload is what is of the record: what it held, and the message, which may quote it.
type Payload struct {
	Message    string
	Key, Value []byte
	Headers    []sink.Header
}

// Place is where the record stands: TOPIC/PARTITION@OFFSET.
func (l *Letter) Place() string { return PlaceOf(l.Topic, l.Partition, l.Offset) }

// PlaceOf is the place of a record in a log, as [ParsePlace] reads it.
func PlaceOf(topic string, partition int32, offset int64) string {
	return fmt.Sprintf("%s@%d", offsets.Partition{Topic: topic, Partition: partition}, offset)
}

// Target names the table and column that refused a record: "" if none did.
func Target(table, column string) string {
	if column == "" || table == "" {
		return table + column
	}
	return table + "." + column
}

// Querier is a connection, a transaction or a pool.
type Querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// Group are the dead letters of a sink group.
type Group struct {
	Name string
	On   Querier
}

// picked is the filter's part of a query, of letters with one of some statuses. Its parameters are those of args.
const picked = "oncesink.pick_dead_letters($1::text, $2::text[], $3::text, $4::int, $5::bigint, $6::text, $7::text, $8::timestamptz, $9::timestamptz)"

func (g Group) args(f Filter, statuses []string, more ...any) []any {
	return append([]any{g.Name, statuses, null(f.Topic), f.Partition, f.Offset, null(f.Code), null(f.Table), moment(f.Since), moment(f.Until)}, more...)
}

func null(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Check wants the dead letters to be there, as this program knows them, and readable.
func (g Group) Check(ctx context.Context) error {
	var there, current, readable bool
	err := g.On.QueryRow(ctx, `
		select c.oid is not null, exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
		                                   where n.nspname = 'oncesink' and p.proname = 'retry_dead_letters'),
		       coalesce(has_schema_privilege(c.relnamespace, 'USAGE') and has_table_privilege(c.oid, 'SELECT'), false)
		  from (select) one
		  left join (pg_class c join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'oncesink') on c.relname = 'dead_letters'`).
		Scan(&there, &current, &readable)
	switch {
	case err != nil:
		return failed("look for oncesink.dead_letters", err)
	case !there:
		return &sink.ConfigError{Problem: "table oncesink.dead_letters does not exist", Fix: "run `oncesink init`"}
	case !current:
		return &sink.ConfigError{Problem: "oncesink.dead_letters is of an older version", Fix: "run `oncesink init`"}
	case !readable:
		return &sink.ConfigError{Problem: "the role lacks SELECT on oncesink.dead_letters",
			Fix: "grant usage on schema oncesink to ROLE; grant select on oncesink.dead_letters, oncesink.offsets to ROLE"}
	}
	return nil
}

// failed says what failed, without the values of rows.
func failed(what string, err error) error { return fmt.Errorf("%s: %s", what, pgerr.Safe(err)) }

// notSettled is failed of a statement that settles letters, which takes a right that looking at them does not.
func notSettled(what string, err error) error {
	if pgerr.SQLState(err) == "42501" {
		return &sink.ConfigError{Problem: "the role lacks UPDATE on oncesink.dead_letters", Fix: "grant update on oncesink.dead_letters to ROLE"}
	}
	return failed(what, err)
}

const columns = `topic, partition, "offset", generation, recorded, coalesce(code, ''), coalesce(target, ''), coalesce(column_name, ''),
	coalesce(constraint_name, ''), status, attempts, late, recorded_at, tried_at, settled_at, coalesce(settled_by, ''),
	octet_length(key)::bigint, octet_length(value)::bigint`

// List returns the newest of the letters that are picked, at most so many, and how many there are in all.
func (g Group) List(ctx context.Context, f Filter, statuses []string, limit int, payload bool) (list []Letter, all int64, err error) {
	if err := g.On.QueryRow(ctx, "select count(*) from "+picked, g.args(f, statuses)...).Scan(&all); err != nil {
		return nil, 0, failed("count dead letters", err)
	}
	list = []Letter{}
	err = g.each(ctx, ` order by recorded_at desc, topic, generation desc, partition, "offset" desc limit $10::bigint`,
		g.args(f, statuses, int64(limit)), payload, func(l *Letter) error {
			list = append(list, *l)
			return nil
		})
	return list, all, err
}

// Each calls do with each of the letters that are picked, by topic, partition and offset. It holds one of them at a time.
func (g Group) Each(ctx context.Context, f Filter, statuses []string, do func(*Letter) error) error {
	return g.each(ctx, ` order by topic, generation, partition, "offset"`, g.args(f, statuses), true, do)
}

func (g Group) each(ctx context.Context, rest string, args []any, payload bool, do func(*Letter) error) error {
	query := "select " + columns
	if payload {
		query += ", message, key, value, headers"
	}
	rows, err := g.On.Query(ctx, query+" from "+picked+rest, args...)
	if err != nil {
		return failed("read dead letters", err)
	}
	defer rows.Close()
	for rows.Next() {
		l, err := scan(rows, payload)
		if err == nil {
			err = do(l)
		}
		if err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return failed("read dead letters", err)
	}
	return nil
}

func scan(rows pgx.Rows, payload bool) (*Letter, error) {
	var l Letter
	into := []any{&l.Topic, &l.Partition, &l.Offset, &l.Generation, &l.Time, &l.Code, &l.Table, &l.Column, &l.Constraint, &l.Status, &l.Attempts,
		&l.Late, &l.Recorded, &l.Tried, &l.Settled, &l.SettledBy, &l.KeyBytes, &l.ValueBytes}
	var headers []byte
	if payload {
		l.Payload = &Payload{}
		into = append(into, &l.Message, &l.Key, &l.Value, &headers)
	}
	if err := rows.Scan(into...); err != nil {
		return nil, fmt.Errorf("read a dead letter: %w", err)
	}
	l.Reason = pgerr.Meaning(l.Code)
	for _, t := range []*time.Time{l.Time, &l.Recorded, &l.Tried, l.Settled} {
		if t != nil {
			*t = t.UTC()
		}
	}
	if payload {
		var err error
		if l.Headers, err = bind.ReadHeaders(headers); err != nil {
			return nil, fmt.Errorf("read the dead letter %s: %w", l.Place(), err)
		}
	}
	return &l, nil
}

// Kind are letters that are alike.
type Kind struct {
	Topic    string    `json:"topic"`
	Code     string    `json:"code"`
	Reason   string    `json:"reason"`
	Table    string    `json:"table,omitempty"`
	Column   string    `json:"column,omitempty"`
	Status   string    `json:"status"`
	Letters  int64     `json:"letters"`
	Attempts int32     `json:"most_attempts"`
	First    time.Time `json:"first_recorded_at"`
	Last     time.Time `json:"last_tried_at"`
}

// Kinds counts the letters that are picked, by what they have in common: in the order of topics, the most frequent kind first.
func (g Group) Kinds(ctx context.Context, f Filter, statuses []string) ([]Kind, error) {
	rows, err := g.On.Query(ctx, `
		select topic, coalesce(code, ''), coalesce(target, ''), coalesce(column_name, ''), status, count(*), max(attempts), min(recorded_at), max(tried_at)
		  from `+picked+` group by 1, 2, 3, 4, 5 order by 1, 6 desc, 2, 3, 4, 5`, g.args(f, statuses)...)
	if err != nil {
		return nil, failed("count dead letters", err)
	}
	kinds := []Kind{}
	var k Kind
	_, err = pgx.ForEachRow(rows, []any{&k.Topic, &k.Code, &k.Table, &k.Column, &k.Status, &k.Letters, &k.Attempts, &k.First, &k.Last}, func() error {
		k.Reason, k.First, k.Last = pgerr.Meaning(k.Code), k.First.UTC(), k.Last.UTC()
		kinds = append(kinds, k)
		return nil
	})
	if err != nil {
		return nil, failed("count dead letters", err)
	}
	return kinds, nil
}

// Partitions counts the letters that are picked by partition.
func (g Group) Partitions(ctx context.Context, f Filter, statuses []string) (map[offsets.Partition]int64, error) {
	rows, err := g.On.Query(ctx, "select topic, partition, count(*) from "+picked+" group by 1, 2", g.args(f, statuses)...)
	if err != nil {
		return nil, failed("count dead letters", err)
	}
	return countByPartition(rows)
}

func countByPartition(rows pgx.Rows) (map[offsets.Partition]int64, error) {
	all := map[offsets.Partition]int64{}
	var p offsets.Partition
	var n int64
	_, err := pgx.ForEachRow(rows, []any{&p.Topic, &p.Partition, &n}, func() error {
		all[p] = n
		return nil
	})
	if err != nil {
		return nil, failed("count dead letters", err)
	}
	return all, nil
}

// Discard says that nobody wants the records written any more, or takes that back. It returns of how many.
func (g Group) Discard(ctx context.Context, f Filter, undo bool) (n int64, err error) {
	err = g.On.QueryRow(ctx, "select oncesink.discard_dead_letters($1, $2, $3, $4, $5, $6, $7, $8, $9)",
		append(g.settling(f), undo)...).Scan(&n)
	if err != nil {
		return 0, notSettled("discard dead letters", err)
	}
	return n, nil
}

// settling are the parameters of the functions that settle letters.
func (g Group) settling(f Filter) []any {
	return []any{g.Name, null(f.Topic), f.Partition, f.Offset, null(f.Code), null(f.Table), moment(f.Since), moment(f.Until)}
}

// ErrPlace says how a place is written.
var ErrPlace = errors.New("a letter's place is TOPIC/PARTITION@OFFSET, such as orders/0@12")

// ParsePlace reads where a record stands into a filter.
func ParsePlace(text string, f *Filter) error {
	m := place.FindStringSubmatch(text)
	if m == nil {
		return ErrPlace
	}
	number, err := strconv.ParseInt(m[2], 10, 32)
	offset, errOffset := strconv.ParseInt(m[3], 10, 64)
	if err != nil || errOffset != nil {
		return ErrPlace
	}
	partition := int32(number)
	f.Topic, f.Partition, f.Offset = m[1], &partition, &offset
	return nil
}

var place = regexp.MustCompile(`^([^/@]+)/(\d+)@(\d+)$`)
