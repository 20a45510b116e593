/* The process of a group's member: its lanes (package consumer), its writer (internal/engine). */

#ifdef LIVE
byte stopped[M];	/* the process does nothing, and says nothing, any more */
bool cut[M];		/* it hears nothing of Kafka */
#define AWAKE(m) (stopped[m] == 0)
#define HEARS(m) (stopped[m] == 0 && cut[m] == 0)
/* offsets/wait.go ends sessions that have been in their transaction for long: of a process that has stopped,
 * or that nobody listens to. */
#define STUCK(k) ((k) >= M || stopped[k] != 0)
#else
#define AWAKE(m) true
#define HEARS(m) true
#define STUCK(k) true	/* anybody may be slow */
#endif

#define INFLIGHT(m,p) (tx[m].state != NONE && tx[m].step[p].in)

/* Rule 3: at once if the row names my claim, or where I never had one; else with a word of the group. */
#if defined(ZOMBIE_RECLAIMS)
#define MAY_CLAIM(m,p) true
#elif defined(LOSER_WAITS)
#define MAY_CLAIM(m,p) (LANE(m,p).claim == 0 || row[p].claim == LANE(m,p).claim)
#else
#define MAY_CLAIM(m,p) (LANE(m,p).claim == 0 || row[p].claim == LANE(m,p).claim || HEARS(m) && assigned[p] == m)
#endif

inline forget(m, p) {
	LANE(m,p).fence = 0; LANE(m,p).claim = 0; LANE(m,p).position = 0; LANE(m,p).topic = 0
#ifdef COUNTER
	; LANE(m,p).count = 0
#endif
}

/* A transaction of which the sender will not hear any more: what is on its way may arrive late. */
inline turn_away(m) {
	if
	:: !tx[m].commit || tx[m].state == DONE || tx[m].state == FENCED || tx[m].state == UNDONE -> unlock(m)
	:: else ->
		tx[M+m].state = tx[m].state; tx[M+m].commit = true; tx[M+m].dead = tx[m].dead; tx[M+m].again = tx[m].again;
		for (j : 0 .. P-1) {
			tx[M+m].step[j].in = tx[m].step[j].in; tx[M+m].step[j].fence = tx[m].step[j].fence; tx[M+m].step[j].claim = tx[m].step[j].claim;
			tx[M+m].step[j].from = tx[m].step[j].from; tx[M+m].step[j].expected = tx[m].step[j].expected;
			tx[M+m].step[j].target = tx[m].step[j].target; tx[M+m].step[j].topic = tx[m].step[j].topic; tx[M+m].step[j].lost = tx[m].step[j].lost;
#ifdef COUNTER
			tx[M+m].step[j].count = tx[m].step[j].count;
#endif
			if
			:: lock[j] == m+1 -> lock[j] = M+m+1
			:: else
			fi
		}
		j = 0
	fi;
	clear(m)
}
#define CAN_TURN_AWAY(m) (tx[M+m].state == NONE)

#ifdef START
/* makeFirstPositions in consumer/claim.go, oncesink.first_positions: `start: latest` */
inline oncesink_first_positions(p) {
	printf("0 begins at %d\n", produced);
	assert(NoGap || begun[p] == 0 || produced < begun[p]);
	row[p].there = true; row[p].position = produced; row[p].claim = 0; row[p].topic = 0;
	row[p].rows = row[p].rows | BITS(0, 0, produced);
	begun[p] = (begun[p] == 0 -> produced + 1 : begun[p]);
	refence(p);
#ifndef BEGIN_ASYNC
	oncesink_durable()
#endif
}
#endif

/* oncesink.claim, of one partition: what is claimed together is claimed row by row. */
inline oncesink_claim(m, p) {
	refence(p);
	row[p].claim = row[p].fence;
#ifndef CLAIM_ASYNC
	oncesink_durable();
#endif
	printf("member %d: claims %d at %d with fence %d\n", m, p, row[p].position, row[p].fence)
}

inline run_lane(m, p) {
	LANE(m,p).claim = row[p].claim; LANE(m,p).fence = row[p].fence; LANE(m,p).position = row[p].position; LANE(m,p).held = true;
#ifdef COUNTER
	LANE(m,p).count = row[p].count;
#endif
#ifdef CRASH
	last[p] = row[p].claim;
#endif
	LANE(m,p).state = RUNNING
}

