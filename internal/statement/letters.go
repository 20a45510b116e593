package statement

// KeepLetters writes dead letters. One that is there already has been tried again: by a replay (rule 17) or because
// somebody asked for it. It says why it is refused now. That a person has discarded it stays. Where a replay finds what
// is there, nothing is written. Of one that came late (ONS31) the first reason is kept as well: it is the one to mend.
const KeepLetters = `insert into oncesink.dead_letters as d
       (sink_group, topic_id, topic, generation, partition, "offset", recorded, key, value, headers, code, message, target, column_name, constraint_name)
select $1::text, l.topic_id::uuid, l.topic, l.generation, l.partition, l."offset", l.recorded::timestamptz, l.key, l.value, l.headers::jsonb,
       l.code, l.message, l.target, l.column_name, l.constraint_name
  from unnest($2::text[], $3::text[], $4::integer[], $5::integer[], $6::bigint[], $7::text[], $8::bytea[], $9::bytea[], $10::text[],
              $11::text[], $12::text[], $13::text[], $14::text[], $15::text[])
    as l(topic_id, topic, generation, partition, "offset", recorded, key, value, headers, code, message, target, column_name, constraint_name)
 where not exists (select from oncesink.dead_letters x
                    where x.sink_group = $1::text and x.topic_id = l.topic_id::uuid and x.partition = l.partition and x."offset" = l."offset"
                      and x.status not in ('retry', 'resolved')
                      and (x.code, x.message, x.target, x.column_name, x.constraint_name)
                          is not distinct from (l.code, l.message, l.target, l.column_name, l.constraint_name))
    on conflict (sink_group, topic_id, partition, "offset") do update
   set code = excluded.code,
       message = case when excluded.code is distinct from 'ONS31' then excluded.message
                      when d.code = 'ONS31' then d.message
                      else concat(excluded.message, '. Before: ', d.code || ' ', d.message) end,
       target = excluded.target, column_name = excluded.column_name,
       constraint_name = excluded.constraint_name, attempts = d.attempts + 1, tried_at = now(), late = false,
       status = case when d.status in ('new', 'retry', 'resolved') then 'new' else d.status end,
       settled_at = case when d.status not in ('new', 'retry', 'resolved') then d.settled_at end,
       settled_by = case when d.status not in ('new', 'retry', 'resolved') then d.settled_by end`

// ResolveLetters settles the open letters of ranges of offsets, the end of each left out: their records are written in this
// transaction. By whom says the last parameter.
const ResolveLetters = `update oncesink.dead_letters d
   set status = 'resolved', late = false, settled_at = now(), settled_by = $6::text
  from unnest($2::text[], $3::integer[], $4::bigint[], $5::bigint[]) as w(topic_id, partition, low, high)
 where d.sink_group = $1::text and d.topic_id = w.topic_id::uuid and d.partition = w.partition
   and d."offset" >= w.low and d."offset" < w.high and d.status in ('new', 'retry')`

// ResolveRequests does it for single letters of one partition, which low has: ranges of one would each be compared with all that are open.
const ResolveRequests = `update oncesink.dead_letters d
   set status = 'resolved', late = false, settled_at = now(), settled_by = $6::text
 where d.sink_group = $1::text and d.topic_id = ($2::text[])[1]::uuid and d.partition = ($3::integer[])[1]
   and d."offset" = any ($4::bigint[]) and d.status in ('new', 'retry')`

// HighestLetters are the offsets of partitions' last dead letters, whatever became of them, in the partitions' order; null without any.
const HighestLetters = `select (select max(d."offset") from oncesink.dead_letters d
         where d.sink_group = $1::text and d.topic_id = w.topic_id::uuid and d.partition = w.partition)
  from unnest($2::text[], $3::integer[]) with ordinality as w(topic_id, partition, n) order by n`

// KnownLetters are those of a partition's offsets that have a dead letter, whatever became of it.
const KnownLetters = `select "offset" from oncesink.dead_letters
 where sink_group = $1::text and topic_id = $2::text::uuid and partition = $3::integer and "offset" = any ($4::bigint[])`

// ListRequests lists the partitions of which letters are to be tried again: from one to the next by the index, however many letters each has.
const ListRequests = `with recursive p as (
	(select topic, partition from oncesink.dead_letters where sink_group = $1::text and status = 'retry' order by topic, partition limit 1)
	union all
	select n.* from p, lateral (select d.topic, d.partition from oncesink.dead_letters d
		where d.sink_group = $1::text and d.status = 'retry' and (d.topic, d.partition) > (p.topic, p.partition)
		order by d.topic, d.partition limit 1) n
) select topic, partition from p`

// ReadRequests reads the records of such letters of one partition, oldest first, as many as the third parameter says and as the
// fourth has bytes for; one at least.
const ReadRequests = `select topic_id, generation, "offset", recorded, key, value, headers, late from (
	select *, sum(coalesce(octet_length(key), 0) + coalesce(octet_length(value), 0) + 200) over (order by "offset") as bytes, row_number() over (order by "offset") as n
	  from (select * from oncesink.dead_letters
	         where sink_group = $1::text and topic = $2::text and partition = $3::integer and status = 'retry'
	         order by "offset" limit $4::integer) l) l
 where bytes <= $5::bigint or n = 1
 order by "offset"`

// TakeRequests locks letters that are to be tried again and says how many of them still are, as late as the last parameter says.
const TakeRequests = `select count(*) from (select from oncesink.dead_letters
 where sink_group = $1::text and topic_id = $2::text::uuid and partition = $3::integer and "offset" = any ($4::bigint[])
   and status = 'retry' and late = $5::boolean order by "offset" for update) l`

// SourceOf is the number by which guard columns know a partition of a topic of this id and generation; no row if they don't.
const SourceOf = `select source from oncesink.sources
 where topic = $1::text and topic_id = $2::text::uuid and partition = $3::integer and generation = $4::integer`
