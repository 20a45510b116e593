package engine

import (
	"context"
	"errors"

	"github.com/oncesink/oncesink/internal/catalog"
)

// queueStamp adds the question whether the catalog is still what the mapping was compiled from.
func (t *transaction) queueStamp(deep bool) {
	t.w.params.Strings(t.m.Names)
	t.w.params.Boolean(deep)
	t.w.answers = t.w.answers[:0]
	t.w.exec("read the catalog", nil, catalog.StampSQL)
	t.w.doing[len(t.w.doing)-1].asks = true
}

// errAltered says that a table is no longer what the transaction took it for.
var errAltered = errors.New("a table was altered")

// altered returns errAltered if the catalog says something else than what the mapping was compiled from.
// It asks about everything that could matter, in the transaction at hand, which must not have failed.
func (t *transaction) altered(ctx context.Context) error {
	t.queueStamp(true)
	if err := t.send(ctx); err != nil {
		return err
	}
	return t.sameStamp(t.m.Stamp.Deep)
}

// sameStamp compares the answer of queueStamp.
func (t *transaction) sameStamp(want string) error {
	if string(t.w.answers) != want {
		return errAltered
	}
	return nil
}
