package offsets

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Unowned counts, by topic, the partitions of the group that no process has: nobody has claimed them, or their owner has no session in the
// database any more. Topics without any are not in it. known is false on a pool that does not name its sessions (see [New]), where an owner
// can't be told from one that is gone. It takes no locks.
func (l *Ledger) Unowned(ctx context.Context, topics []string) (unowned map[string]int64, known bool, err error) {
	if !l.named {
		return nil, false, nil
	}
	rows, err := l.pool.Query(ctx, `select o.topic, count(*) from oncesink.offsets o
		where o.sink_group = $1::text and o.topic = any($2::text[])
		  and not exists (select from pg_stat_activity a where a.application_name = $3::text || o.instance and a.datname = current_database())
		group by 1`, l.group, topics, appPrefix)
	if err != nil {
		return nil, false, fmt.Errorf("count partitions that nobody has: %w", missingLedger(err))
	}
	unowned = map[string]int64{}
	var topic string
	var n int64
	if _, err = pgx.ForEachRow(rows, []any{&topic, &n}, func() error {
		unowned[topic] = n
		return nil
	}); err != nil {
		return nil, false, fmt.Errorf("count partitions that nobody has: %w", missingLedger(err))
	}
	return unowned, true, nil
}
