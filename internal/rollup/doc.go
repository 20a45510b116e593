// Package rollup keeps sums per group, such as orders and revenue per day, exact in the
// same transaction that changes the rows they are made of.
//
// A rollup is a view over a table of its own in schema oncesink, which statement-level
// triggers on the target keep: whoever changes rows of the target, by whatever statement, COPY
// included, changes the sums in the same transaction. So an update, a delete, a late event, a replay
// and a retry move them by exactly what they change, and a replay that changes no row changes no sum.
//
// There are two ways to the same result:
//
//   - [Incremental] adds what the changed rows are now, and takes away what they were before. A group has a
//     row for each shard, which is the source partition of the writer, and the view adds the shards
//     up: so two writers never wait for each other, however hot a group is. It counts and sums.
//   - [Recompute] makes the touched groups anew from the target's rows. It also knows minimum and
//     maximum, which can't be taken back. Its writers take turns, from the first changed row to the end of the
//     transaction, and what it costs depends on the size of the groups.
//
// Rule 25 in docs/semantics.md says which simpler ways are wrong.
package rollup
