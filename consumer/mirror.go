package consumer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncesink/oncesink/offsets"
)

// mirrorMark is the metadata of mirrored commits: it tells our copy from a
// position that another consumer of the group committed (start: committed).
const mirrorMark = "oncesink"

const mirrorInterval = time.Second

// mirror copies committed positions to the Kafka group, for lag tools. It is
// best effort and never read back.
type mirror struct {
	group  string
	byHand bool
	off    bool

	mu    sync.Mutex
	dirty map[offsets.Partition]offsets.Claim // whose position the group does not have yet
}

func newMirror(c *Consumer) *mirror {
	return &mirror{group: c.cfg.Group, byHand: len(c.cfg.Assign) > 0, off: c.noMirror, dirty: map[offsets.Partition]offsets.Claim{}}
}

// moved notes a committed position.
func (mi *mirror) moved(c offsets.Claim) {
	if mi.off {
		return
	}
	mi.mu.Lock()
	defer mi.mu.Unlock()
	mi.dirty[c.Partition] = c
}

func (mi *mirror) run(ctx context.Context, m *member) {
	tick := time.NewTicker(mirrorInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			mi.flush(ctx, m)
		}
	}
}

// flush commits what moved since the last flush that succeeded.
func (mi *mirror) flush(ctx context.Context, m *member) {
	mi.mu.Lock()
	dirty := mi.dirty
	mi.dirty = map[offsets.Partition]offsets.Claim{}
	mi.mu.Unlock()
	if len(dirty) == 0 {
		return
	}
	at := make(map[offsets.Partition]offsets.Position, len(dirty))
	for p, c := range dirty {
		at[p] = c.Position
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	refused := mi.commit(ctx, m, at)
	for p := range dirty {
		if refused[p] == nil {
			delete(dirty, p)
		}
	}
	if len(dirty) > 0 {
		m.log.Debug("mirror positions to the group", "error", errors.Join(slices.Collect(maps.Values(refused))...))
		mi.again(m, dirty)
	}
}

// again keeps what was not committed for the next flush: on a quiet topic nothing else
// would bring it. Not where the partition moved on meanwhile, or is no longer held by
// that claim: what its next owner commits must not be overwritten by an older position.
func (mi *mirror) again(m *member, failed map[offsets.Partition]offsets.Claim) {
	for p, c := range failed {
		if l := m.lane(p); l == nil || l.view().claim.ID != c.ID {
			continue
		}
		mi.mu.Lock()
		if _, newer := mi.dirty[p]; !newer {
			mi.dirty[p] = c
		}
		mi.mu.Unlock()
	}
}

// forget drops what was noted of a partition that went away.
func (mi *mirror) forget(p offsets.Partition) {
	mi.mu.Lock()
	defer mi.mu.Unlock()
	delete(mi.dirty, p)
}

// commit offers positions to the group and returns the errors of those that it did not take.
func (mi *mirror) commit(ctx context.Context, m *member, at map[offsets.Partition]offsets.Position) map[offsets.Partition]error {
	refused := make(map[offsets.Partition]error, len(at))
	refuse := func(err error) {
		for p := range at {
			refused[p] = err
		}
	}
	if mi.byHand {
		var o kadm.Offsets
		for p, pos := range at {
			o.Add(kadm.Offset{Topic: p.Topic, Partition: p.Partition, At: pos.Next, LeaderEpoch: pos.Epoch, Metadata: mirrorMark})
		}
		if err := m.admin.CommitAllOffsets(ctx, mi.group, o); err != nil {
			refuse(err)
		}
		return refused
	}
	commit := map[string]map[int32]kgo.EpochOffset{}
	for p, pos := range at {
		if commit[p.Topic] == nil {
			commit[p.Topic] = map[int32]kgo.EpochOffset{}
		}
		commit[p.Topic][p.Partition] = kgo.EpochOffset{Epoch: pos.Epoch, Offset: pos.Next}
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		mark := mirrorMark
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				req.Topics[i].Partitions[j].Metadata = &mark
			}
		}
		return nil
	})
	refuse(errors.New("the commit was not answered"))
	m.client.CommitOffsetsSync(ctx, commit, func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			refuse(err)
			return
		}
		names := map[[16]byte]string{} // newer brokers answer with the topics' ids alone
		for _, t := range req.Topics {
			names[t.TopicID] = t.Topic
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				at := offsets.Partition{Topic: cmp.Or(t.Topic, names[t.TopicID]), Partition: p.Partition}
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					refused[at] = err
				} else {
					delete(refused, at)
				}
			}
		}
	})
	return refused
}

// confirm asks the group, now, whether this process is a member that may commit
// for the rows' partitions, and returns the errors of those that it may not claim. The coordinator checks
// member and generation of a commit as it does a heartbeat's. What is committed are the ledger's own positions.
func (mi *mirror) confirm(ctx context.Context, m *member, rows []offsets.Row) map[offsets.Partition]error {
	at := make(map[offsets.Partition]offsets.Position, len(rows))
	for _, row := range rows {
		at[row.Partition] = row.Position
	}
	refused := mi.commit(ctx, m, at)
	for p, err := range refused {
		refused[p] = fmt.Errorf("%w: %w", errNotMember, err)
	}
	return refused
}

// errNotMember: the group did not confirm the membership that a claim needs.
var errNotMember = errors.New("not confirmed as a member of the group")
