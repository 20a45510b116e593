package verify

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/statement"
	"github.com/oncesink/oncesink/internal/tables"
)

// held is a row as it was read: its key, in the texts of PostgreSQL, and its place, if it has one.
type held struct {
	key    []string
	source *int32
	offset *int64
}

func (h *held) place() (place, bool) {
	if h.source == nil || h.offset == nil {
		return place{}, false
	}
	return place{*h.source, *h.offset}, true
}

// relation is what has rows with places: the table, or its delete memory.
type relation struct {
	quoted, title string
	memory        bool
}

func (c *checker) rows() relation { return relation{c.table.Quoted(), c.title, false} }
func (c *checker) deletions() relation {
	return relation{c.table.Memory, strings.ReplaceAll(c.table.Memory, `"`, ""), true}
}

// readHeld reads rows of a relation t by what follows `from RELATION t` in a query, which ends in conditions, and by what follows these.
func (c *checker) readHeld(ctx context.Context, of relation, from, tail string, args ...any) (all []held, err error) {
	also := ""
	if of.memory && c.table.TombstonesFollow {
		// A row that outlived a deletion is remembered by its own place, and is none.
		also = fmt.Sprintf(" and (t.%s, t.%s) is distinct from (t.%s, t.%s)", tables.SourceColumn, tables.OffsetColumn, tables.OutlivedSourceColumn, tables.OutlivedOffsetColumn)
	}
	err = c.reading(ctx, func(tx pgx.Tx) error {
		rows, err := tx.Query(ctx, fmt.Sprintf("select %s, t.%s, t.%s from %s t %s%s %s", statement.Texts(statement.KeyColumns(c.table), "t"), tables.SourceColumn, tables.OffsetColumn,
			of.quoted, from, also, tail), args...)
		if err != nil {
			return err
		}
		all, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (h held, err error) { return h, row.Scan(&h.key, &h.source, &h.offset) })
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read rows of %s: %w", of.title, err)
	}
	return all, nil
}

// byKeys reads the rows of keys.
func (c *checker) byKeys(ctx context.Context, of relation, keys [][]string) ([]held, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	key := statement.KeyColumns(c.table)
	return c.readHeld(ctx, of, fmt.Sprintf("join %s k on %s where true", statement.Keys(key, 1), statement.SameKeys(key, "t", "k")), "", columnsOf(keys)...)
}

// columnsOf are keys as arrays of texts, one of each of their columns.
func columnsOf(keys [][]string) (args []any) {
	for i := range keys[0] {
		column := make([]string, len(keys))
		for k := range keys {
			column[k] = keys[k][i]
		}
		args = append(args, column)
	}
	return args
}

// judge finds the rows that are not what the events at their places say. Each is told once it was looked at twice: the second time
// by the table, its topics and its mapping as they are then.
func (c *checker) judge(ctx context.Context, of relation, all []held) ([]Mismatch, error) {
	found, err := c.judgeOnce(ctx, of, all, false)
	if err == nil && len(found) == 0 {
		return nil, nil
	}
	if err != nil && !altered(err) {
		return nil, err
	}
	keys := make([][]string, 0, len(found))
	for i := range found {
		keys = append(keys, found[i].of)
	}
	if err != nil { // all of them
		for i := range all {
			keys = append(keys, all[i].key)
		}
	}
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	slices.SortFunc(keys, slices.Compare)
	keys = slices.CompactFunc(keys, slices.Equal)
	again, err := c.byKeys(ctx, of, keys)
	if err != nil {
		return nil, err
	}
	c.result.Moved += int64(len(keys) - len(again))
	return c.judgeOnce(ctx, of, again, true)
}

// judgeOnce is one look.
func (c *checker) judgeOnce(ctx context.Context, of relation, all []held, last bool) ([]Mismatch, error) {
	// Which sources there are is read after the rows: a partition may be new.
	if err := c.readFeeds(ctx); err != nil {
		return nil, err
	}
	x := &look{checker: c, of: of, last: last}
	var wanted []place
	var with []held
	for _, h := range all {
		at, ok := h.place()
		switch {
		case !ok && c.Foreign:
			x.untold(Accepted, 1)
		case !ok:
			x.suspect(h, Mismatch{Kind: Foreign, Problem: "no topic made it"})
		case c.bySource(at.source) == nil:
			x.untold(Source, 1)
		default:
			wanted, with = append(wanted, at), append(with, h)
		}
	}
	r, err := c.fetch(ctx, wanted)
	if err != nil {
		return nil, err
	}
	d, err := c.decode(ctx, r)
	if err != nil {
		return nil, err
	}
	if err := x.compare(ctx, with, r, d); err != nil {
		return nil, err
	}
	if err := x.excuse(ctx); err != nil {
		return nil, err
	}
	if !of.memory {
		if err := x.children(ctx, all); err != nil {
			return nil, err
		}
	}
	for _, r := range x.pending {
		c.result.untold(r.why, r.n)
	}
	c.result.Moved += x.moved
	return x.found, nil
}

