/* The protocol of the ledger, as a model for Spin: what docs/semantics.md calls rules 1 to 8, 12, 21 and 30.
 *
 * docs/model.md says which function or statement of the program each inline here stands for, what the
 * bounds are, and how a counterexample is read. runs.txt has the configurations and the mutants, which
 * are what is set by -D below.
 *
 * Every action is one d_step: what PostgreSQL, Kafka or a process does without anybody seeing half of it.
 * Between two actions anybody may be as slow as he likes, so a paused process needs no action of its
 * own but where it stays paused for ever.
 */

/* Bounds. */
#ifndef M
#define M 2		/* processes */
#endif
#ifndef P
#define P 1		/* partitions, which share transactions */
#endif
#ifndef E
#define E 2		/* records of each */
#endif
#ifndef BATCH
#define BATCH 1		/* records that a transaction has at most, of each partition */
#endif
#ifndef FAULTS
#define FAULTS 0	/* connections, processes and servers that break */
#endif
#ifndef MOVES
#define MOVES 1		/* partitions that the group gives to another process */
#endif
#ifndef WISHES
#define WISHES 0	/* what people do: rewind, accept_gap, adopt, letters */
#endif

/* What is checked, one or (0) all. */
#ifndef ONLY
#define ONLY 0
#endif
#define OFF(n) (ONLY != 0 && ONLY != n)

/* A check reads assert(Name || what must be true), so that its name stands in Spin's message. Each is
 * false, unless another check alone is asked for. */
bool NoDup = OFF(1);		/* no record's rows are written twice, but for a rewind */
bool NoGap = OFF(2);		/* what lies below a position is written */
bool Atomic = OFF(3);		/* what lies above one is not */
bool NoRegress = OFF(4);	/* an advance moves forward */
bool LastOwner = OFF(5);	/* who writes has the fence that was drawn last */
bool KnownOutcome = OFF(6);	/* what a resolution, or an answer, says of a transaction is true, and stays true */
bool Owned = OFF(8);		/* when nothing is left to happen, every partition has its owner, and all is written */
bool StillWanted = OFF(7);	/* a letter is written only while somebody wants it */

#include "state.pml"
#include "ledger.pml"
#include "member.pml"
#include "world.pml"

init {
	byte n;
	d_step {
		for (n : 0 .. P-1) {
#ifndef START
			row[n].there = true;
#endif
			keep(n);
		}
	}
	atomic {
		for (n : 0 .. M-1) {
			run writer(n); run lane(n, 0)
#if P > 1
			; run lane(n, 1)
#endif
		}
		for (n : 0 .. 2*M-1) { run session(n) }
		run group();
#if FAULTS > 0
		for (n : 0 .. M-1) { run breaks(n) }
#endif
#if defined(CRASH) || defined(FAILOVER)
		run storage();
#endif
#ifdef RECREATE
		run kafka();
#endif
#ifdef START
		run producer();
#endif
#if WISHES > 0
		run person();
#endif
	}
}

/* A partition is settled when all is written, and the process to which the group gave it has it. */
#define SETTLED(p) (row[p].position == E && LANE(assigned[p],p).state == RUNNING && \
	LANE(assigned[p],p).fence == row[p].fence && LANE(assigned[p],p).position == E)
#ifndef VANISH
#if P == 1
#define ALL_SETTLED SETTLED(0)
#else
#define ALL_SETTLED (SETTLED(0) && SETTLED(1))
#endif
active proctype quiet() { timeout; assert(Owned || ALL_SETTLED) }
#endif

#ifdef LIVE
ltl owned { <> [] SETTLED(0) }
#endif