#ifdef LATE_SIGHT
#define SIGHT(m,p) LANE(m,p).fence = row[p].fence
#else
#define SIGHT(m,p) skip
#endif
inline halt(m, p, why) {
	printf("member %d: halts %d: %e\n", m, p, why);
	LANE(m,p).state = HALTED
}
mtype = { recreated, no_row }

proctype lane(byte m; byte p) {
end:	do
	/* adjust in consumer/assign.go: the group gives it */
	:: d_step { HEARS(m) && assigned[p] == m && LANE(m,p).state == CLOSED -> LANE(m,p).state = CLAIMING }

	/* drop in consumer/assign.go: the group has taken it; a transaction in flight is waited for, or cancelled */
	:: d_step { HEARS(m) && assigned[p] != m && LANE(m,p).state != CLOSED && (!INFLIGHT(m,p) || CAN_TURN_AWAY(m)) ->
		printf("member %d: lets go of %d\n", m, p);
		if
		:: INFLIGHT(m,p) ->
			for (i : 0 .. P-1) {
				if
				:: tx[m].step[i].in -> LANE(m,i).state = CLAIMING
				:: else
				fi
			}
			i = 0;
			turn_away(m)
		:: else
		fi;
		forget(m, p);
		LANE(m,p).state = CLOSED }

	/* askWhetherWeMay in consumer/membership.go, lookUpTopics in consumer/claim.go */
	:: d_step { AWAKE(m) && LANE(m,p).state == CLAIMING && !INFLIGHT(m,p) && row[p].there && MAY_CLAIM(m,p) ->
		LANE(m,p).fence = row[p].fence; /* a.row: what a lane that halts because of its row compares with later */
		LANE(m,p).topic = topic;
		LANE(m,p).state = ASKED }

	/* judge in consumer/claim.go: a row that is gone is not made again by who held it */
	:: d_step { AWAKE(m) && LANE(m,p).state == CLAIMING && !INFLIGHT(m,p) && !row[p].there && LANE(m,p).held ->
#ifdef BEGIN_AGAIN
		oncesink_first_positions(p)
#else
		LANE(m,p).fence = 0;
		halt(m, p, no_row)
#endif
		}
#ifdef START
	:: d_step { AWAKE(m) && LANE(m,p).state == CLAIMING && !INFLIGHT(m,p) && !row[p].there && !LANE(m,p).held ->
		oncesink_first_positions(p) }
#endif

	/* Ledger.Claim: whoever holds the row is waited for, and ended if it is stuck */
	:: d_step { AWAKE(m) && LANE(m,p).state == ASKED && lock[p] == 0 ->
		if
		:: !row[p].there -> SIGHT(m,p); halt(m, p, no_row)
#ifndef BY_NAME
		:: row[p].there && row[p].topic != LANE(m,p).topic -> SIGHT(m,p); halt(m, p, recreated)
#endif
		:: else -> oncesink_claim(m, p); run_lane(m, p)
		fi }
#ifndef NO_TERMINATE
	:: d_step { AWAKE(m) && LANE(m,p).state == ASKED && lock[p] != 0 && STUCK(lock[p]-1) ->
		token = lock[p]-1;
		printf("member %d: ends session %d\n", m, token);
		if
		:: token < M && tx[token].commit -> tx[token].doubt = true
		:: else
		fi;
		over(token, UNDONE);
		token = 0 }
#endif

#ifndef NO_WATCH
	/* watchOnce in consumer/watch.go */
	:: d_step { AWAKE(m) && (LANE(m,p).state == RUNNING && !INFLIGHT(m,p) && (row[p].fence != LANE(m,p).fence || row[p].position != LANE(m,p).position) ||
			LANE(m,p).state == HALTED && row[p].there && row[p].fence != LANE(m,p).fence) ->
		printf("member %d: sees that %d was moved\n", m, p);
		LANE(m,p).state = CLAIMING }
#endif

#if defined(RECREATE) && !defined(BY_NAME)
	/* dispatch in consumer/dispatch.go */
	:: d_step { AWAKE(m) && LANE(m,p).state == RUNNING && !INFLIGHT(m,p) && LANE(m,p).topic != topic ->
		halt(m, p, recreated) }
#endif
	od
}

