package rebuild

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// samples is how many keys of each kind a dry run names.
const samples = 5

// foretell counts what change would do, and names some of the rows.
func (j *job) foretell(ctx context.Context, tx pgx.Tx) error {
	l, s := &j.layout, &j.stage
	key := pgx.Identifier{l.Key[0]}.Sanitize()
	kinds := []struct {
		name string
		n    *int64
		is   string
	}{
		{"added", &j.result.Added, join(fmt.Sprintf("t.%s is null and s.%s is not null", key, key), j.inRange("s"))},
		{"changed", &j.result.Changed, join(j.unlike("t", "s"), fmt.Sprintf("t.%s is not null and s.%s is not null", key, key), j.inEitherRange("t", "s"))},
		{"deleted", &j.result.Deleted, join(fmt.Sprintf("s.%s is null and t.%s is not null", key, key), j.inRange("t"))},
	}
	j.result.Samples = map[string][]string{}
	for _, k := range kinds {
		rows, err := tx.Query(ctx, fmt.Sprintf(`
			select row(%s)::text, count(*) over () from (select distinct * from %s) d
			  left join %s t on %s
			  left join %s s on %s
			 where %s order by 1 limit %d`,
			qualified("d", l.Key), s.differs, l.Quoted(), j.sameKey("t", "d"), s.quoted(), j.sameKey("s", "d"), k.is, samples))
		if err != nil {
			return err
		}
		var text string
		_, err = pgx.ForEachRow(rows, []any{&text, k.n}, func() error {
			j.result.Samples[k.name] = append(j.result.Samples[k.name], text)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func join(conds ...string) string {
	w := where(conds...)
	return w[len("\n where "):]
}

// settle ends the cut: what the group's ledger and dead letters say of the table is brought to what
// is true from now on.
func (j *job) settle(ctx context.Context, tx pgx.Tx) error {
	err := tx.QueryRow(ctx, `
		select (select coalesce(sum(next_offset - first_offset), 0) from oncesink.offsets where sink_group = $1::text),
		       (select count(*) from oncesink.dead_letters where sink_group = $1::text)`, j.stage.group).Scan(&j.result.Records, &j.result.DeadLetters)
	if err != nil || j.DryRun || j.Range != nil {
		return err
	}
	for _, statement := range []string{
		// The table has been fed since the stage's first position.
		`update oncesink.mappings m set since = o.first_offset from oncesink.offsets o
		  where o.sink_group = $1::text and m.sink_group = $2::text and m.target = $3::text and m.topic = o.topic and m.partition = o.partition and m.since > o.first_offset`,
		// Records that this table refused, and takes now.
		`update oncesink.dead_letters d set status = 'rebuilt'
		  where d.sink_group = $2::text and d.target = $3::text and d.status = 'new'
		    and exists (select from oncesink.offsets o where o.sink_group = $1::text and o.topic = d.topic and o.topic_id = d.topic_id and o.partition = d.partition
		                   and d."offset" >= o.first_offset and d."offset" < o.next_offset)
		    and not exists (select from oncesink.dead_letters s where s.sink_group = $1::text and s.topic_id = d.topic_id and s.partition = d.partition and s."offset" = d."offset")`,
		// Records that it took, and refuses now.
		`insert into oncesink.dead_letters (sink_group, topic_id, topic, generation, partition, "offset", recorded, key, value, headers, code, message, target, column_name, constraint_name)
		 select $2::text, topic_id, topic, generation, partition, "offset", recorded, key, value, headers, code, message, $3::text, column_name, constraint_name
		   from oncesink.dead_letters where sink_group = $1::text
		 on conflict do nothing`,
	} {
		if _, err := tx.Exec(ctx, statement, j.stage.group, j.Consumer.Group, j.result.Table); err != nil {
			return err
		}
	}
	return nil
}