// look is what one look at rows finds.
type look struct {
	*checker
	of       relation
	last     bool // it is the second one
	suspects []suspect
	found    []Mismatch
	pending  []reason
	moved    int64
}

// reason is why so many can't be told.
type reason struct {
	why string
	n   int64
}

type suspect struct {
	held
	Mismatch
}

func (x *look) suspect(h held, m Mismatch) { x.suspects = append(x.suspects, suspect{h, m}) }

// compare lets PostgreSQL compare the rows with the events at their places.
func (x *look) compare(ctx context.Context, with []held, r *records, d *decoded) error {
	var events []bind.Event
	var owners []held
	var letters []place
	for _, h := range with {
		at, _ := h.place()
		e := d.events[at]
		lost, isLost := r.lost[at]
		f := d.faults[at]
		switch {
		case isLost && lost != "":
			x.untold(lost, 1)
		case isLost:
			x.suspectOf(h, Place, "there is no event at its place")
		case f != nil && unreadable(f) == Schema:
			x.untold(Schema, 1)
		case f != nil:
			letters = append(letters, at)
			x.suspectOf(h, Place, "the event at its place can't be written")
		case e == nil:
			x.suspectOf(h, Place, "the event at its place makes no row of the table")
		case x.of.memory != e.Deletes(x.table):
			problem := "the event at its place deletes"
			if x.of.memory {
				problem = "the event at its place does not delete"
			}
			x.suspectOf(h, Place, problem)
		default:
			one := *e
			one.Seq = int32(len(owners)) // two rows may say that they are of one event
			events, owners = append(events, one), append(owners, h)
		}
	}
	// What can't be read is a dead letter, which has written nothing; or it could be read when it was written.
	if len(letters) > 0 {
		kept, err := x.letters(ctx, letters)
		if err != nil {
			return err
		}
		x.suspects = slices.DeleteFunc(x.suspects, func(s suspect) bool {
			at, ok := s.place()
			if ok && d.faults[at] != nil && !kept[at] {
				x.untold(Refused, 1)
				return true
			}
			return false
		})
	}
	return x.bySets(ctx, events, owners)
}

func (x *look) suspectOf(h held, kind, problem string) {
	x.suspect(h, Mismatch{Kind: kind, Problem: problem})
}

// bySets compares the events of each set of present columns by a statement of its own. An event's number is that of its owner.
func (x *look) bySets(ctx context.Context, events []bind.Event, owners []held) error {
	t := x.table
	each := func(s statement.Shape, sql string, events []bind.Event) error {
		keys := make([][]string, len(events))
		for i := range events {
			keys[i] = owners[events[i].Seq].key
		}
		return x.ask(ctx, t, s, sql, events, keys, func(i int, says string, columns []string) {
			h := owners[events[i].Seq]
			switch says {
			case statement.SaysCorrect:
			case statement.SaysGone, statement.SaysMoved:
				x.moved++
			case statement.SaysOther:
				x.suspectOf(h, Place, "the event at its place is of another key")
			case statement.SaysUnlike:
				x.suspect(h, Mismatch{Kind: Row, Columns: columns, Problem: "it has not what its event says"})
			case saysRefused:
				x.untold(Refused, 1)
			}
		})
	}
	var sets bind.Sets
	sets.Split(t, events)
	if x.of.memory {
		for name, versioned := range deletions {
			if len(sets.Of(name)) == 0 {
				continue
			}
			s := statement.DeleteShape(t, versioned)
			if err := each(s, statement.ComparePlaces(t, t.Memory, s), sets.Of(name)); err != nil {
				return err
			}
		}
		return nil
	}
	for _, name := range sets.Names() {
		s := statement.ShapeOf(t, name)
		if err := each(s, statement.CompareRows(t, s), sets.Of(name)); err != nil {
			return err
		}
	}
	return nil
}

