package offsets

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// Letters are the dead letters of one partition in a transaction.
type Letters struct {
	Partition
	// From and To are the positions before and after its records.
	From, To int64
	// Records it has, how many of them are letters, and how many at the beginning, at the end and at most are so in a row.
	Records, Letters, Leading, Trailing, Longest int64
}

// LetterLimits are how many dead letters a partition may have.
type LetterLimits struct {
	// Ratio of the records of a window, which is the last Window offsets; of a partition that has had fewer, those, but
	// a tenth of Window at least.
	Ratio  float64
	Window int64
	// Run of records, one after the other. Below 0: any number.
	Run int64
}

// TooManyLettersError says that partitions have more dead letters than their limits allow. The server has aborted the
// transaction.
type TooManyLettersError struct{ Partitions []TooManyLetters }

// TooManyLetters is what is too much of one partition.
type TooManyLetters struct {
	Topic     string
	Partition int32
	// Rule is "ratio" or "run".
	Rule string
	// Letters among Of records.
	Letters, Of int64
}

func (e *TooManyLettersError) Error() string {
	return fmt.Sprintf("too many dead letters: %v", e.Partitions)
}

const countSQL = `select oncesink.count_dead_letters($1::text, $2::text[], $3::int[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::double precision, $12::bigint, $13::bigint, $14::boolean)`

var countTypes = []uint32{pgtype.TextOID, pgtype.TextArrayOID, pgtype.Int4ArrayOID, pgtype.Int8ArrayOID, pgtype.Int8ArrayOID, pgtype.Int8ArrayOID,
	pgtype.Int8ArrayOID, pgtype.Int8ArrayOID, pgtype.Int8ArrayOID, pgtype.Int8ArrayOID, pgtype.Float8OID, pgtype.Int8OID, pgtype.Int8OID, pgtype.BoolOID}

// QueueLetters adds the statement that counts the dead letters of a transaction, whose advance has gone before it, in the ledger's
// rows, and makes the server raise where they are too many; on trial it counts nothing, and may be given fewer than there are
// going to be. The caller passes the statement's error through [LettersError].
func (l *Ledger) QueueLetters(conn *pgx.Conn, batch *pgconn.Batch, all []Letters, limits LetterLimits, trial bool) error {
	topics, partitions := split(all, func(x Letters) Partition { return x.Partition })
	numbers := func(of func(*Letters) int64) []int64 {
		out := make([]int64, len(all))
		for i := range all {
			out[i] = of(&all[i])
		}
		return out
	}
	err := queue(conn, batch, countSQL, []any{l.group, topics, partitions,
		numbers(func(x *Letters) int64 { return x.From }), numbers(func(x *Letters) int64 { return x.To }),
		numbers(func(x *Letters) int64 { return x.Records }), numbers(func(x *Letters) int64 { return x.Letters }),
		numbers(func(x *Letters) int64 { return x.Leading }), numbers(func(x *Letters) int64 { return x.Trailing }), numbers(func(x *Letters) int64 { return x.Longest }),
		limits.Ratio, limits.Window, limits.Run, trial}, countTypes)
	if err != nil {
		return fmt.Errorf("count dead letters: %w", err)
	}
	return nil
}

// LettersError turns the error of the statement that QueueLetters added: too many become a *TooManyLettersError, anything else
// stays what it is.
func LettersError(err error) error {
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		return err
	}
	if pg.Code != stateTooMany {
		return missingLedger(err)
	}
	many := &TooManyLettersError{}
	if err := json.Unmarshal([]byte(pg.Detail), &many.Partitions); err != nil {
		return fmt.Errorf("%w: read its detail: %v", pg, err)
	}
	return many
}
