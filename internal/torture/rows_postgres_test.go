package torture

// postgresRows are the rows of PostgreSQL, of what records hold, and of the machine.
var postgresRows = []row{
	{n: 7, name: "backend killed, pg_terminate_backend, restart -m immediate", play: backends},
	{n: 8, name: "kill -9 of PostgreSQL with synchronous_commit=off", play: asynchronous},
	{n: 9, name: "failover to a lagging standby, the old primary still up", play: failover},
	{n: 10, name: "PITR restore to an earlier time", play: restore},
	{n: 11, name: "read-only server, disk full, too many connections, lock timeout, deadlock, serialization", play: refusals},
	{n: 22, name: "poison", play: poison},
	{n: 23, name: "oversized record, compression bomb", play: bombs},
	{n: 24, name: "one key many times in a batch", play: sameKey},
	{n: 26, name: "replay from offset zero over a full table", play: replays},
	{n: 27, name: "clock jumps by an hour", play: clocks},
	{n: 28, name: "no disk, no descriptors, memory limit", play: scarcity},
	{n: 29, name: "schema change under load", play: schemaChanges},
	{n: 30, name: "credentials rotated", play: credentials},
	{n: 31, name: "rolling upgrade", play: upgrade},
	{n: 32, name: "PgBouncer in transaction mode, restarted", play: pooler},
	{n: 33, name: "table locked for longer than the session timeout", play: locked},
}
