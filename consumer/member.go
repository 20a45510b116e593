package consumer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/offsets"
)

// member is one life of the Kafka client: from connecting to leaving the group.
// Its poll loop alone moves fetch positions; rebalance callbacks only add and
// close lanes; writers only write.
type member struct {
	*Consumer
	client *kgo.Client
	admin  *kadm.Client
	ready  *readyQueue
	mirror *mirror

	claims  *claimQueue // first attempts
	retries *claimQueue // and later ones

	archiveTurns chan struct{} // one for each that reads the archive

	decoder      *decoder
	decompressor *decompressor

	work    context.Context // ends when transactions and claims must end
	endWork context.CancelFunc
	life    context.Context // ends when nothing is waited for any more
	endLife context.CancelFunc
	routine sync.WaitGroup // every goroutine of this life but the poll loop

	mu       sync.Mutex
	lanes    map[offsets.Partition]*lane
	topics   map[string]offsets.Token   // their ids when this life first met them, which the client goes by
	controls []func()                   // run by the poll loop while rebalances are blocked
	wakePoll context.CancelFunc         // ends the poll in progress
	asked    map[offsets.Partition]bool // of which dead letters are still to be tried again; nil: nobody has looked yet

	opened chan struct{} // closed when client and admin are set
	failed chan error    // the first error that ends this life
}

func newMember(c *Consumer) *member {
	m := &member{
		Consumer: c,
		ready:    newReadyQueue(),
		mirror:   newMirror(c),
		lanes:    map[offsets.Partition]*lane{},
		claims:   newClaimQueue(),
		retries:  newClaimQueue(),

		archiveTurns: make(chan struct{}, archiveReaders),

		topics: map[string]offsets.Token{},
		opened: make(chan struct{}),
		failed: make(chan error, 1),
	}
	m.life, m.endLife = context.WithCancel(context.Background())
	m.work, m.endWork = context.WithCancel(m.life)
	m.decoder = &decoder{
		add: c.sink.Add, learn: m.learn, limits: &c.cfg, ready: m.ready.push, drained: func(l *lane) { m.resume(l) },
		parts: &sync.Pool{New: func() any { return new(decode.Part) }},
	}
	return m
}

// open builds the client. A client joins its group as soon as it is made, so that
// the first callbacks can come before this has returned: they wait for opened.
func (m *member) open() (err error) {
	if m.decompressor, err = newDecompressor(m.cfg.MaxDecompressedBytes); err != nil {
		return clientError(err, m.clientFix)
	}
	client, err := kgo.NewClient(m.clientOptions()...)
	if err != nil {
		return clientError(err, m.clientFix)
	}
	m.client, m.admin = client, kadm.NewClient(client)
	close(m.opened)
	return nil
}

// run is the life: it returns when ctx ends, the end is reached, or fail is called.
func (m *member) run(parent context.Context, ends *map[offsets.Partition]int64) error {
	ctx, stop := context.WithCancelCause(parent)
	defer stop(nil)
	for range m.cfg.Writers {
		m.spawn(func() { m.write(m.work) })
	}
	m.startClaimers()
	m.spawn(func() { m.watch(ctx) })
	m.spawn(func() { m.retryLetters(m.work) })
	m.spawn(func() { m.mirror.run(ctx, m) })
	m.spawn(func() { m.lookAhead(ctx) })
	if len(m.cfg.Assign) == 0 {
		m.spawn(func() { m.tellOfWaiting(ctx) })
	}
	m.spawn(func() {
		select {
		case err := <-m.failed:
			stop(err)
		case <-ctx.Done():
		}
	})
	if m.until != nil {
		m.spawn(func() { m.untilBounds(ctx, stop) })
	}
	if m.cfg.UntilEnd {
		m.spawn(func() { m.untilEnd(ctx, ends, stop) })
	}
	if len(m.cfg.Assign) > 0 {
		m.assignByHand()
	}
	m.poll(ctx)
	cause := context.Cause(ctx)
	m.shutdown()
	if parent.Err() != nil || errors.Is(cause, errEnd) {
		return nil
	}
	return cause
}

func (m *member) spawn(f func()) {
	m.routine.Add(1)
	go func() {
		defer m.routine.Done()
		f()
	}()
}

