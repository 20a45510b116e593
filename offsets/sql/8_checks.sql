-- Since which position a partition has been written by the mapping of its fingerprint: what events before it became, another one says.
-- 0: since ever, as far as is known.
alter table oncesink.mappings add column written_since bigint not null default 0;

-- Definitions that no partition has any more tell that mappings were changed, and nothing says where.
update oncesink.mappings m set written_since = o.next_offset
  from oncesink.offsets o
 where o.sink_group = m.sink_group and o.topic = m.topic and o.partition = m.partition
   and exists (select from oncesink.mapping_definitions d where not exists (select from oncesink.mappings x where x.fingerprint = d.fingerprint));

create function oncesink.note_mapping() returns trigger
language plpgsql as $$
begin
    new.written_since := coalesce((select o.next_offset from oncesink.offsets o
                                    where o.sink_group = new.sink_group and o.topic = new.topic and o.partition = new.partition), 0);
    return new;
end $$;
create trigger note_mapping before update of fingerprint on oncesink.mappings
    for each row when (new.fingerprint is distinct from old.fingerprint) execute function oncesink.note_mapping();

-- Where `oncesink verify --walk` stands in a table, and what its last whole pass said.
create table oncesink.checks (
    sink_group  text   collate "C" not null,
    target      text   collate "C" not null,
    turn        bigint not null default 0,     -- of who writes: only one walks at a time
    pass        bigint not null default 1,
    walk        jsonb  not null default '{}',  -- where the pass stands, and what it has counted
    looked_at   timestamptz,                   -- by a walk or a sample
    finished_at timestamptz,                   -- the last pass that saw everything
    finished    jsonb,                         -- what it counted
    primary key (sink_group, target)
);

-- What was found to be otherwise than the topics say, until it is found to be right.
create table oncesink.mismatches (
    sink_group  text   collate "C" not null,
    target      text   collate "C" not null,   -- that was checked
    kind        text   not null,
    relation    text   not null,               -- that has the row, or lacks it
    row_key     text[] not null,
    topic       text,                          -- of the event that says what the row should be
    partition   int,
    "offset"    bigint,
    columns     text[],                        -- that are not what the event says
    problem     text   not null,
    written_by  text,                          -- transaction id that the row has
    written_at  timestamptz,                   -- its commit, where track_commit_timestamp tells
    found_at    timestamptz not null default now(),
    seen_at     timestamptz not null default now(),
    primary key (sink_group, target, kind, relation, row_key)
);

-- Whoever writes positions may note what was found.
do $$
declare
    role name;
begin
    for role in
        select distinct r.rolname
          from pg_class c cross join aclexplode(c.relacl) a join pg_roles r on r.oid = a.grantee
         where c.oid = 'oncesink.mappings'::regclass and a.privilege_type = 'INSERT' and a.grantee <> c.relowner
    loop
        execute format('grant select, insert, update, delete on oncesink.checks, oncesink.mismatches to %I', role);
    end loop;
end $$;

comment on function oncesink.note_mapping is 'Internal: notes at which position a partition got another mapping.';
