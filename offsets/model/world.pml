/* What surrounds the processes: sessions of PostgreSQL, the group's coordinator, what breaks, and people. */

/* A session of PostgreSQL. */
proctype session(byte k) {
end:	do
	:: d_step { tx[k].state == SENT && FREE(k) -> oncesink_advance(k) }
	/* 55P03: a lock that is not had in time counts as a lost fence */
	:: d_step { tx[k].state == SENT && !FREE(k) ->
		printf("session %d: advance: 55P03\n", k);
		for (j : 0 .. P-1) { tx[k].step[j].lost = tx[k].step[j].in }
		j = 0;
		over(k, FENCED) }
	:: d_step { tx[k].state == OPEN && tx[k].commit -> commits(k) }
	/* one that nobody listens to may end otherwise: it is noticed, or the request never comes */
	:: d_step { k >= M && (tx[k].state == SENT || tx[k].state == OPEN) ->
		printf("session %d: gone\n", k);
		over(k, UNDONE) }
	od
}

/* The coordinator: gives partitions to other members, as they join and leave, and takes them from who is not heard of. */
proctype group() {
	byte moves = MOVES;
	byte p, to;
end:	do
	:: d_step { moves > 0 && P == 1 -> moves--; assigned[0] = (assigned[0] + 1) % M; printf("group: 0 is %d's\n", assigned[0]) }
#if P > 1
	:: d_step { moves > 0 -> moves--; assigned[0] = (assigned[0] + 1) % M; printf("group: 0 is %d's\n", assigned[0]) }
	:: d_step { moves > 0 -> moves--; assigned[1] = (assigned[1] + 1) % M; printf("group: 1 is %d's\n", assigned[1]) }
#endif
#ifdef LIVE
	:: d_step { !HEARS(assigned[0]) -> assigned[0] = (assigned[0] + 1) % M; printf("group: 0 is %d's, for who had it is not heard of\n", assigned[0]) }
#endif
	od
}

#define RUNS(m) (M > (m))

/* The server has crashed, or its standby has taken over: what was not kept is gone, and every transaction that was open. What
 * is on its way, in a pooler say, may arrive all the same. */
inline crash() {
	for (i : 0 .. P-1) { copy(disk[i], row[i]) }
	i = 0;
	for (token : 0 .. SESSIONS-1) {
		if
		:: tx[token].state == OPEN ->
			tx[token].doubt = tx[token].commit;
			over(token, UNDONE)
		:: else
		fi
	}
	token = 0
}

/* The process is killed, and another one takes its place. */
inline die(m) {
	printf("member %d: dies\n", m);
	turn_away(m);
	for (i : 0 .. P-1) { LANE(m,i).state = CLOSED; LANE(m,i).held = false; forget(m, i) }
	i = 0
}

byte faults = FAULTS;	/* that are still to come */

/* What happens to one process and its connections. */
proctype breaks(byte m) {
end:	do
	/* the connection breaks after COMMIT was sent */
	:: d_step { faults > 0 && tx[m].state != NONE && tx[m].commit && !tx[m].doubt -> faults--;
		printf("member %d: hears nothing of its COMMIT\n", m);
		tx[m].doubt = true }
#ifdef DEATHS
	:: d_step { faults > 0 && CAN_TURN_AWAY(m) -> faults--; die(m) }
#endif
#ifdef LOST_ANSWERS
	/* a claim, or a resolution, is committed and its answer lost */
	:: d_step { faults > 0 && LANE(m,0).state == ASKED && lock[0] == 0 && row[0].there && row[0].topic == LANE(m,0).topic -> faults--;
		oncesink_claim(m, 0); LANE(m,0).state = CLAIMING }
	:: d_step { faults > 0 && tx[m].doubt && !tx[m].again && CAN_RESOLVE(m) -> faults--; oncesink_resolve(m, false) }
#endif
#ifdef LIVE
	/* for a while, or (member 0) for ever */
	:: d_step { faults > 0 && stopped[m] == 0 -> faults--; printf("member %d: stops\n", m); stopped[m] = 1 }
	:: d_step { stopped[m] == 1 -> printf("member %d: wakes up\n", m); stopped[m] = 0 }
	:: d_step { faults > 0 && cut[m] == 0 -> faults--; printf("member %d: is cut off from Kafka\n", m); cut[m] = 1 }
	:: d_step { cut[m] == 1 -> printf("member %d: hears of Kafka\n", m); cut[m] = 0 }
	:: d_step { faults > 0 && stopped[m] == 0 && m == 0 -> faults--; printf("member %d: stops for ever\n", m); stopped[m] = 2 }
	:: d_step { faults > 0 && cut[m] == 0 && m == 0 -> faults--; printf("member %d: is cut off from Kafka for ever\n", m); cut[m] = 2 }
#endif
	od
}

