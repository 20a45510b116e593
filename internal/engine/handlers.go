package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/sink"
)

// handlers runs the handlers over the records that have no fault. A handler gets a
// transaction of its own, nested: whatever it does to it, ours stays open.
func (t *transaction) handlers(ctx context.Context, records spans) error {
	if len(t.s.cfg.Handlers) == 0 {
		return nil
	}
	if err := t.send(ctx); err != nil { // what is queued comes first
		return err
	}
	var batch []sink.Record
	for _, x := range records {
		for i := x.lo; i < x.hi; i++ {
			if r := &x.part.Records[i]; !r.Control && (x.part.Faulty == nil || !x.part.Faulty[i]) {
				batch = append(batch, *r)
			}
		}
	}
	if len(batch) == 0 {
		return nil
	}
	for i, h := range t.s.cfg.Handlers {
		nested, err := t.tx.Begin(ctx)
		if err != nil {
			return &writeError{doing{verb: "begin handler"}, err}
		}
		if err := t.s.call(h, i)(ctx, nested, batch); err != nil {
			_ = nested.Rollback(ctx)
			return &handlerError{index: i, err: err, records: batch}
		}
		if err := nested.Commit(ctx); err != nil {
			return &handlerError{index: i, err: fmt.Errorf("end of its transaction: %w", err), records: batch}
		}
	}
	return nil
}

// call is a handler whose panic is an error of its own, which halts the partitions of its records: the process would end with what
// the handler had in its hands, and end again with the same records after each start.
func (s *Sink) call(h sink.Handler, index int) sink.Handler {
	return func(ctx context.Context, tx pgx.Tx, records []sink.Record) (err error) {
		defer func() {
			if v := recover(); v != nil {
				s.log.Error("a handler panicked", slog.Int("handler", index), slog.String("stack", string(debug.Stack())))
				err = &panicError{v}
			}
		}()
		return h(ctx, tx, records)
	}
}

// panicError is what a handler panicked with.
type panicError struct{ value any }

func (e *panicError) Error() string {
	return fmt.Sprintf("it panicked (the log has the stack): %v", e.value)
}

// handlerError is an error of Config.Handlers[index].
type handlerError struct {
	index   int
	err     error
	records []sink.Record

	once sync.Once
	text string
}

// Error has no value of the records: the handler's text may quote them.
func (e *handlerError) Error() string {
	e.once.Do(func() {
		text := pgerr.Safe(e.err)
		if pgerr.SQLState(e.err) == "" {
			text = pgerr.Unquoted(text)
		}
		e.text = fmt.Sprintf("handler %d: %s", e.index, pgerr.Masked(text, e.holds))
	})
	return e.text
}

func (e *handlerError) Unwrap() error { return e.err }

// whole is the text as the handler has it, for the dead letter, where the record is as well.
func (e *handlerError) whole() string {
	return fmt.Sprintf("handler %d: %s", e.index, pgerr.Safe(e.err))
}

// holds reports whether one of the records holds the word, other than as the name of a field.
func (e *handlerError) holds(word string) bool {
	for i := range e.records {
		r := &e.records[i]
		if holdsWord(r.Key, word) || holdsWord(r.Value, word) {
			return true
		}
		for _, h := range r.Headers {
			if holdsWord(h.Value, word) {
				return true
			}
		}
	}
	return false
}

func holdsWord(text []byte, word string) bool {
	for from := 0; ; from++ {
		at := bytes.Index(text[from:], []byte(word))
		if at < 0 {
			return false
		}
		from += at
		end := from + len(word)
		before, _ := utf8.DecodeLastRune(text[:from])
		after, _ := utf8.DecodeRune(text[end:])
		within := unicode.IsLetter(before) || unicode.IsDigit(before) || unicode.IsLetter(after) || unicode.IsDigit(after)
		name := before == '"' && after == '"' && bytes.HasPrefix(bytes.TrimLeft(text[end+1:], " \t\r\n"), []byte(":"))
		if !within && !name {
			return true
		}
	}
}
