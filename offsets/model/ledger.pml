/* PostgreSQL: the ledger's rows, what the tables have, and transactions. The inlines are the SQL
 * functions of offsets/sql, under their names. */

#define BITS(topic,from,to) ((((1<<(to))-1) & ~((1<<(from))-1)) << ((topic)*E))

#if P == 1
#define EACH(f) (f(0))
#else
#define EACH(f) (f(0) && f(1))
#endif
#define FREE0(k,p) (!tx[k].step[p].in || lock[p] == 0)
#if P == 1
#define FREE(k) FREE0(k,0)
#else
#define FREE(k) (FREE0(k,0) && FREE0(k,1))
#endif

/* A uuid that nobody has: the least token that stands nowhere, so that their number is bounded. What is
 * random meets nothing that was drawn before, whatever the database has forgotten. */
inline draw() {
	token = 0;
	do
	:: token++;
	   taken = false;
	   for (j : 0 .. P-1) {
		taken = taken || row[j].fence == token || row[j].claim == token || disk[j].fence == token || disk[j].claim == token;
		for (old : 0 .. M-1) {
			taken = taken || LANE(old,j).fence == token || LANE(old,j).claim == token
		}
		for (old : 0 .. SESSIONS-1) {
			taken = taken || tx[old].step[j].fence == token || tx[old].step[j].claim == token
		}
#ifdef CRASH
		taken = taken || last[j] == token
#endif
	   }
	   if
	   :: taken
	   :: else -> break
	   fi
	od;
	taken = false; j = 0; old = 0
}

/* A row's new fence. */
inline refence(p) {
	draw();
	row[p].fence = token; token = 0;
#ifdef COUNTER
	row[p].count++
#endif
}

inline copy(from, to) {
	to.position = from.position; to.fence = from.fence; to.claim = from.claim; to.topic = from.topic; to.there = from.there; to.rows = from.rows;
#ifdef LETTERS
	to.letter = from.letter;
#endif
#ifdef COUNTER
	to.count = from.count;
#endif
}

inline keep(p) {
#if defined(CRASH) || defined(FAILOVER)
	copy(row[p], disk[p])
#else
	skip
#endif
}

/* The log of the database reaches the disk, or the standby, up to here. */
inline flush() { for (j : 0 .. P-1) { keep(j) } j = 0 }

/* With FAILOVER a standby lags behind whatever the primary waited for. */
inline oncesink_durable() {
#ifdef CRASH
	flush()
#else
	skip
#endif
}

inline unlock(k) {
	for (j : 0 .. P-1) {
		if
		:: lock[j] == k+1 -> lock[j] = 0
		:: else
		fi
	}
	j = 0
}

inline clear(k) {
	tx[k].state = NONE; tx[k].commit = false; tx[k].doubt = false; tx[k].buried = false; tx[k].dead = false; tx[k].again = false;
	for (j : 0 .. P-1) {
		tx[k].step[j].in = false; tx[k].step[j].fence = 0; tx[k].step[j].claim = 0; tx[k].step[j].from = 0;
		tx[k].step[j].expected = 0; tx[k].step[j].target = 0; tx[k].step[j].topic = 0; tx[k].step[j].lost = false;
#ifdef COUNTER
		tx[k].step[j].count = 0;
#endif
	}
	j = 0
}

/* A transaction is over. Of one that nobody listens to nothing remains. */
inline over(k, how) {
	unlock(k);
	if
	:: k >= M -> clear(k)
	:: else -> tx[k].state = how
	fi
}

/* What advance compares. */
#define STANDS(p,s) (row[p].there && row[p].fence == s.fence && row[p].position == s.expected)
#if defined(BLIND_SET) || defined(GREATEST)
#define MATCHES(p,s) (row[p].there)
#elif defined(NO_FENCE)
#define MATCHES(p,s) (row[p].there && row[p].position == s.expected)
#elif defined(FENCE_ONLY)
#define MATCHES(p,s) (row[p].there && row[p].fence == s.fence)
#elif defined(COUNTER)
#define MATCHES(p,s) (row[p].there && row[p].count == s.count && row[p].position == s.expected)
#elif defined(REINSERT)
#define MATCHES(p,s) (!row[p].there || STANDS(p,s))
#else
#define MATCHES(p,s) STANDS(p,s)
#endif

#ifdef NO_HOLD
#define HOLDS(k) (!tx[k].again)
#else
#define HOLDS(k) true
#endif

