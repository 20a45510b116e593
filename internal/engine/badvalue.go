package engine

import (
	"context"
	"strings"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/pgtext"
	"github.com/oncesink/oncesink/internal/statement"
)

// Values that their columns refuse, among thousands that they take. Go tells most good ones by itself: those whose spelling is plain
// ([pgtext.Type.Reads]). About the others the server is asked, each text once: if there are many, in groups, of which those that have an
// error are asked about in smaller ones. Here, too, all that goes in one round trip; no row is read or written.

// badValue is a value that its column refuses, with that SQLSTATE.
type badValue struct {
	column int
	code   string
}

// doubt is a text of a column that may be none of its values, with the events that have it.
type doubt struct {
	column int
	events []bind.Event
	code   string // for which it is refused
}

// Texts that are few are asked about one by one; of many so many in a first group, and of one with an error in a next group.
const (
	fewDoubts      = maxAhead
	doubtsTogether = 64
	doubtsNext     = 8
	doubtBytes     = 64 << 10
)

// badValues are the records whose events have values that a table's columns refuse.
func (t *transaction) badValues(ctx context.Context, events []bind.Event, tb *table) ([]suspect, error) {
	bad := map[span][]badValue{}
	for i := range tb.Columns {
		doubts := doubtsAbout(events, tb, i, bad)
		if err := t.askAbout(ctx, tb, doubts); err != nil {
			return nil, err
		}
		for _, d := range doubts {
			if d.code == "" {
				continue
			}
			for k := range d.events {
				one := recordOf(&d.events[k])
				bad[one] = append(bad[one], badValue{i, d.code})
			}
		}
	}
	if len(bad) == 0 {
		return nil, nil
	}
	found := suspectsAmong(events, func(e *bind.Event) bool { return len(bad[recordOf(e)]) > 0 })
	for i := range found {
		found[i].bad = bad[found[i].record]
	}
	return found, nil
}

// doubtsAbout are the texts of column i that Go does not read. Those that are too much for it are bad beyond doubt.
func doubtsAbout(events []bind.Event, tb *table, i int, bad map[span][]badValue) (doubts []*doubt) {
	c := &tb.Columns[i]
	if c.Computed != nil {
		return nil
	}
	known := map[string]*doubt{}
	for k := range events {
		e := &events[k]
		cell := e.Cell(i)
		if cell.Len < 0 {
			continue
		}
		switch text := e.Text(cell); {
		case c.Reads(text):
		case c.TooMuch(text):
			code := "22001"
			if c.Kind == pgtext.KindNumeric {
				code = "22003"
			}
			bad[recordOf(e)] = append(bad[recordOf(e)], badValue{i, code})
		default:
			d := known[string(text)]
			if d == nil {
				d = &doubt{column: i}
				known[string(text)], doubts = d, append(doubts, d)
			}
			d.events = append(d.events, *e)
		}
	}
	return doubts
}

// askAbout asks the server which of the texts of one column it refuses.
func (t *transaction) askAbout(ctx context.Context, tb *table, doubts []*doubt) error {
	together := doubtsTogether
	if len(doubts) <= fewDoubts {
		together = 1
	}
	groups := grouped(nil, doubts, together)
	for len(groups) > 0 {
		n, size := 0, 0
		for n < min(len(groups), maxAhead) && (n == 0 || size < maxAheadBytes) {
			size += sizeOf(groups[n])
			n++
		}
		some := groups[:n]
		groups = groups[n:]
		errs, err := t.readAlone(ctx, tb, some)
		if err != nil {
			return err
		}
		if errs == nil {
			return nil
		}
		for i, err := range errs {
			switch {
			case err == nil:
			case len(some[i]) > 1:
				groups = grouped(groups, some[i], max(1, len(some[i])/doubtsNext))
			case strings.HasPrefix(pgerr.SQLState(err), valueClass): // not a domain's check
				some[i][0].code = pgerr.SQLState(err)
			}
		}
	}
	return nil
}

// grouped appends groups of so many texts, or of fewer that are long.
func grouped(groups [][]*doubt, doubts []*doubt, together int) [][]*doubt {
	for len(doubts) > 0 {
		n, size := 0, 0
		for n < min(len(doubts), together) && (n == 0 || size < doubtBytes) {
			size += sizeOf(doubts[n : n+1])
			n++
		}
		groups, doubts = append(groups, doubts[:n]), doubts[n:]
	}
	return groups
}

// sizeOf is how many bytes the texts have.
func sizeOf(doubts []*doubt) (size int) {
	for _, d := range doubts {
		size += int(d.events[0].Cell(d.column).Len)
	}
	return size
}

// readAlone reads each of the groups of texts as its column takes them, and returns their errors; none at all if that can't be done.
func (t *transaction) readAlone(ctx context.Context, tb *table, groups [][]*doubt) ([]error, error) {
	var all [][]waiting
	for _, group := range groups {
		c := &tb.Columns[group[0].column]
		var events []bind.Event
		for _, d := range group {
			events = append(events, d.events[0])
		}
		var statements []waiting
		t.w.aside = &statements
		t.w.params.Column(events, group[0].column)
		assigned := len(group) == 1 || c.Typmod >= 0 // a cast takes half the time, and cuts off what is too long
		t.w.exec(reads+c.Name, tb, statement.Read(&c.Type, assigned))
		t.w.aside = nil
		all = append(all, statements)
	}
	return t.undone(ctx, all)
}

// columnOfBad is the first column of which a value is refused as an error says.
func columnOfBad(tb *table, bad []badValue, err error) (string, bool) {
	code := pgerr.SQLState(err)
	for _, x := range bad {
		if x.code == code {
			return tb.Columns[x.column].Name, true
		}
	}
	return "", false
}
