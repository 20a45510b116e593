package letters

import (
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/offsets"
)

// Asked are letters that somebody asked to be tried again, until it is known what became of them.
type Asked struct {
	group string
	logs  map[log][]int64 // offsets, in order
	// Letters is how many they are.
	Letters int64
}

// log is one partition of one incarnation of a topic.
type log struct {
	id string
	offsets.Partition
}

// Ask has letters tried again by the owners of their partitions; late, also where later records may have been written. It remembers
// which ones: their codes may be others before long.
func Ask(ctx context.Context, pool *pgxpool.Pool, group string, f Filter, late bool) (*Asked, error) {
	a := &Asked{group: group, logs: map[log][]int64{}}
	err := pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
		g := Group{group, tx}
		if err := tx.QueryRow(ctx, "select oncesink.retry_dead_letters($1, $2, $3, $4, $5, $6, $7, $8, $9)", append(g.settling(f), late)...).Scan(&a.Letters); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `select topic_id::text, topic, partition, "offset" from oncesink.dead_letters
			where sink_group = $1::text and status = 'retry' and xmin = pg_current_xact_id()::xid order by topic, partition, "offset"`, group)
		if err != nil {
			return err
		}
		var in log
		var offset int64
		_, err = pgx.ForEachRow(rows, []any{&in.id, &in.Topic, &in.Partition.Partition, &offset}, func() error {
			a.logs[in] = append(a.logs[in], offset)
			return nil
		})
		return err
	})
	if err != nil {
		return nil, notSettled("ask for dead letters to be tried again", err)
	}
	return a, nil
}

// Left counts those that are still to be tried, by partition. What others have asked for between them counts, too.
func (a *Asked) Left(ctx context.Context, on Querier) (map[offsets.Partition]int64, error) {
	var ids, topics []string
	var partitions []int32
	var first, last []int64
	for in, at := range a.logs {
		ids, topics, partitions = append(ids, in.id), append(topics, in.Topic), append(partitions, in.Partition.Partition)
		first, last = append(first, at[0]), append(last, at[len(at)-1])
	}
	rows, err := on.Query(ctx, `
		select d.topic, d.partition, count(*)
		  from unnest($2::text[], $3::text[], $4::int[], $5::bigint[], $6::bigint[]) as a(topic_id, topic, partition, first, last)
		  join oncesink.dead_letters d on d.topic = a.topic and d.partition = a.partition and d.topic_id = a.topic_id::uuid
		   and d."offset" between a.first and a.last
		 where d.sink_group = $1::text and d.status = 'retry'
		 group by 1, 2`, a.group, ids, topics, partitions, first, last)
	if err != nil {
		return nil, failed("look for dead letters to be tried again", err)
	}
	return countByPartition(rows)
}

// Outcome is what became of letters that were to be tried again.
type Outcome struct {
	Written   int64 `json:"written"`
	Refused   int64 `json:"refused"`
	Discarded int64 `json:"discarded"` // by somebody, meanwhile
	Left      int64 `json:"left"`      // still to be tried
	Gone      int64 `json:"gone"`      // deleted from the table, by somebody
	// Kinds are those that were refused again, by what they are refused for now.
	Kinds []Kind `json:"refused_for"`
}

// outcomeRows is how many letters are asked after at a time.
const outcomeRows = 10_000

// Outcome says what became of them.
func (a *Asked) Outcome(ctx context.Context, on Querier) (*Outcome, error) {
	o := &Outcome{Kinds: []Kind{}}
	refused := map[Kind]int64{}
	for in, at := range a.logs {
		for some := range slices.Chunk(at, outcomeRows) {
			found, err := o.count(ctx, on, a.group, in, some, refused)
			if err != nil {
				return nil, failed("look what became of dead letters", err)
			}
			o.Gone += int64(len(some)) - found
		}
	}
	for k := range maps.Keys(refused) {
		n := refused[k]
		k.Letters, k.Status, k.Reason = n, New, pgerr.Meaning(k.Code)
		o.Kinds = append(o.Kinds, k)
	}
	slices.SortFunc(o.Kinds, func(a, b Kind) int {
		return cmp.Or(cmp.Compare(b.Letters, a.Letters), cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Table, b.Table), cmp.Compare(a.Column, b.Column))
	})
	return o, nil
}

// count adds what became of some of a partition's letters.
func (o *Outcome) count(ctx context.Context, on Querier, group string, in log, at []int64, refused map[Kind]int64) (found int64, err error) {
	rows, err := on.Query(ctx, `
		select d.status, coalesce(d.code, ''), coalesce(d.target, ''), coalesce(d.column_name, ''), count(*)
		  from unnest($4::bigint[]) a(at)
		  join oncesink.dead_letters d on d.sink_group = $1::text and d.topic_id = $2::text::uuid and d.partition = $3::int and d."offset" = a.at
		 group by 1, 2, 3, 4`, group, in.id, in.Partition.Partition, at)
	if err != nil {
		return 0, err
	}
	var status string
	var k Kind
	var n int64
	_, err = pgx.ForEachRow(rows, []any{&status, &k.Code, &k.Table, &k.Column, &n}, func() error {
		found += n
		switch status {
		case Resolved:
			o.Written += n
		case New:
			o.Refused += n
			k.Topic = in.Topic
			refused[k] += n
		case Discarded:
			o.Discarded += n
		default:
			o.Left += n
		}
		return nil
	})
	return found, err
}
