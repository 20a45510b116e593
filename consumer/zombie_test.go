package consumer

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
)

// Rule 3: an owner whose partition was claimed by somebody else stands by for as long as
// the group does not confirm that it is a member, and claims again once it does.
// The group's coordinator here knows nothing of the member, as after a long pause,
// while its heartbeats go on being answered: so nothing but the rule keeps it away.
func TestZombieDoesNotClaim(t *testing.T) {
	cluster := testkafka.Fake(t)
	r := newRig(t, cluster.ListenAddrs(), "orders", 2)
	r.produce(0, 0, 10)
	zombie := r.start()
	r.waitApplied(10)

	var refused atomic.Int32
	var member atomic.Bool
	cluster.ControlKey(int16(kmsg.OffsetCommit), func(req kmsg.Request) (kmsg.Response, error, bool) {
		cluster.KeepControl()
		if member.Load() {
			return nil, nil, false
		}
		refused.Add(1)
		return refuseCommit(req.(*kmsg.OffsetCommitRequest)), nil, true
	})

	pool, _, err := offsets.NewPool(t.Context(), r.url, 2)
	r.must(err)
	defer pool.Close()
	heir := offsets.New(pool, group, offsets.Options{ClusterID: "test"})
	rows, err := heir.Rows(t.Context(), offsets.Partition{Topic: r.topic, Partition: 0})
	r.must(err)
	claimed, err := heir.Claim(t.Context(), []offsets.Want{{Partition: rows[0].Partition, TopicID: rows[0].TopicID}})
	r.must(errors.Join(err, claimed[0].Err))
	r.produce(0, 10, 10)

	before := refused.Load()
	eventually(t, "the zombie has asked the group four times", func() bool {
		return strings.Count(zombie.log.String(), errNotMember.Error()) >= 4 && refused.Load() >= before+4
	})
	if got := r.claimOf(0); got != claimed[0].ID.String() {
		t.Error("the zombie claimed the partition although the group did not confirm it")
	}
	if got := r.queryInt(`select count(*) from applied`); got != 10 {
		t.Errorf("%d events applied, want 10: the zombie wrote rows", got)
	}

	member.Store(true)
	r.waitApplied(20)
	r.verify(map[int32]int64{0: 20})
	if got := r.claimOf(0); got == claimed[0].ID.String() {
		t.Error("the confirmed member wrote without claiming")
	}
}

// refuseCommit answers as a coordinator that does not know the member.
func refuseCommit(req *kmsg.OffsetCommitRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.OffsetCommitResponse)
	for _, t := range req.Topics {
		topic := kmsg.NewOffsetCommitResponseTopic()
		topic.Topic, topic.TopicID = t.Topic, t.TopicID
		for _, p := range t.Partitions {
			part := kmsg.NewOffsetCommitResponseTopicPartition()
			part.Partition, part.ErrorCode = p.Partition, kerr.UnknownMemberID.Code
			topic.Partitions = append(topic.Partitions, part)
		}
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}
