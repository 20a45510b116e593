// Package torture plays the rows of a fault matrix: faults that happen to a sink, its group, Kafka and PostgreSQL, against real processes of
// all of them. Of each row it keeps a record of what it produced, sees that the fault really fired, waits until the sink has caught up, and
// has internal/torture/checker decide whether each event counts once. docs/faults.md is made from what it found.
//
//	make torture                          # all rows
//	make torture RUNS=3 DOCS=docs         # all rows three times, and the page
//	make torture ROWS=2,4 SEED=17         # some rows, of a seed
//	make torture ROWS=35 FOR=1h           # a soak
package torture
