package checker

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// Tables is the schema of what is written.
//
//   - events has a row for each event, and nothing that would keep a second one out;
//   - latest has the last event of each key;
//   - backward has a row for each time that a row of latest was overwritten by an older event.
const Tables = `
create table events (topic text not null, p int not null, o bigint not null, id bigint, version bigint, value text);
create table latest (id bigint primary key, version bigint not null, value text, p int not null, o bigint not null);
create table backward (id bigint, was bigint, became bigint);
create function goes_back() returns trigger language plpgsql as $$
begin
	insert into backward values (old.id, old.version, new.version);
	return null;
end $$;
create trigger goes_back after update on latest for each row when (new.version < old.version) execute function goes_back();`

// Place is a position in a log.
type Place struct {
	Topic     string
	Partition int32
	Offset    int64
}

// Row is an event in a table.
type Row struct {
	Place
	Key, Version int64
	Value        string
}

// Database is what a database holds.
type Database struct {
	Events    []Row
	Latest    []Row // their topic isn't known
	Letters   []Place
	Positions map[Place]int64 // by partition, offset 0
	Backward  int64
}

// Look reads what a database holds, of one moment. group is the sink's.
func Look(ctx context.Context, conn *pgx.Conn, group string) (d Database, err error) {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return d, fmt.Errorf("look at the database: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	return LookIn(ctx, tx, group)
}

// LookIn is Look, in a transaction.
func LookIn(ctx context.Context, tx pgx.Tx, group string) (d Database, err error) {
	read := func(sql string, args []any, row func(pgx.Rows) error) {
		if err != nil {
			return
		}
		var rows pgx.Rows
		if rows, err = tx.Query(ctx, sql, args...); err != nil {
			return
		}
		defer rows.Close()
		for rows.Next() {
			if err = row(rows); err != nil {
				return
			}
		}
		err = rows.Err()
	}
	read(`select topic, p, o, coalesce(id, 0), coalesce(version, 0), coalesce(value, '') from events`, nil, func(r pgx.Rows) error {
		var e Row
		d.Events = append(d.Events, e)
		at := &d.Events[len(d.Events)-1]
		return r.Scan(&at.Topic, &at.Partition, &at.Offset, &at.Key, &at.Version, &at.Value)
	})
	read(`select id, version, coalesce(value, ''), p, o from latest`, nil, func(r pgx.Rows) error {
		d.Latest = append(d.Latest, Row{})
		at := &d.Latest[len(d.Latest)-1]
		return r.Scan(&at.Key, &at.Version, &at.Value, &at.Partition, &at.Offset)
	})
	read(`select topic, partition, "offset" from oncesink.dead_letters where sink_group = $1`, []any{group}, func(r pgx.Rows) error {
		d.Letters = append(d.Letters, Place{})
		at := &d.Letters[len(d.Letters)-1]
		return r.Scan(&at.Topic, &at.Partition, &at.Offset)
	})
	d.Positions = map[Place]int64{}
	read(`select topic, partition, next_offset from oncesink.offsets where sink_group = $1`, []any{group}, func(r pgx.Rows) error {
		var at Place
		var next int64
		if err := r.Scan(&at.Topic, &at.Partition, &next); err != nil {
			return err
		}
		d.Positions[at] = next
		return nil
	})
	read(`select count(*) from backward`, nil, func(r pgx.Rows) error { return r.Scan(&d.Backward) })
	if err != nil {
		return d, fmt.Errorf("look at the database: %w", err)
	}
	return d, nil
}
