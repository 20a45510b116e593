package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oncesink/oncesink/docs"
	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Records of some formats can't be read without a schema that they only refer to. A lane that meets such a reference
// has what came before it written, keeps what comes after it, and asks for the schema, in its own goroutine and without
// a lock, until it is there or the lane leaves its state. Nobody else waits. So it is with fields for which there is no column yet.

const (
	// askSchemaTimeout bounds one question.
	askSchemaTimeout = 30 * time.Second
	// letGoFor is how long lanes rest that had to drop what they held while they were waiting for a schema.
	letGoFor = 5 * time.Second
)

// decodeWait is a lane's wait for what its next records can't be decoded without: a schema, or a column.
type decodeWait struct {
	what   string
	err    error // of the last attempt; nil: there is no answer yet
	cancel context.CancelFunc
}

func (w *decodeWait) Error() string {
	if w.err == nil {
		return "waiting for " + w.what
	}
	return fmt.Sprintf("waiting for %s: %v", w.what, w.err)
}

func (w *decodeWait) Unwrap() error { return w.err }

// await begins a wait, unless the lane has left the state in which the records were polled: ctx is nil then. Otherwise ctx ends
// when the lane leaves it, and the caller calls ended.
func (l *lane) await(ctx context.Context, turns int, what string) context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turns != turns {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	l.wait = &decodeWait{what: what, cancel: cancel}
	return ctx
}

// refused notes the answer to a question, and reports whether it is another one than before. A lane that waits is not
// fetched.
func (l *lane) refused(turns int, err error, suspend func(*lane)) (news bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turns != turns {
		return false
	}
	news = l.wait.err == nil || l.wait.err.Error() != err.Error()
	// A view has the wait that was: nobody writes to it.
	l.wait = &decodeWait{l.wait.what, err, l.wait.cancel}
	if !l.throttle {
		l.throttle = true
		suspend(l)
	}
	return news
}

// ended ends the wait that began in these turns.
func (l *lane) ended(turns int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.turns == turns {
		l.endWait()
	}
}

// endWait is called under the lock.
func (l *lane) endWait() {
	if l.wait != nil {
		l.wait.cancel()
		l.wait = nil
	}
}

// drain waits until what the lane holds decoded is written. It reports false if the lane has left its state.
func (l *lane) drain(turns int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.turns == turns && (l.part.Len() > 0 || l.inFlight) {
		l.changed.Wait()
	}
	return l.turns == turns
}

// learn does something about what records could not be decoded for: it has the sink learn a schema, or waits for a column. It reports false if
// the records are to be dropped: the lane has left its state, or halts, because no schema could help or a person has to look.
func (m *member) learn(l *lane, turns int, err error) bool {
	halt := func(err error) bool {
		if l.drain(turns) {
			m.halt(l, &sink.HaltError{Err: err})
		}
		return false
	}
	var missing *decode.MissingSchema
	var fields *decode.NewFields
	switch {
	case errors.As(err, &fields):
		return m.settleFields(l, turns, fields)
	case !errors.As(err, &missing):
		return halt(err)
	case m.schemas == nil:
		return halt(fmt.Errorf("the records can't be read without %v, and there is no schema registry to ask for it", missing.SchemaOf))
	}
	ctx := l.await(m.work, turns, missing.SchemaOf.String())
	if ctx == nil {
		return false
	}
	defer l.ended(turns)
	for attempt := 0; pause(ctx, attempt); attempt++ {
		ask, cancel := context.WithTimeout(ctx, askSchemaTimeout)
		schema, err := m.schemas.Schema(ask, missing.Ref)
		cancel()
		var hopeless *sink.HaltError
		var no *event.NoSchema
		if errors.As(err, &no) {
			if err = m.blame(ctx, missing.SchemaOf, no); err == nil {
				return l.view().turns == turns
			}
		}
		switch {
		case err == nil:
			if err := m.sink.Learn(missing.SchemaOf, schema); err != nil {
				return halt(m.named(ctx, missing.SchemaOf, err))
			}
			m.keep(ctx, missing.SchemaOf)
			if attempt > 0 {
				m.log.Info("a schema is there: reading on", "topic", l.Topic, "partition", l.Partition.Partition, "schema", missing.Ref.String())
			}
			return l.view().turns == turns
		case ctx.Err() != nil:
			return false
		case errors.As(err, &hopeless):
			return halt(m.named(ctx, missing.SchemaOf, fmt.Errorf("get %v: %w", missing.SchemaOf, hopeless.Err)))
		}
		if l.refused(turns, err, func(l *lane) { m.suspend(l) }) {
			m.log.Warn("waiting for a schema", "topic", l.Topic, "partition", l.Partition.Partition, "schema", missing.Ref.String(), "error", err, "steps", docs.Runbook("the-schema-registry-is-away"))
		}
		m.noteWait(ctx, l)
	}
	return false
}

// noteWait has the ledger tell people what a lane waits for. It is noted after each answer, for what came before it may be written
// meanwhile, which takes the note away; noting the same again changes nothing. The next records that are written take it away for good.
func (m *member) noteWait(ctx context.Context, l *lane) {
	v := l.view()
	if v.wait == nil {
		return
	}
	if err := m.ledger.Stuck(ctx, []offsets.Claim{v.claim}, v.wait.Error()); err != nil && ctx.Err() == nil {
		m.log.Warn("note what a partition waits for", "topic", l.Topic, "partition", l.Partition.Partition, "error", err)
	}
}

// letGo makes lanes that wait for a schema, or for a column, drop what they hold, if that takes half of the buffer, which the other lanes
// need. After a rest they are claimed again, and what they dropped is read again.
func (m *member) letGo() {
	var waiting []*lane
	var held int64
	for _, l := range m.all() {
		if w := l.view().wait; w != nil && w.err != nil {
			waiting, held = append(waiting, l), held+l.memory()
		}
	}
	if held <= m.cfg.BufferBytes/2 {
		return
	}
	m.log.Warn("dropping what waits for a schema or a column, to read it again later: the buffer is full", "partitions", listed(waiting), "bytes", held)
	m.loseUntil(time.Now().Add(letGoFor), waiting...)
}
