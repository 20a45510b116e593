package rebuild

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/sink"
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
	if err != nil || j.DryRun || j.scoped() {
		return err
	}
	_, err = tx.Exec(ctx, `update oncesink.mappings m set since = o.first_offset from oncesink.offsets o
		  where o.sink_group = $1::text and m.sink_group = $2::text and m.target = $3::text and m.topic = o.topic and m.partition = o.partition and m.since > o.first_offset`,
		j.stage.group, j.Consumer.Group, j.result.Table) // it has been fed since the stage's first position
	if err != nil {
		return err
	}
	// All rows are by the group's mapping now, and what was found to be wrong is right.
	if _, err := tx.Exec(ctx, "update oncesink.mappings set written_since = 0 where sink_group = $1::text and target = any ($2::text[]) and written_since > 0", j.Consumer.Group, j.targets()); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "delete from oncesink.mismatches where sink_group = $1::text and target = $2::text", j.Consumer.Group, j.result.Table); err != nil {
		return err
	}
	return j.settleLetters(ctx, tx)
}

// settleLetters brings the group's dead letters to what the table has now. Of a record that it refused and takes now
// the letter is resolved; if its topic feeds further tables, which have nothing of it, the owner of its partition is asked to
// write it there. Records that it took and refuses now have letters again.
func (j *job) settleLetters(ctx context.Context, tx pgx.Tx) error {
	family := []string{j.result.Table}
	for i := range j.children {
		family = append(family, j.children[i].layout.Schema+"."+j.children[i].layout.Name)
	}
	_, err := tx.Exec(ctx, `update oncesink.dead_letters d
		    set status = case when d.topic = any ($5::text[]) then 'retry' else 'resolved' end, late = false,
		        settled_at = case when not d.topic = any ($5::text[]) then now() end, settled_by = case when not d.topic = any ($5::text[]) then 'rebuild' end
		  where d.sink_group = $2::text and (d.target = any ($4::text[]) or d.target is null) and d.status in ('new', 'retry') and d.topic = any ($3::text[])
		    and exists (select from oncesink.offsets o where o.sink_group = $1::text and o.topic = d.topic and o.topic_id = d.topic_id and o.partition = d.partition
		                   and d."offset" >= o.first_offset and d."offset" < o.next_offset)
		    and not exists (select from oncesink.dead_letters s where s.sink_group = $1::text and s.topic_id = d.topic_id and s.partition = d.partition and s."offset" = d."offset")`,
		j.stage.group, j.Consumer.Group, j.layout.Topics, family, j.sharedTopics())
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, `insert into oncesink.dead_letters as d
		        (sink_group, topic_id, topic, generation, partition, "offset", recorded, key, value, headers, code, message, target, column_name, constraint_name)
		 select $2::text, topic_id, topic, generation, partition, "offset", recorded, key, value, headers, code, message,
		        $3::text, column_name, constraint_name
		   from oncesink.dead_letters where sink_group = $1::text
		     on conflict (sink_group, topic_id, partition, "offset") do update
		    set status = 'new', code = excluded.code, message = excluded.message, target = excluded.target, column_name = excluded.column_name,
		        constraint_name = excluded.constraint_name, attempts = d.attempts + 1, tried_at = now(), settled_at = null, settled_by = null
		  where d.status = 'resolved'`, j.stage.group, j.Consumer.Group, j.result.Table)
	return err
}

// sharedTopics are those of the table's topics that feed tables beside it and its children, or handlers.
func (j *job) sharedTopics() []string {
	shared := []string{}
	for _, topic := range j.layout.Topics {
		others := slices.ContainsFunc(j.Sink.Tables, func(t sink.TableConfig) bool {
			return t.Name != j.Table && !slices.Contains(j.layout.Children, t.Name) && slices.Contains(t.Topics, topic)
		})
		if others || len(j.Sink.Handlers) > 0 {
			shared = append(shared, topic)
		}
	}
	return shared
}
