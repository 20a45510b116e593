package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/sink"
)

// Rule 17: bisecting goes by records, and folds each half anew. The bad event of
// a key is not folded with the good one before it, whichever column it is bad in.
func TestBisectKeepsGoodEventOfKey(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key, version int, qty int check (qty > 0), note varchar(3))")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}, Version: "version"}}})
	var evs []ev
	for i := range int64(100) {
		evs = append(evs, ev{offset: i, cols: fmt.Sprintf("id=%d version=1 qty=1 note=a", i)})
	}
	evs = append(evs,
		ev{offset: 100, cols: "id=7 version=2 qty=2 note=b"},
		ev{offset: 101, cols: "id=7 version=3 qty=0 note=c"},
		ev{offset: 102, cols: "id=8 version=2 qty=2 note=toolong"},
		ev{offset: 103, cols: "id=9 version=2 qty=two note=c"},
		ev{offset: 104, cols: "id=10 version=2 qty=99999999999 note=c"},
		ev{offset: 105, cols: "id=11 version=2 qty=5 note=c"},
	)
	e.write(e.part("o", 0, evs...))
	db.Want("7|2|2|b\n8|1|1|a\n9|1|1|a\n10|1|1|a\n11|2|5|c", "select id, version, qty, note from q where id between 7 and 11 order by 1")
	db.Want("100", "select count(*) from q")
	db.Want("101|23514|public.q|-|q_qty_check\n102|22001|public.q|note|-\n103|22P02|public.q|qty|-\n104|22003|public.q|qty|-",
		`select "offset", code, target, column_name, constraint_name from oncesink.dead_letters order by 1`)
	db.Want("106", "select next_offset from oncesink.offsets")
}

// Rule 17: a record's rows in all tables succeed, or become one dead letter together.
func TestBisectTakesRecordWhole(t *testing.T) {
	db := newDatabase(t, "create table a (id int primary key)", "create table b (id int primary key, n int not null)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{
		{Name: "a", Topics: []string{"o"}, Key: []string{"id"}},
		{Name: "b", Topics: []string{"o"}, Key: []string{"id"}},
	}})
	both := func(offset int64, n string) []ev {
		return []ev{{offset: offset, cols: fmt.Sprintf("id=%d", offset)}, {offset: offset, table: "b", cols: fmt.Sprintf("id=%d n=%s", offset, n)}}
	}
	e.write(e.part("o", 0, append(append(both(1, "1"), both(2, "null")...), both(3, "3")...)...))
	db.Want("1\n3", "select id from a order by 1")
	db.Want("1\n3", "select id from b order by 1")
	db.Want("2|23502|public.b|n", `select "offset", code, target, column_name from oncesink.dead_letters`)
}

// Promise 5: the dead letter is the whole record. A replay meets it again and
// leaves its status as a person set it (rule 17).
func TestDeadLetterIsWhole(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}})
	bad := func() *decode.Part {
		p := e.part("o", 2, ev{offset: 5, cols: "id=x"}, ev{offset: 6, fault: &decode.Fault{Table: "public.q", Column: "id", Code: "ONS01", Message: "not JSON \x00\xff"}}, ev{offset: 7, cols: "id=3"})
		p.Records[0].Headers = []sink.Header{{Key: "trace", Value: []byte{0, 1}}, {Key: "null", Value: nil}, {Key: "bad\x00\xff", Value: []byte("x")}}
		p.Records[0].Key = []byte{0xff, 0}
		p.Records[1].Value, p.Records[1].Key, p.Records[1].Headers = nil, nil, nil
		p.Records[1].Timestamp = time.Unix(1<<52, 0)
		return p
	}
	e.write(bad())
	db.Do("set timezone = 'UTC'")
	db.Want(fmt.Sprintf(`g|%s|o|0|2|5|2023-11-14 22:13:25+00|\xff00|\x7b226964223a2278227d|[["trace", "AAE="], ["null", null], [null, "eA==", "YmFkAP8="]]|22P02|new`, topicID("o", 0))+"\n"+
		fmt.Sprintf("g|%s|o|0|2|6|-|-|-|[]|ONS01|new", topicID("o", 0)),
		`select sink_group, topic_id, topic, generation, partition, "offset", recorded, key, value, headers, code, status from oncesink.dead_letters order by "offset"`)
	db.Want("not JSON \uFFFD\uFFFD|public.q|id", "select message, target, column_name from oncesink.dead_letters where code = 'ONS01'")
	db.Do(`update oncesink.dead_letters set status = 'done' where "offset" = 5`)
	e.rewind("o", 2, 0)
	e.write(bad())
	db.Want("done\nnew", `select status from oncesink.dead_letters order by "offset"`)
}

