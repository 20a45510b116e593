package engine

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/bind"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/statement"
)

// copyRefused is a COPY that the server undid. The savepoint is to be rolled back to,
// and a safer route taken.
type copyRefused struct {
	table *table
	err   error
}

func (e *copyRefused) Error() string {
	return "copy into " + e.table.Title() + ": " + pgerr.Safe(e.err)
}
func (e *copyRefused) Unwrap() error { return e.err }

// copyIn sends rows of new keys, after everything that was queued before: in binary, if
// Go can read them all.
func (t *transaction) copyIn(ctx context.Context, tb *table, s statement.Shape, events []bind.Event) error {
	if s.Flagged { // a row of nothing but defaults, which COPY can't say
		t.w.statement(tb, statement.Append, s, events)
		return nil
	}
	if err := t.send(ctx); err != nil {
		return err
	}
	w, forms := t.w, wiresOf(tb.Table, s)
	for binary := forms != nil && tb.plain(); binary && len(events) > 0; {
		data, n := tb.appendBinary(w.copyText[:0], s, forms, events)
		w.copyText = data[:0]
		if n == 0 {
			tb.learn.inText.Store(patience)
			break
		}
		if err := t.copyFrom(ctx, tb, statement.Copy(tb.Table, s, statement.BinaryOptions), bytes.NewReader(data)); err != nil {
			return err
		}
		events = events[n:]
	}
	if len(events) > 0 {
		rows := &copyRows{table: tb, columns: s.Columns, events: events, text: w.copyText[:0]}
		if err := t.copyFrom(ctx, tb, statement.Copy(tb.Table, s, statement.TextOptions), rows); err != nil {
			return err
		}
		w.copyText = rows.text[:0]
	}
	t.trying.of(tb).copies++
	return nil
}

// copyFrom runs one COPY.
func (t *transaction) copyFrom(ctx context.Context, tb *table, sql string, data io.Reader) error {
	ctx, alive, stop := t.watch(ctx)
	defer stop()
	tag, err := t.conn.Conn().PgConn().CopyFrom(ctx, watched{data, alive}, sql)
	t.trying.of(tb).rows += int(tag.RowsAffected())
	writing := doing{verb: "copy into", table: tb}
	writing.distributed(err)
	var pg *pgconn.PgError
	switch {
	case err == nil:
		t.trying.of(tb).copied += int(tag.RowsAffected())
		return nil
	case errors.As(err, &pg) && !t.conn.Conn().IsClosed() && classOf(err) != pgerr.Transient:
		// Whether a record is to blame, the statements find out.
		return &copyRefused{tb, err}
	}
	return &writeError{writing, err}
}

// watched tells of each read.
type watched struct {
	data io.Reader
	read func()
}

// Read implements [io.Reader].
func (w watched) Read(p []byte) (int, error) {
	w.read()
	return w.data.Read(p)
}

// copyRows is the data of a COPY in text format, made while it is sent.
type copyRows struct {
	table   *table
	columns []int
	events  []bind.Event
	text    []byte // rows that were made and not read
	read    int    // of text
}

// Read implements [io.Reader].
func (c *copyRows) Read(p []byte) (int, error) {
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

func (c *copyRows) row(e *bind.Event) {
	b := c.text
	for _, i := range c.columns {
		x := e.Cell(i)
		if x.Len < 0 {
			b = append(b, `\N`...)
		} else {
			b = appendEscaped(b, e.Text(x))
		}
		b = append(b, '\t')
	}
	if c.table.Guarded {
		b = strconv.AppendInt(b, int64(e.Part.Claim.Source), 10)
		b = append(b, '\t')
		b = strconv.AppendInt(b, e.Offset(), 10)
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
