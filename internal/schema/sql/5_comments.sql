-- As of the ledger's functions.
comment on function oncesink.discard_dead_letters is 'For operators: nobody wants these dead letters written any more; undo makes them new again.';
comment on function oncesink.retry_dead_letters is 'For operators: has dead letters tried again by the owners of their partitions. Arguments that are null pick all.';
comment on function oncesink.text_of is 'For operators: bytes as text, or in hex where they are no text.';
comment on function oncesink.catalog_stamp is 'Internal: changes when one of the tables does.';
comment on function oncesink.pick_dead_letters is 'Internal: the letters that filters pick.';
