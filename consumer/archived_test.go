package consumer

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// shelf is an archive that holds ranges of what a rig has produced, in batches of a few records.
type shelf struct {
	topicID string

	mu      sync.Mutex
	records map[int32][]*kgo.Record
	spans   map[int32][2]int64
	fail    func(p int32, offset int64) error // of the batch that begins there; nil: none
	reading int                               // at this moment
	most    int                               // at once
	reads   int
}

// keep puts the records first <= offset < end of a partition on the shelf, but for those that lack.
func (s *shelf) keep(r *rig, partition int32, ids int, first, end int64, lack ...int64) {
	r.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records == nil {
		s.topicID, s.records, s.spans = r.topicID(), map[int32][]*kgo.Record{}, map[int32][2]int64{}
	}
	s.spans[partition] = [2]int64{first, end}
	s.records[partition] = nil
	for offset := first; offset < end; offset++ {
		if slices.Contains(lack, offset) {
			continue
		}
		id := ids + int(offset)
		s.records[partition] = append(s.records[partition], &kgo.Record{Topic: r.topic, Partition: partition, Offset: offset, Timestamp: time.UnixMilli(1_700_000_000_000 + offset),
			Key: fmt.Append(nil, id), Value: fmt.Appendf(nil, `{"id":%d,"v":"p%d"}`, id, partition)})
	}
}

func (s *shelf) Span(_ context.Context, topicID offsets.Token, p offsets.Partition) (first, end int64, ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	span, ok := s.spans[p.Partition]
	return span[0], span[1], ok && topicID.String() == s.topicID, nil
}

func (s *shelf) Read(ctx context.Context, _ offsets.Token, p offsets.Partition, from int64, yield func([]*kgo.Record) bool) error {
	s.mu.Lock()
	records := s.records[p.Partition]
	s.reading++
	s.reads++
	s.most = max(s.most, s.reading)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.reading--
	}()
	at, _ := slices.BinarySearchFunc(records, from, func(r *kgo.Record, o int64) int { return int(r.Offset - o) })
	for batch := range slices.Chunk(records[at:], 7) {
		s.mu.Lock()
		fail := s.fail
		s.mu.Unlock()
		if fail != nil {
			if err := fail(p.Partition, batch[0].Offset); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !yield(batch) {
			return nil
		}
	}
	return nil
}

func (s *shelf) At(context.Context, offsets.Token, offsets.Partition, []int64, func(*kgo.Record)) (int64, error) {
	return 0, errors.New("a consumer reads on")
}

func (s *shelf) String() string { return "shelf" }

func (s *shelf) failing(fail func(p int32, offset int64) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fail = fail
}

// damage is an error that lasts.
type damage struct{ error }

func (damage) Lasting() {}

// newArchived is a rig of partitions with n records each, of ids 0, 10000 and so on, whose logs begin at starts, and a shelf that has what
// lies below and a little more.
func newArchived(t *testing.T, n int, starts ...int64) (*rig, *shelf) {
	t.Helper()
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", int32(len(starts)))
	s := &shelf{}
	r.parts.Archive = s
	for p, start := range starts {
		r.produce(int32(p), p*10_000, n)
		r.deleteRecords(int32(p), start)
		s.keep(r, int32(p), p*10_000, 0, min(start+5, int64(n)))
	}
	return r, s
}

// Rule 35: random logs, archives that end in them or exactly where they begin, records that lack on both sides of the seam, rewinds, members
// that come and go, sessions that are killed, logs whose beginning moves on meanwhile: a handler that counts and a table of all events see each
// offset exactly once for each time that it was to be read.
func TestArchiveSeam(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	for range testenv.Times(2, 40) {
		archiveSeam(t, rnd)
	}
}