// Rule 18: each SQLSTATE has its class.
func TestClassify(t *testing.T) {
	pg := func(code string, more ...string) error {
		e := &pgconn.PgError{Code: code, SchemaName: "public", ConstraintName: "c"}
		for _, m := range more {
			if m == "no constraint" {
				e.ConstraintName = ""
			} else {
				e.SchemaName = m
			}
		}
		return fmt.Errorf("wrapped: %w", e)
	}
	for _, tt := range []struct {
		err  error
		want pgerr.Class
	}{
		{pg("08006"), pgerr.Transient}, {pg("40001"), pgerr.Transient}, {pg("40P01"), pgerr.Transient}, {pg("53100"), pgerr.Transient}, {pg("53300"), pgerr.Transient},
		{pg("55P03"), pgerr.Transient}, {pg("57014"), pgerr.Transient}, {pg("57P01"), pgerr.Transient}, {pg("57P03"), pgerr.Transient}, {pg("25006"), pgerr.Transient},
		{pg("25P03"), pgerr.Transient}, {pg("25P04"), pgerr.Transient},
		{context.DeadlineExceeded, pgerr.Transient}, {errors.New("else"), pgerr.Unknown},
		{pg("22P02"), pgerr.Data}, {pg("22001"), pgerr.Data}, {pg("23502"), pgerr.Data}, {pg("23503"), pgerr.Data}, {pg("23505"), pgerr.Data}, {pg("23514"), pgerr.Data},
		{pg("23P01"), pgerr.Data}, {pg("54000"), pgerr.Data}, {pg("54001"), pgerr.Data}, {pg("P0001"), pgerr.Data}, {pg("44000"), pgerr.Data}, {sink.Poison(errors.New("x")), pgerr.Data},
		{pg("23514", "no constraint"), pgerr.Configuration}, {pg("42P01"), pgerr.Configuration}, {pg("42501"), pgerr.Configuration}, {pg("28P01"), pgerr.Configuration},
		{pg("3D000"), pgerr.Configuration}, {pg("3F000"), pgerr.Configuration},
		{pg("21000"), pgerr.Unknown}, {pg("0A000"), pgerr.Unknown}, {pg("XX000"), pgerr.Unknown}, {pg("58P01"), pgerr.Unknown}, {pg("55000"), pgerr.Unknown}, {pg("P0002"), pgerr.Unknown},
		{pg("OS001"), pgerr.Unknown}, {pg(""), pgerr.Unknown},
		// The engine's own tables: never a record's fault.
		{pg("23505", "oncesink"), pgerr.Unknown}, {pg("22001", "oncesink"), pgerr.Unknown}, {pg("P0001", "oncesink"), pgerr.Unknown},
	} {
		if got := pgerr.Classify(tt.err); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.err, got, tt.want)
		}
	}
}