#define READY(m,p) (LANE(m,p).state == RUNNING && LANE(m,p).position < END)
#if P == 1
#define ANY_READY(m) READY(m,0)
#else
#define ANY_READY(m) (READY(m,0) || READY(m,1))
#endif

/* stepsOf in internal/engine/job.go: what the lanes have, n records of each at most. */
inline send(m, n) {
	tx[m].state = SENT;
	for (i : 0 .. P-1) {
		if
		:: READY(m,i) ->
			name_step(m, i);
			tx[m].step[i].from = LANE(m,i).position;
			tx[m].step[i].target = (LANE(m,i).position + n > END -> END : LANE(m,i).position + n);
			printf("member %d: sends %d: %d to %d with fence %d\n", m, i, tx[m].step[i].from, tx[m].step[i].target, tx[m].step[i].fence)
		:: else
		fi
	}
	i = 0
}

inline name_step(m, p) {
	tx[m].step[p].in = true; tx[m].step[p].fence = LANE(m,p).fence; tx[m].step[p].claim = LANE(m,p).claim;
	tx[m].step[p].expected = LANE(m,p).position;
#ifdef BY_NAME
	tx[m].step[p].topic = topic;
#else
	tx[m].step[p].topic = LANE(m,p).topic;
#endif
#ifdef COUNTER
	tx[m].step[p].count = LANE(m,p).count
#endif
}

/* What became of a transaction comes home to its lanes: settle in consumer/writer.go. */
inline answered(m) {
	for (i : 0 .. P-1) {
		if
		:: tx[m].step[i].in && tx[m].state == DONE ->
#ifdef OFFSET_AFTER
			if
			:: STANDS(i, tx[m].step[i]) -> row[i].position = tx[m].step[i].target
			:: else
			fi;
#endif
#ifdef OFFSET_BEFORE
			row[i].rows = row[i].rows | BITS(tx[m].step[i].topic, tx[m].step[i].from, tx[m].step[i].target);
#endif
			LANE(m,i).position = tx[m].step[i].target
		:: tx[m].step[i].in && tx[m].state == FENCED && tx[m].step[i].lost -> LANE(m,i).state = CLAIMING
		:: else /* written again: another partition was fenced, or nothing is there */
		fi
	}
	i = 0;
	clear(m)
}

#ifdef ANY_TOPIC
#define OTHER_TOPIC(m,i) false
#else
#define OTHER_TOPIC(m,i) (row[i].topic != tx[m].step[i].topic)
#endif
#ifdef ANY_FENCE
#define UNDER_FENCE(m,i) true
#else
#define UNDER_FENCE(m,i) (row[i].fence == tx[m].step[i].fence)
#endif

/* Ledger.Resolve, oncesink.resolve, and resolved in internal/engine/job.go. heard: the answer arrives. */
inline oncesink_resolve(m, heard) {
	if
	:: tx[m].state == OPEN -> over(m, UNDONE) /* its own old session */
	:: else
	fi;
	committed = false;
	for (i : 0 .. P-1) {
		if
		:: tx[m].step[i].in && row[i].claim == tx[m].step[i].claim && row[i].position == tx[m].step[i].target && UNDER_FENCE(m,i) -> committed = true
		:: else
		fi
	}
	printf("member %d: resolves: committed %d\n", m, committed);
	assert(KnownOutcome || !committed || tx[m].state == DONE);
	for (i : 0 .. P-1) {
		lost = false;
		if
		:: !tx[m].step[i].in
		:: else ->
			if
			:: row[i].claim == tx[m].step[i].claim ->
#ifndef SAME_FENCE
				refence(i);
#endif
				if
				:: heard -> LANE(m,i).fence = row[i].fence
				:: else
				fi;
				lost = (row[i].position != tx[m].step[i].expected || OTHER_TOPIC(m,i))
			:: else -> lost = true
			fi;
			if
			:: heard && committed -> LANE(m,i).position = tx[m].step[i].target
			:: heard && !committed && lost -> LANE(m,i).state = CLAIMING
			:: else /* the same records again, under the new fence */
			fi
		fi
	}
	i = 0; lost = false;
#ifndef RESOLVE_ASYNC
	oncesink_durable();
#endif
	if
	:: heard ->
		if
		:: tx[m].state == SENT -> turn_away(m); tx[M+m].buried = !committed
		:: else -> clear(m)
		fi
	:: else
	fi;
	committed = false
}
#if P == 1
#define LOCKABLE(m,p) (!tx[m].step[p].in || lock[p] == 0 || lock[p] == m+1)
#define CAN_RESOLVE(m) (LOCKABLE(m,0) && CAN_TURN_AWAY(m))
#else
#define LOCKABLE(m,p) (!tx[m].step[p].in || lock[p] == 0 || lock[p] == m+1)
#define CAN_RESOLVE(m) (LOCKABLE(m,0) && LOCKABLE(m,1) && CAN_TURN_AWAY(m))
#endif

