// Package rebuild reads a table's topics again from their beginning, beside the running
// sink, and brings the table to what they say: all of it, or one range of a column.
//
//	plan     what is to be read, and why not (rule 22)             plan.go
//	stage    a table of its own in schema oncesink, with positions
//	         of its own: it can be interrupted and taken up        stage.go
//	load     a consumer of all partitions fills it, up to where
//	         the group stands; in bulk where the events allow it   load.go, bulk.go
//	tail     what comes into the stage once it has its index, by
//	         COPY and merged, where it was loaded in bulk          tail.go
//	compare  which rows differ, without a lock                     difference.go
//	cut      lock the group's positions, apply what came
//	         meanwhile, then the differences, in one transaction   cut.go
//	swap     instead: the stage takes the table's place            swap.go
//
// The group's positions stay where they are: what a live transaction writes before the cut
// is in the stage as well, and what it writes after the cut goes over it (rules 23 and 24).
package rebuild
