/* What there is: rows, transactions, lanes, the log. */

typedef Row {
	byte position;	/* next_offset: the position */
	byte fence;
	byte claim;
	byte topic;	/* topic_id, and with it the generation */
	bool there;
	byte rows;	/* of the tables, not of the ledger: which records are written, a bit each */
#ifdef LETTERS
	byte letter;	/* the dead letter of record 0, in the same database */
#endif
#ifdef COUNTER
	byte count;	/* a counter in place of the fence */
#endif
};
Row row[P];	/* committed: what everybody sees */
Row disk[P];	/* what comes back after a crash, or on the standby */
#ifdef CRASH
byte last[P];	/* the claim that was answered last, whatever the server forgets */
#endif
byte lock[P];	/* who has the row locked: a session plus 1 */

/* States of a transaction. */
#define NONE 0
#define SENT 1		/* on its way */
#define OPEN 2		/* its first statement, advance or hold, has run: it has the locks */
#define DONE 3		/* committed */
#define FENCED 4	/* aborted by OS001 or 55P03 */
#define UNDONE 5	/* rolled back */

typedef Step {		/* offsets.Step, and which records there are */
	bool in;
	byte fence;
	byte claim;
	byte from;	/* the first record */
	byte expected;	/* Claim.Position */
	byte target;	/* To */
	byte topic;	/* whose records they are */
	bool lost;	/* does not stand where it is expected */
#ifdef COUNTER
	byte count;
#endif
};
typedef Tx {
	byte state;
	bool commit;	/* COMMIT is sent */
	bool doubt;	/* its sender heard nothing: unknown */
	bool buried;	/* a resolution has said that it did not, and will not, commit */
	bool dead;	/* a record is refused: it becomes a letter */
	bool again;	/* a letter is tried again: hold, in place of advance */
	Step step[P];
};
/* A process has the session of its number, and that of its number plus M for a transaction that nobody
 * listens to any more. */
#define SESSIONS (2*M)
Tx tx[SESSIONS];

/* States of a dead letter. */
#define NEW 1
#define RETRY 2
#define RESOLVED 3
#define DISCARDED 4

/* Scratch, 0 between actions. */
byte i, j, token, old;
bool taken, lost, committed;

/* States of a lane, as in consumer/lane.go. */
#define CLOSED 0
#define CLAIMING 1
#define ASKED 2		/* claiming, and it has heard that it may */
#define RUNNING 3
#define HALTED 4

typedef Lane {
	byte state;
	byte fence;	/* of the claim; while it is claimed, or halts because of its row: of the row, as it was looked at */
	byte claim;
	byte position;
	byte topic;
	bool held;	/* this process has had the partition: wasHeld */
#ifdef COUNTER
	byte count;
#endif
};
Lane lanes[M*P];
#define LANE(m,p) lanes[(m)*P+(p)]

byte assigned[P];	/* by the group's coordinator */
byte topic;		/* the topic's id in Kafka */
#ifdef START
byte produced;		/* the log's end */
byte begun[P];		/* the first position that there ever was, plus 1 */
#define END produced
#else
#define END E
#endif
