-- Schemas that a registry handed out, and that records were read with. One means the same for ever: so records can be read again when
-- the registry is away, or has lost it.
create table oncesink.schemas (
    registry text collate "C" not null, -- a URL of it, and the context
    space text collate "C" not null,    -- id or guid
    id text collate "C" not null,
    type text not null,                 -- AVRO, PROTOBUF or JSON
    text text not null,
    refs jsonb not null,                -- [{"Name": ..., "Schema": {"Type": ..., "Text": ..., "References": [...]}}, ...]
    fetched_at timestamptz not null default now(),
    primary key (registry, space, id)
);

-- The topics whose records were read with them.
create table oncesink.schema_uses (
    registry text collate "C" not null,
    space text collate "C" not null,
    id text collate "C" not null,
    topic text collate "C" not null,
    of_key boolean not null,            -- by their keys
    first_used timestamptz not null default now(),
    primary key (topic, of_key, registry, space, id)
);

comment on table oncesink.schemas is 'schemas that a registry handed out';
comment on table oncesink.schema_uses is 'the topics whose records were read with oncesink.schemas';
