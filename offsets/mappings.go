package offsets

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// AcceptMappings records these mappings as the ones of the group from here on,
// all of them, and draws new fences, so that processes with another mapping stop.
// A table that is not among them is no longer fed; one that is new is fed since
// the positions of now. It needs the right to delete from oncesink.mappings.
func AcceptMappings(ctx context.Context, conn *pgx.Conn, group string, mappings []Mapping) error {
	if err := defineMappings(ctx, conn, mappings); err != nil {
		return fmt.Errorf("accept mappings of group %s: %w", group, err)
	}
	topics, targets, fingerprints := mappingColumns(mappings)
	_, err := conn.Exec(ctx, `select oncesink.accept_mappings($1::text, $2::text[], $3::text[], $4::text[])`,
		group, topics, targets, fingerprints)
	if err != nil {
		return fmt.Errorf("accept mappings of group %s: %w", group, missingLedger(err))
	}
	return nil
}

// AcceptMappingsBeside lets processes with these mappings, all of them, claim the group's partitions beside those that have them now, and
// stops nobody. A partition goes over when a process with these mappings claims it, and each of its records is mapped by one of both.
// During the window, from now on, a process with the mapping of before may take it back; later, never. Calling it again, with these or with others,
// ends what was accepted before. Whether rows stay right meanwhile is for the caller to know: the key of a row, and which event wins, must be
// the same in both. It needs the right to delete from oncesink.accepted_mappings.
func AcceptMappingsBeside(ctx context.Context, conn *pgx.Conn, group string, mappings []Mapping, window time.Duration) error {
	if err := defineMappings(ctx, conn, mappings); err != nil {
		return fmt.Errorf("accept mappings of group %s: %w", group, err)
	}
	topics, targets, fingerprints := mappingColumns(mappings)
	_, err := conn.Exec(ctx, `select oncesink.accept_mappings_beside($1::text, $2::text[], $3::text[], $4::text[], $5::interval)`,
		group, topics, targets, fingerprints, window)
	if err != nil {
		return fmt.Errorf("accept mappings of group %s: %w", group, missingLedger(err))
	}
	return nil
}

// defineMappings notes what fingerprints stand for, where that is not known yet.
func defineMappings(ctx context.Context, q interface {
	Exec(context.Context, string, ...any) (pgconn.CommandTag, error)
}, mappings []Mapping) error {
	var fingerprints, definitions []string
	for _, m := range mappings {
		if m.Definition != "" {
			fingerprints, definitions = append(fingerprints, m.Fingerprint), append(definitions, m.Definition)
		}
	}
	if len(definitions) == 0 {
		return nil
	}
	_, err := q.Exec(ctx, `
		insert into oncesink.mapping_definitions (fingerprint, definition)
		select distinct on (d.fingerprint) d.fingerprint, d.definition::jsonb from unnest($1::text[], $2::text[]) d(fingerprint, definition)
		 where not exists (select from oncesink.mapping_definitions m where m.fingerprint = d.fingerprint)
		    on conflict do nothing`, fingerprints, definitions)
	if err != nil {
		return fmt.Errorf("note what mappings say: %w", missingLedger(err))
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
		 where sink_group = $1::text and m.since > o.first_offset and m.fingerprint <> ''
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

// GroupMapping is how some partitions of a topic are written into a table.
type GroupMapping struct {
	Mapping
	// Partitions have it. A fingerprint that is empty says that the table is not written from them any more, or not yet.
	Partitions []int32
}

// GroupMappings returns the mappings that the group's partitions have, by topic and table. Where old and new processes run side by
// side there are several for a table.
func GroupMappings(ctx context.Context, conn *pgx.Conn, group string) ([]GroupMapping, error) {
	rows, err := conn.Query(ctx, `
		select m.topic, m.target, m.fingerprint, coalesce(d.definition::text, ''), array_agg(m.partition order by m.partition)
		  from oncesink.mappings m
		  left join oncesink.mapping_definitions d using (fingerprint)
		 where m.sink_group = $1::text
		 group by m.topic, m.target, m.fingerprint, d.definition::text
		 order by m.topic, m.target, min(m.partition)`, group)
	if err != nil {
		return nil, fmt.Errorf("read mappings of group %s: %w", group, missingLedger(err))
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (GroupMapping, error) {
		var g GroupMapping
		err := row.Scan(&g.Topic, &g.Target, &g.Fingerprint, &g.Definition, &g.Partitions)
		return g, err
	})
	if err != nil {
		return nil, fmt.Errorf("read mappings of group %s: %w", group, missingLedger(err))
	}
	return found, nil
}

// Beside is a pair of mappings of which either may write a table, as [AcceptMappingsBeside] left it.
type Beside struct {
	Topic, Target string
	// Older and Newer are fingerprints; empty for a process that does not write the table.
	Older, Newer string
	// Until then a partition may go back to the older one.
	Until time.Time
}

// AcceptedBeside returns which mappings of the group may run beside each other, by topic and table.
func AcceptedBeside(ctx context.Context, conn *pgx.Conn, group string) ([]Beside, error) {
	rows, err := conn.Query(ctx, `select topic, target, older, newer, older_until from oncesink.accepted_mappings
		where sink_group = $1::text order by topic, target, older`, group)
	if err != nil {
		return nil, fmt.Errorf("read accepted mappings of group %s: %w", group, missingLedger(err))
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Beside])
	if err != nil {
		return nil, fmt.Errorf("read accepted mappings of group %s: %w", group, missingLedger(err))
	}
	return found, nil
}