// Rule 18: a missing parent is waited for; only then it is the record's fault.
func TestForeignKeyWait(t *testing.T) {
	setup := func(t *testing.T, wait time.Duration) *engine {
		db := newDatabase(t, "create table parent (id int primary key)", "create table child (id int primary key, parent int references parent)")
		return db.open(sink.Config{ForeignKeyWait: wait, Tables: []sink.TableConfig{{Name: "child", Topics: []string{"o"}, Key: []string{"id"}}}})
	}
	t.Run("the parent comes", func(t *testing.T) {
		e := setup(t, time.Hour)
		done := make(chan struct{})
		p := e.part("o", 0, ev{offset: 0, cols: "id=1 parent=7"})
		go func() {
			defer close(done)
			e.Write(t.Context(), []*decode.Part{p})
		}()
		// At least one attempt has failed before the parent is there.
		waitUntil(t, func() bool { return e.warnings() > 0 })
		e.db.Do("insert into parent values (7)")
		<-done
		e.db.Want("1|7", "select id, parent from child")
		e.db.Want("0", "select count(*) from oncesink.dead_letters")
	})
	t.Run("the parent does not come", func(t *testing.T) {
		e := setup(t, 300*time.Millisecond)
		start := time.Now()
		e.write(e.part("o", 0, ev{offset: 0, cols: "id=1 parent=7"}, ev{offset: 1, cols: "id=2"}))
		if d := time.Since(start); d < 300*time.Millisecond {
			t.Errorf("waited %v only", d)
		}
		e.db.Want("2|-", "select id, parent from child")
		e.db.Want("0|23503", `select "offset", code from oncesink.dead_letters`)
	})
}

// warnings is how often the sink had something to warn of.
func (e *engine) warnings() int {
	e.warned.Lock()
	defer e.warned.Unlock()
	if e.warned.at.IsZero() {
		return 0
	}
	return 1 + e.warned.count
}

// waitUntil waits for a condition, half a minute at most.
func waitUntil(t testing.TB, cond func() bool) {
	t.Helper()
	testenv.Eventually(t, 30*time.Second, "the condition comes true", cond)
}

// Rule 18: a deferred constraint is checked where the record can still be found,
// not at COMMIT; and it may be violated between the rows of one batch.
func TestDeferredConstraint(t *testing.T) {
	db := newDatabase(t, "create table tree (id int primary key, parent int references tree deferrable initially deferred)")
	e := db.open(sink.Config{ForeignKeyWait: time.Millisecond, Tables: []sink.TableConfig{{Name: "tree", Topics: []string{"o"}, Key: []string{"id"}}}})
	// The child's statement comes before the parent's: they have different fields.
	e.write(e.part("o", 0, ev{offset: 0, cols: "id=1 parent=2"}, ev{offset: 1, cols: "id=2"}))
	// After a bisection, too, whose halves are checked one by one.
	e.write(e.part("o", 0,
		ev{offset: 2, cols: "id=3 parent=99"},
		ev{offset: 3, cols: "id=4 parent=1"},
		ev{offset: 4, cols: "id=5 parent=6"},
		ev{offset: 5, cols: "id=6"}))
	db.Want("1|2\n2|-\n4|1\n5|6\n6|-", "select id, parent from tree order by 1")
	db.Want("2|23503", `select "offset", code from oncesink.dead_letters order by 1`)
}

