// Package offsets is the ledger: one row of oncesink.offsets for each sink group
// and topic partition, which says where the group stands in that partition and who
// may move it. A position moves in the same transaction as the rows that the
// records before it produced; it is the only truth about what was applied.
//
// # The fencing protocol
//
// Any number of processes may believe that they own a partition: one is paused and
// wakes up, one is cut off from Kafka, one was started twice. Membership of a
// consumer group can't prevent it, so the database decides, by compare-and-set with
// a fencing token (the idea is older than this program: leases with tokens that the
// storage itself checks). The row holds the position and a fence. A transaction
// begins with
//
//	advance: position = new
//	  where position = the one I read on from  and  fence = the token I was given
//
// and raises an error if that matches no row. The expected position carries the
// data: only the records that follow what is stored can be added to it, once. The
// fence makes the owner known: a claim replaces it, and from then on no other
// process can commit, even one that expects the right position.
//
//	  Begin            claim                    advance
//	no row --> unclaimed ---------> claimed -----------------> committing
//	                                ^  ^ ^ ^                    |   |  |
//	                                |  | | |       COMMIT done  |   |  |
//	                                |  | | +--------------------+   |  | COMMIT without
//	                                |  | |                          |  | an answer
//	             claim, if the row  |  | |          OS001 or 55P03  |  v
//	             names my claim, or |  | |                          | unknown
//	             after a join that  |  | |                          |  |
//	             came after the loss|  | |                          |  | resolve
//	                                |  | |                          v  v
//	                              fenced | <------------------- not mine
//	                                     |                         or mine: resolved,
//	                                     +------------------------ new fence, read on
//	                                                               from the row
//
//	claimed --pause()--> fenced --claim--> paused (claimed, Paused) --resume()--> fenced --claim--> claimed
//	claimed --gap, recreated topic, an error to look at--> halted (Halt) --rewind(), accept_gap(), adopt()--> fenced
//
// The numbers are those of docs/semantics.md.
//
// Rule 1, stopped owners. A process that is stopped inside a transaction keeps the
// row locked, and while the server waits for it in the middle of a COPY or of a
// pipeline no timeout ends it. So a claim that waited for 3 s asks who holds the
// row, and ends that session if it is one of this program (by application_name and
// role). All other waits on the ledger end after 3 s; an advance that waited in
// vain counts as fenced, else a stopped zombie would starve the rightful owner.
//
// Rule 2, the server decides. A mismatch is an error raised by the server, with
// SQLSTATE OS001, and not a row count that the client has to read: in a pipeline,
// COMMIT was sent before the count came back.
//
// Rule 3, tokens are random. Every claim, resolution, rewind, pause draws a new
// one. A counter would repeat after a restore, a failover or the crash of an
// asynchronous server, and let an old owner in. The row also names the claim: who
// lost a fence and still finds its own claim was moved by an operator, and may claim
// again at once; who finds another one was replaced, and has to hear from Kafka first.
//
// Rule 4, one lock order. Rows are locked by topic and partition before anything is
// updated, and ledger rows before target rows.
//
// Rule 5, a claim is bounded. What is not won in 5 s is answered with a
// [*HeldError]; the other partitions don't wait for it.
//
// Rule 6, unknown outcomes. A COMMIT without an answer may have happened, may never
// happen, or may happen later. [Ledger.Resolve] locks the rows on a new connection,
// which waits until the doubtful transaction is gone, and draws new fences, so that
// it can't come back. Then the position tells. It ends its own old session, and
// stuck ones; never another that merely waits. Claims, resolutions and operator
// commands commit synchronously, whatever the session is set to.
//
// Rule 7, first positions. A row is made by [Ledger.Begin], before any claim and
// before the first fetch, and left as it is by whoever comes second. It is never
// made again by who held it: a row that vanished ([ErrNoPosition]) means that
// somebody deleted it or restored the database. ([Want.Start] makes a row in the
// claim itself, for a caller with one partition and nothing to resolve.)
//
// Rule 8, operators. Pause, resume, rewind, accept_gap and adopt are SQL functions
// that update the row and draw a new fence: the owner finds itself fenced, or
// sees the new fence when it polls [Ledger.Rows], and claims again. A plain UPDATE of
// next_offset does it, too. A rewind never moves forward, and is refused where replay
// is not safe. [Ledger.Steer] calls these functions for a program, [Ledger.Rewind] sends several partitions back in
// one transaction.
// For people, the row says why its owner halted ([Ledger.Halt]), or what it is stuck
// at while it goes on trying ([Ledger.Stuck]).
//
// Rule 9, the mapping belongs to the position. The ledger keeps a fingerprint for
// each table fed from a partition, and refuses a claim by a process that writes one
// of them otherwise or not at all. A table that is new is fed from the position
// of its first claim; [Ledger.History] names what it lacks.
//
// # Use
//
// A program that looks at a group, or has it read again, needs a ledger and nothing else, whoever runs the group:
//
//	ledger := offsets.New(pool, "orders-sink", offsets.Options{})
//	rows, err := ledger.Rows(ctx) // positions, owners, why a partition halted
//	back, err := ledger.Rewind(ctx, func(offsets.Row) int64 { return 0 }, partitions...)
//
// Claims and advances are package consumer's, which is built on the rest:
//
// [Init] makes the schema, or [SQL] prints it for a DBA; the functions in it are the
// protocol's statements. A process opens one pool with [NewPool], makes the rows
// that are missing with [Ledger.Begin], claims with [Ledger.Claim], and begins each
// transaction with [Ledger.Advance]. An error of COMMIT that is not a definite error
// of the server goes to [Ledger.Resolve].
package offsets
