-- withheld raises what a record is refused for that needs a row: its source withheld the values of these columns.
create function oncesink.withheld(columns text) returns boolean language plpgsql as $$ begin
	raise exception 'the source withheld the value of %, and there is no row of the event''s key', columns using errcode = 'ONS30', column = split_part(columns, ', ', 1);
end $$;
comment on function oncesink.withheld is 'Internal: refuses an event whose source withheld values, where there is no row.';