// Rule 18: a row for which there is no partition is nobody's fault but the DBA's.
func TestNoPartitionForRow(t *testing.T) {
	db := newDatabase(t, "create table p (id int primary key) partition by range (id)", "create table p1 partition of p for values from (0) to (10)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "p", Topics: []string{"o"}, Key: []string{"id"}}}})
	out := e.Write(t.Context(), []*decode.Part{e.part("o", 0, ev{offset: 0, cols: "id=1"}, ev{offset: 1, cols: "id=11"})})
	var config *sink.ConfigError
	if !errors.As(out[0].Err, &config) || !strings.Contains(config.Fix, "partition") {
		t.Errorf("got %v, want a *ConfigError that speaks of partitions", out[0].Err)
	}
	db.Want("0|0", "select (select count(*) from p), (select count(*) from oncesink.dead_letters)")
	db.Do("create table p2 partition of p default")
	e.write(e.part("o", 0, ev{offset: 0, cols: "id=1"}, ev{offset: 1, cols: "id=11"}))
	db.Want("1\n11", "select id from p order by 1")
}

// Rule 18: what is too much for the server at once is written in halves, each a
// transaction with its positions.
func TestHalveWhatIsTooMuch(t *testing.T) {
	// A statement of more than four rows runs out of memory, of time, or of what a setting allows.
	for name, raise := range map[string]string{"53200": "raise exception using errcode = '53200', message = 'out of memory'", "53400": "raise exception using errcode = '53400', message = 'tuple decompression limit exceeded'",
		"57014": "perform pg_sleep(60)"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := newDatabase(t, "create table q (id int primary key)", `create function f() returns trigger language plpgsql as $$
				begin if (select count(*) from n) > 4 then `+raise+`; end if; return null; end $$`,
				"create trigger f after insert on q referencing new table as n for each statement execute function f()")
			e := db.open(sink.Config{StatementTimeout: 300 * time.Millisecond, Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}})
			var parts [2][]ev
			for i := range int64(9) {
				parts[0] = append(parts[0], ev{offset: 10 * i, cols: fmt.Sprintf("id=%d", i)})
				parts[1] = append(parts[1], ev{offset: 10 * i, cols: fmt.Sprintf("id=%d", 100+i)})
			}
			e.write(e.part("o", 0, parts[0]...), e.part("o", 1, parts[1]...))
			db.Want("18", "select count(*) from q")
			db.Want("81\n81", "select next_offset from oncesink.offsets")
		})
	}
}

