package engine

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/pgname"
	"github.com/oncesink/oncesink/sink"
)

// A stamp is what tells one state of the catalog from another: which transactions last wrote the entries
// that a mapping is compiled from. Each transaction of the sink compares the shallow one at its end, when
// it holds locks on all that it wrote: so what its texts were made for is what the tables are (rule 29),
// and none of its rows is committed otherwise. The deep one is compared before a record, or a person, is
// blamed for an error.
type stamp struct{ shallow, deep string }

const stampSQL = "select oncesink.catalog_stamp($1::text[], $2::boolean)"

// configured are the names of the tables as the configuration has them, quoted.
func configured(cfg *sink.Config) (names []string) {
	for _, tc := range cfg.Tables {
		schema, name, err := pgname.Split(tc.Name)
		switch {
		case err != nil: // openTable reports it
		case schema == "":
			names = append(names, pgname.Quote(name))
		default:
			names = append(names, pgx.Identifier{schema, name}.Sanitize())
		}
	}
	return names
}

// readStamp reads both stamps, in the order of the names.
func readStamp(ctx context.Context, tx pgx.Tx, names []string) (s stamp, err error) {
	if names == nil {
		names = []string{}
	}
	err = tx.QueryRow(ctx, "select oncesink.catalog_stamp($1::text[], false), oncesink.catalog_stamp($1::text[], true)", names).Scan(&s.shallow, &s.deep)
	return s, err
}

// queueStamp adds the question whether the catalog is still what the mapping was compiled from.
func (t *transaction) queueStamp(deep bool) {
	t.w.params.strings(t.m.names)
	t.w.params.boolean(deep)
	t.w.answers = t.w.answers[:0]
	t.w.exec("read the catalog", nil, stampSQL)
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
	return t.sameStamp(t.m.stamp.deep)
}

// sameStamp compares the answer of queueStamp.
func (t *transaction) sameStamp(want string) error {
	if string(t.w.answers) != want {
		return errAltered
	}
	return nil
}
