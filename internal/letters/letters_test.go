package letters

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

type rig struct {
	*testing.T
	pool *pgxpool.Pool
	g    Group
}

func newRig(t *testing.T) *rig {
	t.Helper()
	pool, _, err := offsets.NewPool(t.Context(), testpg.URL(t), 4)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	r := &rig{t, pool, Group{"g", pool}}
	conn, err := pool.Acquire(t.Context())
	r.must(err)
	defer conn.Release()
	r.must(offsets.Init(t.Context(), conn.Conn()))
	r.must(schema.Init(t.Context(), conn.Conn(), sink.Config{}))
	return r
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *rig) exec(sql string, args ...any) {
	r.Helper()
	_, err := r.pool.Exec(r.Context(), sql, args...)
	r.must(err)
}

// topicID is the same for all partitions of a topic.
const topicID = "md5($1)::uuid"

// insert puts letters into the table: TOPIC/PARTITION@OFFSET CODE TABLE STATUS HOURS_AGO.
func (r *rig) insert(lines ...string) {
	r.Helper()
	for _, line := range lines {
		var f Filter
		words := strings.Fields(line)
		r.must(ParsePlace(words[0], &f))
		r.exec(`insert into oncesink.dead_letters (sink_group, topic_id, topic, generation, partition, "offset", key, value, headers, code, message, target, status, recorded_at)
			values ('g', `+topicID+`, $1, 0, $2, $3, 'k', 'v', '[["h","dg=="]]', nullif($4, '-'), 'says "v"', nullif($5, '-'), $6, now() - $7::text::interval)`,
			f.Topic, *f.Partition, *f.Offset, words[1], words[2], words[3], words[4]+" hours")
	}
}

func places(list []Letter) (out []string) {
	for i := range list {
		out = append(out, list[i].Place())
	}
	return out
}

// Each filter picks what it says, the newest first, of this group alone.
func TestList(t *testing.T) {
	r := newRig(t)
	r.insert("a/0@1 22P02 s.x new 5", "a/0@2 22001 s.x new 4", "a/1@1 22P02 s.y retry 3", "b/0@1 ONS01 - resolved 2", "b/0@2 - s.x discarded 1")
	r.exec(`insert into oncesink.dead_letters (sink_group, topic_id, topic, generation, partition, "offset", headers, message) values ('other', gen_random_uuid(), 'a', 0, 0, 1, '[]', 'm')`)
	zero, one, offset := int32(0), int32(1), int64(2)
	ago := func(h float64) time.Time { return time.Now().Add(-time.Duration(h * float64(time.Hour))) }
	for _, test := range []struct {
		filter   Filter
		statuses []string
		want     string
	}{
		{Filter{}, Open, "a/1@1 a/0@2 a/0@1"},
		{Filter{}, All, "b/0@2 b/0@1 a/1@1 a/0@2 a/0@1"},
		{Filter{}, []string{Retry, Discarded}, "b/0@2 a/1@1"},
		{Filter{Topic: "b"}, All, "b/0@2 b/0@1"},
		{Filter{Topic: "a", Partition: &zero}, All, "a/0@2 a/0@1"},
		{Filter{Topic: "a", Partition: &one}, All, "a/1@1"},
		{Filter{Topic: "a", Partition: &zero, Offset: &offset}, All, "a/0@2"},
		{Filter{Code: "22P02"}, All, "a/1@1 a/0@1"},
		{Filter{Table: "s.x"}, All, "b/0@2 a/0@2 a/0@1"},
		{Filter{Since: ago(3.5)}, All, "b/0@2 b/0@1 a/1@1"},
		{Filter{Until: ago(3.5)}, All, "a/0@2 a/0@1"},
		{Filter{Since: ago(4.5), Until: ago(2.5)}, All, "a/1@1 a/0@2"},
		{Filter{Topic: "a", Code: "22001", Table: "s.x"}, Open, "a/0@2"},
		{Filter{Topic: "c"}, All, ""},
	} {
		list, all, err := r.g.List(t.Context(), test.filter, test.statuses, 100, false)
		r.must(err)
		if got := strings.Join(places(list), " "); got != test.want || all != int64(len(list)) {
			t.Errorf("%+v %v: %s of %d, want %s", test.filter, test.statuses, got, all, test.want)
		}
		list, all, err = r.g.List(t.Context(), test.filter, test.statuses, 1, true)
		r.must(err)
		if first, _, _ := strings.Cut(test.want, " "); strings.Join(places(list), " ") != first || all != int64(len(strings.Fields(test.want))) {
			t.Errorf("%+v %v: the newest is %v of %d, want %s", test.filter, test.statuses, places(list), all, first)
		}
		var each []string
		r.must(r.g.Each(t.Context(), test.filter, test.statuses, func(l *Letter) error { each = append(each, l.Place()); return nil }))
		want := strings.Fields(test.want)
		slices.Sort(want)
		if !slices.Equal(each, want) {
			t.Errorf("%+v %v: each of %v, want %v", test.filter, test.statuses, each, want)
		}
	}
	list, _, err := r.g.List(t.Context(), Filter{Code: "22001"}, All, 1, false)
	r.must(err)
	if l := list[0]; l.Payload != nil || l.Reason != "longer than the column" || *l.KeyBytes != 1 || *l.ValueBytes != 1 {
		t.Errorf("without payload: %+v", l)
	}
	list, _, err = r.g.List(t.Context(), Filter{Code: "22001"}, All, 1, true)
	r.must(err)
	if p := list[0].Payload; p == nil || p.Message != `says "v"` || string(p.Key)+string(p.Value) != "kv" || len(p.Headers) != 1 || p.Headers[0].Key != "h" || string(p.Headers[0].Value) != "v" {
		t.Errorf("with payload: %+v", p)
	}
}