// fail ends this life with err; the first one wins.
func (m *member) fail(err error) {
	select {
	case m.failed <- err:
	default:
	}
}

// poll is the loop that everything hangs on. Each turn: fetch, hand the records
// to the lanes, move what has to be moved, and only then allow a rebalance.
func (m *member) poll(ctx context.Context) {
	for ctx.Err() == nil {
		m.signs.note(&m.signs.polled)
		if !m.room(ctx) {
			continue
		}
		pollCtx, cancel := context.WithTimeout(ctx, time.Second)
		m.mu.Lock()
		m.wakePoll = cancel
		if len(m.controls) > 0 {
			cancel()
		}
		m.mu.Unlock()
		fetches := m.client.PollRecords(pollCtx, m.cfg.MaxBatchRecords)
		cancel()
		m.decompressor.polled()
		// Records first, controls second: a lane that a control starts must not
		// see what was fetched before its position was set.
		m.dispatch(fetches)
		m.runControls()
		m.client.AllowRebalance() // on every turn, or Close hangs
	}
}

// room waits a moment while the lanes hold more than the buffer limit.
func (m *member) room(ctx context.Context) bool {
	if m.memory() <= m.cfg.BufferBytes {
		return true
	}
	m.letGo()
	rest(ctx, roomInterval)
	return false
}

// roomInterval is how often it is looked whether buffers that were full have room.
const roomInterval = 5 * time.Millisecond

// memory is roughly how many bytes the lanes hold.
func (m *member) memory() (held int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.lanes {
		held += l.memory()
	}
	return held
}

// control runs f in the poll loop while rebalances are blocked, soon.
func (m *member) control(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.controls = append(m.controls, f)
	if m.wakePoll != nil {
		m.wakePoll()
	}
}

func (m *member) runControls() {
	m.mu.Lock()
	controls := m.controls
	m.controls = nil
	m.mu.Unlock()
	for _, f := range controls {
		f()
	}
}

// lane returns the lane of a partition, nil if we don't have it.
func (m *member) lane(p offsets.Partition) *lane {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lanes[p]
}

// all returns the lanes of this moment.
func (m *member) all() []*lane {
	m.mu.Lock()
	defer m.mu.Unlock()
	lanes := make([]*lane, 0, len(m.lanes))
	for _, l := range m.lanes {
		lanes = append(lanes, l)
	}
	return lanes
}

// shutdown ends the life in order: no new transactions, the running ones within half of the
// bound, the last positions mirrored, the group left. What a server that answers nothing
// keeps from ending by then ends by itself, without anybody waiting: it holds nothing that
// the next claim can't take.
func (m *member) shutdown() {
	end := time.AfterFunc(m.cfg.StopTimeout, m.endLife)
	defer end.Stop()
	defer m.endLife()
	lanes := m.all()
	for _, l := range lanes {
		l.leave(closed, nil)
	}
	patience := time.AfterFunc(m.cfg.StopTimeout/2, m.endWork)
	for _, l := range lanes {
		l.waitIdle(m.life)
	}
	patience.Stop()
	m.mirror.flush(m.life, m)
	m.endWork()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if len(m.cfg.Assign) == 0 && m.cfg.InstanceID == "" {
			m.client.AllowRebalance()
			if err := m.client.LeaveGroupContext(m.life); err != nil {
				m.log.Warn("leave group", "error", err)
			}
		}
		m.client.CloseAllowingRebalance()
		for _, l := range m.all() { // assigned while we were leaving
			l.leave(closed, nil)
		}
		m.routine.Wait()
	}()
	select {
	case <-ended:
	case <-m.life.Done():
		m.log.Warn("stopped without an answer of all servers", "after", m.cfg.StopTimeout)
	}
}

func partitionsOf(ls ...*lane) map[string][]int32 {
	t := map[string][]int32{}
	for _, l := range ls {
		t[l.Topic] = append(t[l.Topic], l.Partition.Partition)
	}
	return t
}

func (m *member) suspend(ls ...*lane) { m.client.PauseFetchPartitions(partitionsOf(ls...)) }
func (m *member) resume(ls ...*lane)  { m.client.ResumeFetchPartitions(partitionsOf(ls...)) }