// Rule 18: what a trigger raises is the record's, whatever the code, and its message reaches the dead letter;
// an error of another kind stops the partition, and no other one of the same transaction, unless neighbours
// show that it is the record's.
func TestTriggerErrors(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key)", `create function f() returns trigger language plpgsql as $$
		begin
			if new.id = 1 then raise exception 'no ones'; end if;
			if new.id = 5 then raise exception using errcode = 'check_violation', message = 'no fives'; end if;
			if new.id = 7 then assert false, 'no sevens'; end if;
			if new.id in (2, 8) then perform currval('drawn'); end if; -- 55000: not yet in this session
			return new;
		end $$`, "create trigger f before insert on q for each row execute function f()")
	db.Do("create sequence drawn")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}})
	e.write(e.part("o", 0, ev{offset: 0, cols: "id=1"}, ev{offset: 1, cols: "id=3"}))
	e.write(e.part("o", 0, ev{offset: 2, cols: "id=5"}))
	e.write(e.part("o", 0, ev{offset: 3, cols: "id=7"}))
	db.Want("0|P0001|no ones\n2|23514|no fives\n3|P0004|no sevens", `select "offset", code, message from oncesink.dead_letters order by 1`)

	out := e.Write(t.Context(), []*decode.Part{
		e.part("o", 0, ev{offset: 4, cols: "id=2"}),
		e.part("o", 1, ev{offset: 0, fault: &decode.Fault{Code: "22P02", Message: "no number"}}), // no neighbour in the table
	})
	var halt *sink.HaltError
	if !errors.As(out[0].Err, &halt) || out[1].Err != nil {
		t.Errorf("got %v and %v, want a *HaltError for the first and nothing for the second", out[0].Err, out[1].Err)
	}
	e.claims[out[1].Claim.Partition] = out[1].Claim
	e.write(e.part("o", 0, ev{offset: 4, cols: "id=2"}, ev{offset: 5, cols: "id=8"}), e.part("o", 1, ev{offset: 1, cols: "id=4"}))
	db.Want("4|55000\n5|55000", `select "offset", code from oncesink.dead_letters where code like '55%' order by 1`)
	db.Want("3\n4", "select id from q order by 1")
}

// Errors of our own tables never become dead letters: the partition halts.
func TestOwnTablesAreNobodysFault(t *testing.T) {
	db := newDatabase(t, "create table q (id int primary key)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}, RecordKey: map[string]string{"id": "$key"}}}})
	db.Do(`alter table oncesink."public.q deletes" add constraint no_fives check (id <> 5)`)
	out := e.Write(t.Context(), []*decode.Part{e.part("o", 0, ev{offset: 0, cols: "id=5", gone: true})})
	var halt *sink.HaltError
	if !errors.As(out[0].Err, &halt) {
		t.Errorf("got %v, want a *HaltError", out[0].Err)
	}
	db.Want("0", "select count(*) from oncesink.dead_letters")
}

// Rule 18: a table with another unique index is written one record at a time, in
// offset order: here two rows exchange a value by way of a third.
func TestOtherUniqueIndex(t *testing.T) {
	db := newDatabase(t, "create table u (id int primary key, email text unique)")
	e := db.open(sink.Config{Tables: []sink.TableConfig{{Name: "u", Topics: []string{"o"}, Key: []string{"id"}}}})
	e.write(e.part("o", 0,
		ev{offset: 0, cols: "id=2 email=a"},
		ev{offset: 1, cols: "id=1 email=b"},
		ev{offset: 2, cols: "id=2 email=c"},
		ev{offset: 3, cols: "id=1 email=a"}, // folded, this would come before id 2 lets go of it
		ev{offset: 4, cols: "id=2 email=b"},
		ev{offset: 5, cols: "id=3 email=b"})) // taken: a dead letter
	db.Want("1|a\n2|b", "select id, email from u order by 1")
	db.Want("5|23505|u_email_key", `select "offset", code, constraint_name from oncesink.dead_letters`)
	// A value that is taken when the event comes is taken, even if it is free at the end of the batch.
	e.write(e.part("o", 0, ev{offset: 6, cols: "id=4 email=z"}, ev{offset: 7, cols: "id=5 email=z"}, ev{offset: 8, cols: "id=4 email=y"}))
	db.Want("4|y", "select id, email from u where id > 3")
	db.Want("7|23505|u_email_key", `select "offset", code, constraint_name from oncesink.dead_letters where "offset" > 5`)
	if w := fmt.Sprint(e.lint()[0]); !strings.Contains(w, "unique index u_email_key (email)") {
		t.Errorf("warnings %q do not name the index", w)
	}
}

// What is logged, and what stops a partition, names SQLSTATE, table, constraint
// and place, and no value of a row.
func TestNoValuesInLogsAndErrors(t *testing.T) {
	const secret = "hunter2"
	for _, tt := range []struct {
		name, body string
		transient  bool
	}{
		{"transient", "raise exception using errcode = '40001', message = 'could not take ' || new.v, detail = new.v, hint = new.v", true},
		{"halting", "execute format('create schema %I', new.v); execute format('comment on schema %I is 1', new.v)", false},
		{"configuration", "execute 'select ' || new.v", false},
		{"gone", "execute 'insert into ' || new.v || ' values (1)'", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			db := newDatabase(t, "create table q (id int primary key, v text)",
				"create function f() returns trigger language plpgsql as $$ begin "+tt.body+"; end $$", "create trigger f before insert on q for each row execute function f()")
			var log syncBuffer
			e := db.open(sink.Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Tables: []sink.TableConfig{{Name: "q", Topics: []string{"o"}, Key: []string{"id"}}}})
			ctx, cancel := context.WithCancel(t.Context())
			if tt.transient {
				go func() {
					defer cancel()
					waitUntil(t, func() bool { return e.warnings() > 1 })
				}()
			} else {
				defer cancel()
			}
			out := e.Write(ctx, []*decode.Part{e.part("o", 4, ev{offset: 9, cols: "id=1 v=" + secret})})
			text := log.String() + fmt.Sprint(out[0].Err)
			if out[0].Err == nil || strings.Contains(text, secret) {
				t.Errorf("%s", text)
			}
			if tt.transient && (!strings.Contains(text, "sqlstate=40001") || !strings.Contains(text, "topic=o partition=4") || !strings.Contains(text, "public.q")) {
				t.Errorf("the warning does not say where: %s", text)
			}
		})
	}
}

// syncBuffer is a bytes.Buffer for several goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