func TestPlaces(t *testing.T) {
	for _, bad := range []string{"", "orders", "orders/0", "orders@1", "/0@1", "orders/@1", "orders/0@", "orders/-1@1", "orders/0@-1", "orders/+1@1", "orders/0@1 ", "orders/2147483648@1",
		"orders/0@9223372036854775808", "orders/0@1@2", "a/b/0@1"} {
		var f Filter
		if err := ParsePlace(bad, &f); !errors.Is(err, ErrPlace) || f != (Filter{}) {
			t.Errorf("%q: %v, %+v", bad, err, f)
		}
	}
	for _, l := range []Letter{{Topic: "a.b_c-1", Partition: 0, Offset: 0}, {Topic: "t", Partition: 1<<31 - 1, Offset: 1<<63 - 1}} {
		var f Filter
		if err := ParsePlace(l.Place(), &f); err != nil || PlaceOf(f.Topic, *f.Partition, *f.Offset) != l.Place() {
			t.Errorf("%s: %v, %+v", l.Place(), err, f)
		}
	}
}

func TestKinds(t *testing.T) {
	r := newRig(t)
	r.insert("b/0@1 22001 s.x new 9", "a/0@1 22P02 s.x new 5", "a/0@2 22001 s.x new 4", "a/1@1 22001 s.x new 3", "a/1@2 22001 s.x resolved 2", "a/1@3 - - new 1")
	r.exec(`update oncesink.dead_letters set attempts = 7, tried_at = now() + interval '1 day' where topic = 'a' and partition = 0 and "offset" = 2`)
	kinds, err := r.g.Kinds(t.Context(), Filter{}, All)
	r.must(err)
	var got []string
	for _, k := range kinds {
		got = append(got, fmt.Sprintf("%s %s %s %s %d %d", k.Topic, k.Code, k.Table, k.Status, k.Letters, k.Attempts))
	}
	want := []string{"a 22001 s.x new 2 7", "a   new 1 1", "a 22001 s.x resolved 1 1", "a 22P02 s.x new 1 1", "b 22001 s.x new 1 1"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if k := kinds[0]; k.Last.Sub(k.First).Round(time.Hour) != 28*time.Hour || k.Reason != "longer than the column" {
		t.Errorf("%+v", k)
	}
	in, err := r.g.Partitions(t.Context(), Filter{Code: "22001"}, Open)
	r.must(err)
	if len(in) != 3 || in[offsets.Partition{Topic: "a", Partition: 1}] != 1 {
		t.Errorf("by partition: %v", in)
	}
}

// What was asked for is followed by where it stands, whatever becomes of its code, and nothing else is.
func TestRetry(t *testing.T) {
	r := newRig(t)
	r.insert("a/0@0 22001 s.x retry 1", // asked for by somebody else before
		"a/0@1 22P02 s.x new 1", "a/0@2 22P02 s.x new 1", "a/0@3 22P02 s.x new 1", "a/0@4 22P02 s.x new 1", "a/1@1 22P02 s.x new 1", "b/0@7 22P02 s.x retry 1",
		"a/0@9 22P02 s.x resolved 1", "a/0@8 22P02 s.x discarded 1", "a/0@10 22001 s.x new 1")
	asked, err := Ask(t.Context(), r.pool, "g", Filter{Code: "22P02"}, true)
	r.must(err)
	if asked.Letters != 6 {
		t.Fatalf("%d asked for, want 6", asked.Letters)
	}
	left := func(want string) {
		t.Helper()
		got, err := asked.Left(t.Context(), r.pool)
		r.must(err)
		if fmt.Sprint(got) != want {
			t.Errorf("left %v, want %s", got, want)
		}
	}
	left("map[a/0:4 a/1:1 b/0:1]")
	list, _, err := r.g.List(t.Context(), Filter{Code: "22P02"}, []string{Retry}, 10, false)
	r.must(err)
	for _, l := range list {
		if !l.Late {
			t.Errorf("%s is not asked for as late", l.Place())
		}
	}
	settle := func(place, set string) {
		t.Helper()
		var f Filter
		r.must(ParsePlace(place, &f))
		r.exec(`update oncesink.dead_letters set `+set+` where sink_group = 'g' and topic = $1 and partition = $2 and "offset" = $3`, f.Topic, *f.Partition, *f.Offset)
	}
	settle("a/0@1", "status = 'resolved'")
	settle("a/0@2", "status = 'new', code = '23503', target = 's.y'")
	settle("a/0@3", "status = 'new', code = '23503', target = 's.y'")
	settle("a/1@1", "status = 'new', code = 'ONS31'")
	settle("b/0@7", "status = 'discarded'")
	left("map[a/0:1]")
	o, err := asked.Outcome(t.Context(), r.pool)
	r.must(err)
	if o.Written != 1 || o.Refused != 3 || o.Discarded != 1 || o.Left != 1 || o.Gone != 0 {
		t.Errorf("%+v", o)
	}
	if k := o.Kinds; len(k) != 2 || k[0].Code != "23503" || k[0].Letters != 2 || k[0].Table != "s.y" || k[1].Code != "ONS31" || k[1].Letters != 1 {
		t.Errorf("refused for %+v", k)
	}
	r.exec(`delete from oncesink.dead_letters where topic = 'a' and partition = 0 and "offset" = 4`)
	left("map[]")
	if o, err = asked.Outcome(t.Context(), r.pool); err != nil || o.Gone != 1 || o.Left != 0 {
		t.Errorf("%+v, %v", o, err)
	}
}

func TestDiscard(t *testing.T) {
	r := newRig(t)
	r.insert("a/0@1 22P02 s.x new 1", "a/0@2 22P02 s.x retry 1", "a/0@3 22P02 s.x resolved 1", "b/0@1 22P02 s.x new 1")
	for _, step := range []struct {
		undo bool
		want int64
	}{{false, 2}, {false, 0}, {true, 2}, {true, 0}} {
		n, err := r.g.Discard(t.Context(), Filter{Topic: "a"}, step.undo)
		r.must(err)
		if n != step.want {
			t.Errorf("discard, undo %v: %d, want %d", step.undo, n, step.want)
		}
	}
	list, _, err := r.g.List(t.Context(), Filter{}, []string{New}, 10, false)
	r.must(err)
	if got := places(list); len(got) != 3 || list[0].Settled != nil {
		t.Errorf("new again: %v", got)
	}
}

// An export holds one letter at a time.
func TestEachIsBounded(t *testing.T) {
	r := newRig(t)
	const n, size = 200, 1 << 20
	r.exec(`insert into oncesink.dead_letters (sink_group, topic_id, topic, generation, partition, "offset", value, headers, message)
		select 'g', gen_random_uuid(), 'a', 0, 0, n, convert_to(repeat('x', $1), 'UTF8'), '[]', 'm' from generate_series(1, $2) n`, size, n)
	var before, now runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	seen, most := 0, uint64(0)
	r.must(r.g.Each(t.Context(), Filter{}, All, func(l *Letter) error {
		if len(l.Value) != size {
			t.Errorf("%s has %d bytes", l.Place(), len(l.Value))
		}
		if seen++; seen%20 == 0 {
			runtime.GC()
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapAlloc)
		}
		return nil
	}))
	if seen != n {
		t.Errorf("%d letters, want %d", seen, n)
	}
	if grown := int64(most) - int64(before.HeapAlloc); grown > 16*size {
		t.Errorf("holds %d MiB of %d", grown>>20, n*size>>20)
	}
	stop := errors.New("enough")
	if err := r.g.Each(t.Context(), Filter{}, All, func(*Letter) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("goes on: %v", err)
	}
}

func TestCheck(t *testing.T) {
	r := newRig(t)
	r.must(r.g.Check(t.Context()))
	role := "looks_" + fmt.Sprint(time.Now().UnixNano())
	r.exec("create role " + role)
	t.Cleanup(func() {
		_, _ = r.pool.Exec(context.Background(), "drop owned by "+role+"; drop role "+role)
	})
	for _, test := range []struct{ sql, want string }{
		{"set role " + role, "the role lacks SELECT on oncesink.dead_letters"},
		{"drop function oncesink.retry_dead_letters", "of an older version: run `oncesink init`"},
		{"drop view oncesink.dead_letter_stats; drop function oncesink.pick_dead_letters; drop table oncesink.dead_letters", "does not exist: run `oncesink init`"},
	} {
		err := pgx.BeginFunc(t.Context(), r.pool, func(tx pgx.Tx) error {
			_, err := tx.Exec(t.Context(), test.sql)
			r.must(err)
			return Group{"g", tx}.Check(t.Context())
		})
		if config := (*sink.ConfigError)(nil); !errors.As(err, &config) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %s", test.sql, err, test.want)
		}
	}
}