/* The first statement: oncesink.advance, or oncesink.hold where a letter is tried again. Whoever does not
 * match makes the server raise OS001. */
inline oncesink_advance(k) {
	lost = false;
	for (j : 0 .. P-1) {
		if
		:: tx[k].step[j].in && !MATCHES(j, tx[k].step[j]) && HOLDS(k) -> tx[k].step[j].lost = true; lost = true
		:: else
		fi
	}
	j = 0;
#ifdef NO_ABORT
	lost = false;
#endif
	if
	:: lost -> printf("session %d: advance: OS001\n", k); over(k, FENCED)
#if defined(LETTERS) && !defined(NO_TAKE)
	/* statement.TakeRequests: the letter is locked, and must still be asked for */
	:: !lost && tx[k].again && row[0].letter != RETRY -> printf("session %d: the letter is settled\n", k); over(k, UNDONE)
#endif
	:: else ->
		printf("session %d: advance: the locks are had\n", k);
		tx[k].state = OPEN;
		for (j : 0 .. P-1) {
			if
			:: tx[k].step[j].in && HOLDS(k) -> lock[j] = k+1
			:: else
			fi
		}
		j = 0
	fi;
	lost = false
}

inline commits(k) {
	printf("session %d: COMMIT\n", k);
	assert(KnownOutcome || !tx[k].buried);
	for (i : 0 .. P-1) {
		if
		:: tx[k].step[i].in ->
			assert(LastOwner || row[i].fence == tx[k].step[i].fence);
#ifdef CRASH
			assert(LastOwner || last[i] == tx[k].step[i].claim);
#endif
			apply(k, i)
		:: else
		fi
	}
	i = 0;
	over(k, DONE)
}

/* The effects of a transaction on a partition. */
inline apply(k, p) {
#ifdef LETTERS
	if
	:: tx[k].again ->
		assert(StillWanted || row[p].letter == RETRY);
		if
		:: tx[k].dead -> row[p].letter = NEW
		:: else ->
			row[p].letter = RESOLVED;
			if /* what is to be read again, since a rewind, is not counted */
			:: row[p].position > 0 -> assert(NoDup || (row[p].rows & 1) == 0); row[p].rows = row[p].rows | 1
			:: else
			fi
		fi
	:: else ->
#endif
	old = row[p].position;
	/* the rows */
#ifdef LETTERS
	if
	:: tx[k].dead ->
		/* statement.KeepLetters: that a person has discarded it stays */
		row[p].letter = (row[p].letter == DISCARDED -> DISCARDED : NEW)
	:: else ->
		/* statement.ResolveLetters */
		if
		:: tx[k].step[p].from == 0 && (row[p].letter == NEW || row[p].letter == RETRY) -> row[p].letter = RESOLVED
		:: else
		fi;
#endif
#ifndef OFFSET_BEFORE
		assert(NoDup || (row[p].rows & BITS(tx[k].step[p].topic, tx[k].step[p].from, tx[k].step[p].target)) == 0);
		row[p].rows = row[p].rows | BITS(tx[k].step[p].topic, tx[k].step[p].from, tx[k].step[p].target);
#endif
#ifdef LETTERS
	fi;
#endif
	/* the position */
#ifdef GREATEST
	row[p].position = (tx[k].step[p].target > old -> tx[k].step[p].target : old);
#elif defined(NO_ABORT)
	row[p].position = (tx[k].step[p].lost -> old : tx[k].step[p].target);
#elif defined(OFFSET_AFTER)
	skip;
#else
	row[p].position = tx[k].step[p].target;
#endif
#ifdef REINSERT
	if
	:: !row[p].there -> row[p].there = true; row[p].fence = tx[k].step[p].fence; row[p].claim = tx[k].step[p].claim
	:: else
	fi;
#endif
	assert(NoRegress || row[p].position >= old);
	old = 0;
	whole(p)
#ifdef LETTERS
	fi
#endif
}

/* Which records the tables, and letters, have: those below the position, and no others. */
#ifdef LETTERS
#define LETTER(p) ((row[p].letter == NEW || row[p].letter == RETRY || row[p].letter == DISCARDED) -> 1 : 0)
#else
#define LETTER(p) 0
#endif
inline whole(p) {
	assert(NoGap || !row[p].there || ((row[p].rows | LETTER(p)) & BITS(row[p].topic, 0, row[p].position)) == BITS(row[p].topic, 0, row[p].position));
	assert(Atomic || !row[p].there || (row[p].rows & BITS(row[p].topic, row[p].position, E)) == 0)
}
