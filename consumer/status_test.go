package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// states are the partitions and their states, in the order in which Status has them.
func (p *process) states() string {
	var all []string
	for _, s := range p.Status() {
		all = append(all, fmt.Sprintf("%s/%d %s", s.Topic, s.Partition, s.State))
	}
	return strings.Join(all, ", ")
}

// Status tells of each partition what it does and why not, and OnHalt of one that halts: once, and while it takes its
// time the others go on.
func TestStatus(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 4)
	for p := range int32(4) {
		r.produce(p, int(p)*100, 10)
	}
	first := r.start(func(c *Config, _ *sink.Config) { c.UntilEnd = true })
	r.must(first.wait(t))
	if got := first.Status(); got != nil {
		t.Errorf("after Run there is still %v", got)
	}
	if s := first.Stats(); s.Records != 40 || s.Commits < 1 || s.DeadLetters != 0 || len(s.Tables) != 1 || s.Tables[0].Copied+s.Tables[0].Upserted != 40 {
		t.Errorf("counted %+v", s)
	}
	r.exec(`select oncesink.pause($1, 'orders', 1)`, group)
	r.produce(2, 210, 10)
	r.deleteRecords(2, 15)
	holder, err := pgx.Connect(t.Context(), r.url)
	r.must(err)
	defer holder.Close(context.Background())
	tx, err := holder.Begin(t.Context())
	r.must(err)
	_, err = tx.Exec(t.Context(), `select from oncesink.offsets where partition = 3 for update`)
	r.must(err)

	var told atomic.Int64
	halt, done := make(chan PartitionStatus, 10), make(chan struct{})
	var observed observed
	p := r.start(func(c *Config, _ *sink.Config) {
		c.OnHalt = func(s PartitionStatus) {
			told.Add(1)
			halt <- s
			<-done
		}
		c.Observer = observed.observer()
	})
	eventually(t, "each partition is in its state", func() bool {
		return p.states() == "orders/0 running, orders/1 paused, orders/2 halted, orders/3 waiting"
	})
	var gap *GapError
	var held *offsets.HeldError
	all := p.Status()
	if !errors.As(all[2].Err, &gap) || !errors.As(all[3].Err, &held) || all[0].Err != nil || all[1].Err != nil {
		t.Errorf("because of %v, %v, %v, %v", all[0].Err, all[1].Err, all[2].Err, all[3].Err)
	}
	if all[2].Reason != ReasonGap || all[0].Reason != "" || all[3].Reason != "" || all[0].Since.IsZero() || !all[0].Committed.IsZero() {
		t.Errorf("reasons %q, %q, %q, since %v, committed %v", all[0].Reason, all[2].Reason, all[3].Reason, all[0].Since, all[0].Committed)
	}
	if all[0].Position != 10 || all[1].Position != 10 || all[2].Position != 10 || all[3].Position != -1 {
		t.Errorf("stand at %d, %d, %d, %d", all[0].Position, all[1].Position, all[2].Position, all[3].Position)
	}
	if s := <-halt; s.Topic != "orders" || s.Partition != 2 || s.State != Halted || !errors.As(s.Err, &gap) || s.Position != 10 {
		t.Errorf("told of %+v", s)
	}
	// The hook still runs.
	r.produce(0, 10, 10)
	r.waitApplied(50)
	if all := p.Status(); all[0].Committed.IsZero() {
		t.Errorf("committed nothing: %+v", all[0])
	}
	r.must(tx.Rollback(t.Context()))
	r.exec(`select oncesink.resume($1, 'orders', 1)`, group)
	eventually(t, "the others run", func() bool {
		return p.states() == "orders/0 running, orders/1 running, orders/2 halted, orders/3 running"
	})
	if n := told.Load(); n != 1 {
		t.Errorf("told %d times of one halt", n)
	}
	// Once the gap is accepted it goes on, too.
	r.exec(`select oncesink.accept_gap($1, 'orders', 2, 15)`, group)
	r.waitApplied(55)
	eventually(t, "it shows all signs of life", func() bool {
		h := p.Health()
		return h.Joined && !h.Draining && h.Writers == 2 && h.Busy == 0 && h.Buffered == 0 && h.BufferLimit > 0 &&
			slices.Min([]int64{h.Polled.Unix(), h.Watched.Unix(), h.Postgres.Unix(), h.Kafka.Unix()}) >= time.Now().Add(-10*time.Second).Unix()
	})
	close(done)
	r.must(p.end(t))
	if got := p.states(); got != "" {
		t.Errorf("after Run there is still %s", got)
	}
	if !p.Health().Draining {
		t.Error("it drained, and does not say so")
	}
	// Pause, resume and accept_gap draw new fences; only what ran is lost by that.
	s := p.Stats()
	if s.Claims[sink.ClaimWon] < 5 || s.Claims[sink.ClaimHeld] < 1 || s.Rebalances[sink.Assigned] != 1 || len(s.Fenced) != 0 || len(s.Topics) != 1 || s.Topics[0].Records != 15 || s.Topics[0].Bytes == 0 {
		t.Errorf("counted %+v", s)
	}
	if got := observed.all(); !strings.HasPrefix(got, "assigned [orders/0 orders/1 orders/2 orders/3], ") || !strings.Contains(got, "orders/3 held -1") || !strings.Contains(got, "orders/0 won 10") {
		t.Errorf("observed %s", got)
	}
}