#if defined(CRASH) || defined(FAILOVER)
proctype storage() {
end:	do
	:: d_step { faults > 0 -> faults--; printf("the server: back to what was kept\n"); crash() }
	/* what nobody waits for is kept as well, some time */
	:: d_step { faults > 0 -> flush() }
	od
}
#endif

#ifdef RECREATE
proctype kafka() {
	d_step { topic = 1; printf("Kafka: the topic is made anew\n") }
}
#endif

#ifdef START
proctype producer() {
end:	do
	:: d_step { produced < E -> produced++; printf("Kafka: record %d\n", produced-1) }
	:: produced == E -> break
	od
}
#endif

inline oncesink_rewind(p, to) {
	printf("person: rewinds %d from %d to %d\n", p, row[p].position, to);
	row[p].rows = row[p].rows & ~BITS(row[p].topic, to, E); /* to be written again */
	row[p].position = to;
	refence(p);
	oncesink_durable()
}

inline oncesink_accept_gap(p, to) {
	printf("person: accepts the gap of %d from %d to %d\n", p, row[p].position, to);
	row[p].rows = row[p].rows | BITS(row[p].topic, row[p].position, to); /* to be done without */
	row[p].position = to;
	refence(p);
	oncesink_durable()
}

inline oncesink_adopt(p) {
	printf("person: adopts the new topic\n");
	row[p].topic = topic;
	row[p].position = 0;
#ifndef ADOPT_KEEPS_FENCE
	refence(p);
#endif
	oncesink_durable()
}

#if WISHES > 0
proctype person() {
	byte n = WISHES;
end:	do
#ifdef OPERATORS
	:: d_step { n > 0 && lock[0] == 0 && row[0].position > 0 -> n--; oncesink_rewind(0, 0) }
	:: d_step { n > 0 && lock[0] == 0 && row[0].position > 1 -> n--; oncesink_rewind(0, row[0].position-1) }
	:: d_step { n > 0 && lock[0] == 0 && row[0].position < E -> n--; oncesink_accept_gap(0, row[0].position+1) }
	/* pause, resume, accept_dead_letters, accept_mappings: what they do to the protocol */
	:: d_step { n > 0 && lock[0] == 0 -> n--; printf("person: a new fence\n"); refence(0); oncesink_durable() }
#endif
#ifdef RECREATE
	:: d_step { lock[0] == 0 && row[0].topic != topic -> oncesink_adopt(0) }
#endif
#ifdef LETTERS
	:: d_step { n > 0 && lock[0] == 0 && row[0].letter == NEW -> n--; printf("person: try the letter again\n"); row[0].letter = RETRY }
	:: d_step { n > 0 && lock[0] == 0 && (row[0].letter == NEW || row[0].letter == RETRY) -> n--; printf("person: discard the letter\n"); row[0].letter = DISCARDED }
#endif
#ifdef VANISH
	:: d_step { n > 0 && lock[0] == 0 && row[0].there -> n--; printf("person: deletes the row\n");
		row[0].there = false; row[0].position = 0; row[0].fence = 0; row[0].claim = 0 }
#endif
	od
}
#endif