func archiveSeam(t *testing.T, rnd *rand.Rand) {
	const partitions, n = 3, 400
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", partitions)
	s := &shelf{}
	r.parts.Archive = s
	r.exec(`create table log (id bigint, v text)`)
	change := func(c *Config, sc *sink.Config) {
		c.MaxBatchRecords, c.BufferBytes = 20+rnd.IntN(30), 10_000
		sc.Tables = append(sc.Tables, sink.TableConfig{Name: "log", Topics: []string{r.topic}, Strategy: sink.Append})
	}
	r.initWith(change)
	want := map[int32][]int{}    // how often each offset is to be applied
	first := map[int32]int64{}   // that there is
	start := map[int32]int64{}   // of the log
	lacks := map[int32][]int64{} // what no reader is given
	reread := func(p int32, from int64) {
		for o := from; o < n; o++ {
			if !slices.Contains(lacks[p], o) {
				want[p][o]++
			}
		}
	}
	for p := range int32(partitions) {
		r.produce(p, int(p)*10_000, n)
		first[p], start[p] = rnd.Int64N(50), 100+rnd.Int64N(n-100+1) // up to its end: the log is empty then
		for o := first[p] + 1; o < start[p]; o++ {
			if rnd.IntN(40) == 0 || o == start[p]-1 && rnd.IntN(2) == 0 { // of transactions that were aborted, say
				lacks[p] = append(lacks[p], o)
			}
		}
		end := start[p] + rnd.Int64N(2)*rnd.Int64N(n-start[p]+1)
		s.keep(r, p, int(p)*10_000, first[p], end, lacks[p]...)
		r.deleteRecords(p, start[p])
		want[p] = make([]int, n)
		reread(p, first[p])
	}
	t.Logf("archives from %v, logs from %v, spans %v", first, start, s.spans)
	running := r.start(change)
	atEnd := func() bool {
		return r.queryInt(`select count(*) from oncesink.offsets where sink_group = $1 and next_offset = $2 and halted is null`, group, n) == partitions
	}
	trouble := func() {
		switch p := rnd.Int32N(partitions); rnd.IntN(4) {
		case 0: // a crash, as the database sees it
			r.exec(`select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'oncesink %' and pid <> pg_backend_pid() order by random() limit 1`)
		case 1:
			r.exec(`update oncesink.offsets set fence = gen_random_uuid() where partition = $1`, p)
		case 2:
			other := r.start(change)
			r.must(running.end(t))
			running = other
		case 3: // retention goes on; what it removes is on the shelf
			if to := min(s.spans[p][1], start[p]+rnd.Int64N(50)); to > start[p] {
				start[p] = to
				r.deleteRecords(p, to)
			}
		}
	}
	for round := range 3 {
		for range 6 {
			trouble()
			before := r.queryInt(`select coalesce(sum(next_offset), 0)::bigint from oncesink.offsets`)
			eventually(t, "something was read, or all", func() bool {
				return atEnd() || r.queryInt(`select coalesce(sum(next_offset), 0)::bigint from oncesink.offsets`) > before
			})
		}
		eventually(t, "all is read", atEnd)
		r.appliedTimes(want)
		if round == 2 || t.Failed() {
			break
		}
		for p := range int32(partitions) {
			to := []int64{first[p], start[p] - 1, start[p], first[p] + rnd.Int64N(n-first[p])}[rnd.IntN(4)]
			r.exec(`select oncesink.rewind($1, $2, $3, $4)`, group, r.topic, p, to)
			reread(p, to)
		}
	}
	var events int64
	for p := range int32(partitions) {
		events += n - first[p] - int64(len(lacks[p]))
	}
	if got := r.queryInt(`select count(*) from log`); got != events {
		t.Errorf("the table of all events has %d rows, want %d", got, events)
	}
	if got := r.queryInt(`select count(*) from events`); got != events {
		t.Errorf("the table has %d rows, want %d", got, events)
	}
	if s.most > archiveReaders {
		t.Errorf("%d partitions read the archive at once", s.most)
	}
	r.must(running.end(t))
}

// appliedTimes checks how often the effects of each offset were committed.
func (r *rig) appliedTimes(want map[int32][]int) {
	r.t.Helper()
	rows, err := r.pool.Query(r.t.Context(), `select partition, "offset", n from applied`)
	r.must(err)
	got := map[int32]map[int64]int{}
	var p int32
	var o int64
	var n int
	_, err = pgx.ForEachRow(rows, []any{&p, &o, &n}, func() error {
		if got[p] == nil {
			got[p] = map[int64]int{}
		}
		got[p][o] = n
		return nil
	})
	r.must(err)
	wrong := 0
	for p, times := range want {
		for o, n := range times {
			if got[p][int64(o)] != n {
				if wrong++; wrong < 10 {
					r.t.Errorf("partition %d: offset %d was applied %d times, want %d", p, o, got[p][int64(o)], n)
				}
			}
		}
	}
}

// A position between the end of the archive and the log is a gap that says so, and so is one below the archive; who accepts it goes on.
func TestArchiveGap(t *testing.T) {
	t.Parallel()
	r, s := newArchived(t, 50, 30, 30, 0)
	s.keep(r, 0, 0, 0, 20)
	s.keep(r, 1, 10_000, 10, 30)
	r.exec(`insert into oncesink.offsets (sink_group, topic, partition, cluster_id, topic_id, next_offset, first_offset) select $1, $2, p, 'test', $3, 0, 0 from generate_series(0, 2) p`, group, r.topic, r.topicID())
	if o := r.look(); len(o.Halted) != 2 || !strings.Contains(o.Halted[0].Error(), "offsets 20 to 29 are missing") || !strings.Contains(o.Halted[1].Error(), "offsets 0 to 9 are missing") {
		t.Errorf("check says %v", o.Halted)
	}
	r.start()
	if why := r.halted(0); !strings.Contains(why, "offsets 20 to 29 are missing: retention or DeleteRecords removed them before they were read, and the archive has offsets 0 to 19") {
		t.Errorf("halted: %s", why)
	}
	if got := r.position(0); got != 20 {
		t.Errorf("position %d, want 20: what the archive has is read", got)
	}
	if why := r.halted(1); !strings.Contains(why, "offsets 0 to 9 are missing") {
		t.Errorf("halted: %s", why)
	}
	r.exec(`select oncesink.accept_gap($1, $2, 0, 30), oncesink.accept_gap($1, $2, 1, 10)`, group, r.topic)
	r.waitApplied(20 + 20 + 40 + 50)
	r.verify(map[int32]int64{0: 40, 1: 40, 2: 50})
}

