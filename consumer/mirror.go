package consumer

import (
	"context"
	"errors"
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

func newMirror(cfg *Config) *mirror {
	return &mirror{group: cfg.Group, byHand: len(cfg.Assign) > 0, off: cfg.NoMirror, dirty: map[offsets.Partition]offsets.Claim{}}
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
	if err := mi.commit(ctx, m, at); err != nil {
		m.log.Debug("mirror positions to the group", "error", err)
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

func (mi *mirror) commit(ctx context.Context, m *member, at map[offsets.Partition]offsets.Position) error {
	if mi.byHand {
		var o kadm.Offsets
		for p, pos := range at {
			o.Add(kadm.Offset{Topic: p.Topic, Partition: p.Partition, At: pos.Next, LeaderEpoch: pos.Epoch, Metadata: mirrorMark})
		}
		return m.admin.CommitAllOffsets(ctx, mi.group, o)
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
	err := errors.New("the commit was not answered")
	m.client.CommitOffsetsSync(ctx, commit, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, cerr error) {
		err = cerr
		if cerr != nil {
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				err = errors.Join(err, kerr.ErrorForCode(p.ErrorCode))
			}
		}
	})
	return err
}

// confirm asks the group, now, whether this process is a member that may commit
// for the row's partition: the coordinator checks member and generation of a commit
// as it does a heartbeat's. What is committed is the ledger's own position.
func (mi *mirror) confirm(ctx context.Context, m *member, row offsets.Row) error {
	if err := mi.commit(ctx, m, map[offsets.Partition]offsets.Position{row.Partition: row.Position}); err != nil {
		return errors.Join(errNotMember, err)
	}
	return nil
}