// observed is what an observer was told.
type observed struct {
	mu   sync.Mutex
	said []string
}

func (o *observed) observer() *Observer {
	say := func(format string, args ...any) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.said = append(o.said, fmt.Sprintf(format, args...))
	}
	return &Observer{
		Claimed: func(c Claimed) {
			if c.Err != nil {
				c.Position = -1
			}
			say("%s %s %d", c.Partition, c.Outcome, c.Position)
		},
		Rebalanced: func(r Rebalance) { say("%s %v", r.Kind, r.Partitions) },
		Fenced:     func(f Fence) { say("%s fenced by %s", f.Partition, f.Cause) },
	}
}

func (o *observed) all() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return strings.Join(o.said, ", ")
}

// Each halt has a reason of the closed list.
func TestReasons(t *testing.T) {
	for want, errs := range map[Reason][]error{
		ReasonGap:             {&GapError{}},
		ReasonTruncated:       {&TruncatedError{}},
		ReasonRecreated:       {&goneError{errors.New("gone")}, &offsets.TopicChangedError{}},
		ReasonCluster:         {&offsets.ClusterChangedError{}},
		ReasonNoRow:           {fmt.Errorf("orders/0: %w", offsets.ErrNoPosition)},
		ReasonDeadLetterLimit: {&sink.HaltError{Err: fmt.Errorf("too many: %w", &offsets.TooManyLettersError{})}},
		ReasonError:           {&sink.HaltError{Err: errors.New("broken")}, &TooLargeError{}, errors.New("anything")},
	} {
		for _, err := range errs {
			if got := ReasonOf(err); got != want {
				t.Errorf("%T: %s, want %s", err, got, want)
			}
		}
		if !slices.Contains(Reasons(), want) {
			t.Errorf("%s is not in the list", want)
		}
	}
	var all []string
	for _, r := range Reasons() {
		all = append(all, string(r))
	}
	if !slices.Equal(all, offsets.HaltReasons()) {
		t.Errorf("the reasons are %q, those of the ledger %q", all, offsets.HaltReasons())
	}
}

// What waits and what is in flight is told while a transaction runs.
func TestStatusInFlight(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	entered, leave := make(chan struct{}), make(chan struct{})
	var once sync.Once
	p := r.start(func(c *Config, s *sink.Config) {
		c.MaxBatchRecords = 10
		s.Handlers = append(s.Handlers, func(context.Context, pgx.Tx, []sink.Record) error {
			once.Do(func() {
				close(entered)
				<-leave
			})
			return nil
		})
	})
	r.produce(0, 0, 50)
	<-entered
	eventually(t, "the rest waits", func() bool {
		all := p.Status()
		return len(all) == 1 && all[0].InFlight && all[0].Records > 0 && all[0].Bytes > 0 && all[0].Position == 0 && all[0].State == Running
	})
	close(leave)
	eventually(t, "all is written", func() bool {
		all := p.Status()
		return len(all) == 1 && !all[0].InFlight && all[0].Records == 0 && all[0].Bytes == 0 && all[0].Position == 50
	})
	if s := p.Stats(); s.Records != 50 {
		t.Errorf("counted %+v", s)
	}
	r.must(p.end(t))
}
