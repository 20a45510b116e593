package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// copySQL is the statement that takes rows of new keys. What a text becomes in COPY is
// what it becomes in the upsert: both go through the type's input function, and both
// leave the length to the column (rule 15).
func (t *table) copySQL(s shape) string {
	var names []string
	for _, i := range s.columns {
		names = append(names, quote(t.columns[i].name))
	}
	if t.guarded {
		names = append(names, sourceColumn, offsetColumn)
	}
	return fmt.Sprintf("copy %s (%s) from stdin with (encoding 'UTF8')", t.quoted(), strings.Join(names, ", "))
}

// checkCopy finds out whether rows may go by COPY at all.
func (t *table) checkCopy(r *relation) {
	switch {
	case r.rowsFiltered:
		t.copyRefused = "row level security applies to the role, which COPY refuses"
	case len(t.others) > 0 && t.strategy == Upsert:
		t.copyRefused = "it has " + strings.Join(t.others, " and ") + " besides the key"
	case len(t.computedColumns()) > 0:
		t.copyRefused = "SQL computes " + strings.Join(t.computedColumns(), ", ") + " (a generated column would leave COPY possible)"
	}
}

// copyRefused is a COPY that the server undid. The savepoint is to be rolled back to,
// and a safer route taken.
type copyRefused struct {
	table *table
	err   error
}

func (e *copyRefused) Error() string { return "copy into " + e.table.title() + ": " + safe(e.err) }
func (e *copyRefused) Unwrap() error { return e.err }

const uniqueViolation = "23505"

// copy sends rows of new keys, after everything that was queued before.
func (t *transaction) copy(ctx context.Context, tb *table, s shape, events []event) error {
	if err := t.send(ctx); err != nil {
		return err
	}
	ctx, alive, stop := t.watch(ctx)
	defer stop()
	rows := &copyRows{table: tb, columns: s.columns, events: events, text: t.w.copyText[:0], sent: alive}
	_, err := t.conn.Conn().PgConn().CopyFrom(ctx, rows, tb.copySQL(s))
	t.w.copyText = rows.text[:0]
	var pg *pgconn.PgError
	switch {
	case err == nil:
		tb.learn.worked()
		return nil
	case errors.As(err, &pg) && !t.conn.Conn().IsClosed() && classOf(err) != Transient:
		// Whether a record is to blame, the statements find out.
		return &copyRefused{tb, err}
	}
	return &writeError{doing{verb: "copy into", table: tb}, err}
}

// copyRows is the data of a COPY in text format, made while it is sent.
type copyRows struct {
	table   *table
	columns []int
	events  []event
	text    []byte // rows that were made and not read
	read    int    // of text
	sent    func()
}

// Read implements [io.Reader].
func (c *copyRows) Read(p []byte) (int, error) {
	c.sent()
	c.text = c.text[:copy(c.text, c.text[c.read:])]
	for len(c.events) > 0 && len(c.text) < len(p) {
		c.row(&c.events[0])
		c.events = c.events[1:]
	}
	c.read = copy(p, c.text)
	if c.read == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return c.read, nil
}

func (c *copyRows) row(e *event) {
	b := c.text
	text := e.part.text
	for _, i := range c.columns {
		x := e.cell(i)
		if x.len < 0 {
			b = append(b, `\N`...)
		} else {
			b = appendEscaped(b, text[x.off:x.off+x.len])
		}
		b = append(b, '\t')
	}
	if c.table.guarded {
		b = strconv.AppendInt(b, int64(e.part.Claim.Source), 10)
		b = append(b, '\t')
		b = strconv.AppendInt(b, e.offset(), 10)
		b = append(b, '\n')
	} else {
		b[len(b)-1] = '\n'
	}
	c.text = b
}

// appendEscaped appends a text as COPY reads it.
func appendEscaped(b, text []byte) []byte {
	done := 0
	for i, x := range text {
		var e byte
		switch x {
		case '\\':
			e = '\\'
		case '\n':
			e = 'n'
		case '\r':
			e = 'r'
		case '\t':
			e = 't'
		default:
			continue
		}
		b = append(b, text[done:i]...)
		b = append(b, '\\', e)
		done = i + 1
	}
	return append(b, text[done:]...)
}
