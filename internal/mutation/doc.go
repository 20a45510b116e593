// Mutation shows that the tests would notice: it builds the program without one of its guarantees, by an edit of its source that only the
// compiler sees, and runs the tests that should be red then. docs/mutations.md is what it writes.
//
//	go run ./internal/mutation                  # all of them; make mutations
//	go run ./internal/mutation -only nofence    # one
//	go run ./internal/mutation -docs docs       # and writes the page anew
//
// An edit that no longer matches its file exactly once is an error, and so is a mutation that no test notices.
package main