// deletions are the sets of those without a version and with one.
var deletions = map[string]bool{bind.Tombstones: false, bind.VersionedDeletes: true}

func (c *checker) placeOf(e *bind.Event) place { return place{e.Part.Claim.Source, e.Offset()} }

// saysRefused is what is said of an event whose values PostgreSQL does not take.
const saysRefused = "refused"

// ask executes a statement over events, which answers for each of them with its number, a word, and texts. Keys, if any, are its last
// parameters. An event that PostgreSQL does not take is found by halving.
func (c *checker) ask(ctx context.Context, t *tables.Table, s statement.Shape, sql string, events []bind.Event, keys [][]string, answer func(i int, says string, texts []string)) error {
	return c.askFrom(ctx, t, s, sql, events, keys, 0, func(i int, says string, texts ...[]string) { answer(i, says, texts[0]) })
}

func (c *checker) askFrom(ctx context.Context, t *tables.Table, s statement.Shape, sql string, events []bind.Event, keys [][]string, first int, answer func(i int, says string, texts ...[]string)) error {
	if len(events) == 0 {
		return nil
	}
	type line struct {
		n     int
		says  string
		texts [][]string
	}
	var lines []line
	err := c.reading(ctx, func(tx pgx.Tx) error {
		p := &bind.Params{}
		p.Rows(t, s, events)
		if keys != nil {
			for _, column := range columnsOf(keys) {
				p.Texts(column.([]string))
			}
		}
		result := tx.Conn().PgConn().ExecParams(ctx, sql, p.Values, p.OIDs, p.Formats[:len(p.Values)], nil)
		for result.NextRow() {
			v := result.Values()
			n, err := strconv.Atoi(string(v[0]))
			if err != nil {
				return err
			}
			l := line{n: n, says: string(v[1])}
			for _, list := range v[2:] {
				var texts []string
				if list != nil {
					if err := tx.Conn().TypeMap().Scan(oidTexts, 0, list, &texts); err != nil {
						return err
					}
				}
				l.texts = append(l.texts, texts)
			}
			lines = append(lines, l)
		}
		_, err := result.Close()
		return err
	})
	switch {
	case err == nil:
		for _, l := range lines {
			answer(first+l.n-1, l.says, l.texts...)
		}
		return nil
	case pgerr.Classify(err) != pgerr.Data:
		return fmt.Errorf("compare with %s: %w", t.Title(), err)
	case len(events) == 1:
		answer(first, saysRefused, nil, nil)
		return nil
	}
	half, left, right := len(events)/2, keys, keys
	if keys != nil {
		left, right = keys[:half], keys[half:]
	}
	if err := c.askFrom(ctx, t, s, sql, events[:half], left, first, answer); err != nil {
		return err
	}
	return c.askFrom(ctx, t, s, sql, events[half:], right, first+half, answer)
}

// oidTexts is text[].
const oidTexts = 1009

// says asks for one character for each event. What PostgreSQL does not take gets a '?'.
func (c *checker) says(ctx context.Context, t *tables.Table, s statement.Shape, sql string, events []bind.Event) (says []byte, err error) {
	if len(events) == 0 {
		return nil, nil
	}
	err = c.reading(ctx, func(tx pgx.Tx) error {
		p := &bind.Params{}
		p.Rows(t, s, events)
		result := tx.Conn().PgConn().ExecParams(ctx, sql, p.Values, p.OIDs, p.Formats[:len(p.Values)], nil)
		for result.NextRow() {
			says = append(says[:0], result.Values()[0]...)
		}
		_, err := result.Close()
		return err
	})
	switch {
	case err == nil && len(says) != len(events):
		return nil, fmt.Errorf("%d answers for %d events of %s", len(says), len(events), t.Title())
	case err == nil:
		return says, nil
	case pgerr.Classify(err) != pgerr.Data:
		return nil, fmt.Errorf("look into %s: %w", t.Title(), err)
	case len(events) == 1:
		return []byte{'?'}, nil
	}
	half := len(events) / 2
	left, err := c.says(ctx, t, s, sql, events[:half])
	if err != nil {
		return nil, err
	}
	right, err := c.says(ctx, t, s, sql, events[half:])
	return append(left, right...), err
}
