-- What a person can read of a record's bytes: UTF-8 text, or hexadecimal digits after
-- \x where they are none. For looking at dead letters: it never fails on a value.
create function oncesink.text_of(bytes bytea) returns text
language plpgsql immutable strict as $$
begin
    return convert_from(bytes, 'UTF8');
exception when character_not_in_repertoire or untranslatable_character then
    return '\x' || encode(bytes, 'hex');
end $$;
