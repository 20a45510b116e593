package engine

import (
	"context"
	"fmt"

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
		if err := h(ctx, nested, batch); err != nil {
			_ = nested.Rollback(ctx)
			return &handlerError{i, err}
		}
		if err := nested.Commit(ctx); err != nil {
			return &handlerError{i, fmt.Errorf("end of its transaction: %w", err)}
		}
	}
	return nil
}

// handlerError is an error of Config.Handlers[index].
type handlerError struct {
	index int
	err   error
}

func (e *handlerError) Error() string {
	return fmt.Sprintf("handler %d: %s", e.index, pgerr.Safe(e.err))
}
func (e *handlerError) Unwrap() error { return e.err }