#if defined(NO_REREAD) || defined(BELOW)
/* Mutants of it: the same records again, from wherever the row stands. */
inline blindly(m) {
	if
	:: tx[m].state == OPEN -> over(m, UNDONE)
	:: else
	fi;
	committed = false; lost = false;
	for (i : 0 .. P-1) {
		if
		:: tx[m].step[i].in && row[i].claim == tx[m].step[i].claim ->
#ifdef BELOW
			if
			:: row[i].position == tx[m].step[i].target -> committed = true; LANE(m,i).position = row[i].position
			:: else
			fi;
#endif
			refence(i); LANE(m,i).fence = row[i].fence; tx[m].step[i].fence = row[i].fence;
			tx[m].step[i].expected = row[i].position
		:: tx[m].step[i].in && row[i].claim != tx[m].step[i].claim -> LANE(m,i).state = CLAIMING; lost = true
		:: else
		fi
	}
	i = 0;
	oncesink_durable();
	printf("member %d: sends the same again, whatever it finds\n", m);
	if
	:: committed || lost -> clear(m)
	:: else -> tx[m].state = SENT; tx[m].commit = false; tx[m].doubt = false
	fi;
	committed = false; lost = false
}
#endif

proctype writer(byte m) {
end:	do
	:: d_step { AWAKE(m) && tx[m].state == NONE && ANY_READY(m) -> send(m, 1) }
#if BATCH > 1
	:: d_step { AWAKE(m) && tx[m].state == NONE && ANY_READY(m) -> send(m, BATCH) }
#endif
#ifdef LETTERS
	/* a record that the tables refuse */
	:: d_step { AWAKE(m) && tx[m].state == NONE && ANY_READY(m) && LANE(m,0).position == 0 -> send(m, 1); tx[m].dead = true }
	/* retrySome in consumer/retry.go */
	:: d_step { AWAKE(m) && tx[m].state == NONE && LANE(m,0).state == RUNNING && row[0].letter == RETRY ->
		printf("member %d: tries the letter again\n", m);
		tx[m].state = SENT; tx[m].again = true; name_step(m, 0); tx[m].step[0].target = LANE(m,0).position }
#endif
	:: d_step { AWAKE(m) && (tx[m].state == SENT || tx[m].state == OPEN) && !tx[m].commit -> tx[m].commit = true }
	:: d_step { AWAKE(m) && tx[m].state >= DONE && !tx[m].doubt -> answered(m) }

	/* Rule 6 */
#if defined(NO_REREAD) || defined(BELOW)
	/* sent again as a new transaction, under what the ledger has now */
	:: d_step { AWAKE(m) && tx[m].doubt && !tx[m].again && CAN_RESOLVE(m) -> blindly(m) }
#elif defined(UNKNOWN_IS_DONE)
	:: d_step { AWAKE(m) && tx[m].doubt && !tx[m].again && CAN_TURN_AWAY(m) ->
		assert(KnownOutcome || tx[m].state == DONE);
		for (i : 0 .. P-1) {
			if
			:: tx[m].step[i].in -> LANE(m,i).position = tx[m].step[i].target
			:: else
			fi
		}
		i = 0;
		turn_away(m) }
#else
	:: d_step { AWAKE(m) && tx[m].doubt && !tx[m].again && CAN_RESOLVE(m) -> oncesink_resolve(m, true) }
#endif
#ifdef LETTERS
	/* Rule 30: of letters the next claim tells, which waits until it is over */
	:: d_step { AWAKE(m) && tx[m].doubt && tx[m].again && CAN_TURN_AWAY(m) -> LANE(m,0).state = CLAIMING; turn_away(m) }
#endif
	od
}