// Where a group begins, and whether what is missing makes its beginning another one.
func TestArchiveFirstPositions(t *testing.T) {
	t.Parallel()
	r, s := newArchived(t, 50, 30, 30)
	s.keep(r, 1, 10_000, 0, 29) // does not reach the log
	o := r.look()
	if len(o.First) != 2 || o.First[0].Offset != 0 || o.First[1].Offset != 30 {
		t.Errorf("the first positions are %+v, want 0 and 30", o.First)
	}
	p := r.start()
	r.waitApplied(70)
	r.verify(map[int32]int64{0: 50, 1: 20})
	if won := p.Stats().Claims[sink.ClaimWon]; won != 2 { // a client that is set below the seam has its partition claimed anew
		t.Errorf("%d claims for two partitions", won)
	}
}

// An archive that is away is waited for, and says so; one that is damaged halts the partition, which goes on from there once it is mended.
// Other partitions go on meanwhile.
func TestArchiveFails(t *testing.T) {
	t.Parallel()
	r, s := newArchived(t, 50, 40, 40, 0)
	s.failing(func(p int32, offset int64) error {
		switch {
		case p == 0 && offset >= 14:
			return errors.New("nobody answers")
		case p == 1 && offset >= 21:
			return fmt.Errorf("read it: %w", damage{errors.New("file X is damaged")})
		}
		return nil
	})
	p := r.start()
	if why := r.halted(1); !strings.Contains(why, "can't be read from there: read it: file X is damaged") || !strings.Contains(why, "oncesink resume orders/1") {
		t.Errorf("halted: %s", why)
	}
	if got := r.position(1); got != 21 {
		t.Errorf("position %d, want 21: what comes before is written", got)
	}
	eventually(t, "the partition waits for the archive, and says so", func() bool {
		return slices.ContainsFunc(p.Status(), func(s PartitionStatus) bool {
			return s.Partition == 0 && s.State == Waiting && s.Err.Error() == "nobody answers" && s.Position == 14
		}) && r.queryInt(`select count(*) from oncesink.status where partition = 0 and stuck like '%nobody answers%'`) == 1
	})
	if !slices.ContainsFunc(p.Status(), func(s PartitionStatus) bool { return s.Partition == 1 && s.Reason == ReasonArchive }) {
		t.Errorf("no partition is halted because of the archive: %+v", p.Status())
	}
	r.waitApplied(14 + 21 + 50)
	s.failing(nil)
	r.exec(`select oncesink.resume($1, $2, 1)`, group, r.topic)
	r.waitApplied(150)
	r.verify(map[int32]int64{0: 50, 1: 50, 2: 50})
}

// Rule 35: what is taken from the archive between two looks at what it has is not passed over.
func TestArchiveShrinks(t *testing.T) {
	t.Parallel()
	r, s := newArchived(t, 50, 40)
	s.failing(func(_ int32, offset int64) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.spans[0] = [2]int64{0, 30} // somebody removes a file while it is read
		return nil
	})
	s.records[0] = s.records[0][:30]
	r.start()
	if why := r.halted(0); !strings.Contains(why, "offsets 30 to 39 are missing") {
		t.Errorf("halted: %s", why)
	}
	r.verify(map[int32]int64{0: 30})
}

// A bound below the seam, at it and behind it is exact, and the position comes to it where the last records before it lack.
func TestArchiveUntil(t *testing.T) {
	t.Parallel()
	for _, bound := range []int64{0, 1, 39, 40, 41, 50} {
		r, s := newArchived(t, 50, 40)
		s.keep(r, 0, 0, 0, 45, 38, 39)
		r.parts.Until = map[offsets.Partition]int64{{Topic: r.topic}: bound}
		p := r.start(func(c *Config, _ *sink.Config) { c.Assign = map[string][]int32{r.topic: {0}} })
		r.must(p.wait(t))
		want := min(bound, 38) + max(0, bound-40)
		if got := r.queryInt(`select count(*) from applied`); got != want {
			t.Errorf("up to %d: %d were applied, want %d", bound, got, want)
		}
		if got := r.position(0); got != bound {
			t.Errorf("up to %d: the position is %d", bound, got)
		}
	}
}

// One archive that is slow keeps nobody from stopping, and no more than its readers and the one look ahead, for the lag.
func TestArchiveStops(t *testing.T) {
	t.Parallel()
	r, s := newArchived(t, 10, 5, 5, 5, 5, 5, 5)
	release := make(chan struct{})
	s.failing(func(int32, int64) error { <-release; return nil })
	p := r.start()
	eventually(t, "all readers read", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.reading >= archiveReaders })
	p.stop()
	eventually(t, "the lanes are closed", func() bool { return len(p.Status()) == 0 })
	close(release)
	r.must(p.end(t))
	if s.most > archiveReaders+1 {
		t.Errorf("%d read at once, want at most %d", s.most, archiveReaders+1)
	}
	r.start()
	r.waitApplied(60)
	r.verify(map[int32]int64{0: 10, 1: 10, 2: 10, 3: 10, 4: 10, 5: 10})
}
