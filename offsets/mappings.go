package offsets

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// AcceptMappings records these mappings as the ones of the group from here on,
// all of them, and draws new fences, so that processes with another mapping stop.
// A table that is not among them is no longer fed; one that is new is fed since
// the positions of now. It needs the right to delete from oncesink.mappings.
func AcceptMappings(ctx context.Context, conn *pgx.Conn, group string, mappings []Mapping) error {
	topics, targets, fingerprints := mappingColumns(mappings)
	_, err := conn.Exec(ctx, `select oncesink.accept_mappings($1::text, $2::text[], $3::text[], $4::text[])`,
		group, topics, targets, fingerprints)
	if err != nil {
		return fmt.Errorf("accept mappings of group %s: %w", group, missingLedger(err))
	}
	return nil
}

func mappingColumns(mappings []Mapping) (topics, targets, fingerprints []string) {
	n := len(mappings)
	topics, targets, fingerprints = make([]string, n), make([]string, n), make([]string, n)
	for i, m := range mappings {
		topics[i], targets[i], fingerprints[i] = m.Topic, m.Target, m.Fingerprint
	}
	return topics, targets, fingerprints
}

// TableHistory says since which position a table has been fed.
type TableHistory struct {
	Partition
	Target string
	Since  int64 // records below it were never applied to the table
}

// History returns, per partition, the position from which each target table has
// been fed, for tables that were added after the partition's first position.
// A rewind below that position mends it.
func (l *Ledger) History(ctx context.Context) ([]TableHistory, error) {
	rows, err := l.pool.Query(ctx, `
		select m.topic, m.partition, m.target, m.since
		  from oncesink.mappings m
		  join oncesink.offsets o using (sink_group, topic, partition)
		 where sink_group = $1::text and m.since > o.first_offset
		 order by topic, partition, target`, l.group)
	if err != nil {
		return nil, fmt.Errorf("read table histories: %w", missingLedger(err))
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (TableHistory, error) {
		var h TableHistory
		err := row.Scan(&h.Topic, &h.Partition.Partition, &h.Target, &h.Since)
		return h, err
	})
	if err != nil {
		return nil, fmt.Errorf("read table histories: %w", missingLedger(err))
	}
	return found, nil
}
