package sink

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"
)

// OnTopics returns a handler that runs h over the records of these topics, and does not run it where a batch has
// none of them. Handlers of one Config may name the same topic: each gets its records.
func OnTopics(h Handler, topics ...string) Handler {
	return func(ctx context.Context, tx pgx.Tx, records []Record) error {
		other := func(r Record) bool { return !slices.Contains(topics, r.Topic) }
		if slices.ContainsFunc(records, other) {
			// A copy: the next handler gets the whole batch.
			records = slices.DeleteFunc(slices.Clone(records), other)
		}
		if len(records) == 0 {
			return nil
		}
		return h(ctx, tx, records)
	}
}
