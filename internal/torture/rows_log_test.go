package torture

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/torture/checker"
)

// halted waits until a partition has halted, and returns why.
func (r *rig) halted(partition int32) (why string) {
	r.Helper()
	r.eventually(fmt.Sprintf("partition %d halts", partition), func() bool {
		err := r.db.QueryRow(context.Background(), `select coalesce((select halted from oncesink.status where sink_group = $1 and topic = $2 and partition = $3), '')`,
			r.name, r.name, partition).Scan(&why)
		return err == nil && why != ""
	})
	return why
}

var printed = regexp.MustCompile("`oncesink ((?:accept-gap|rewind|adopt) [^`]+)`")

// repair runs the command that a text names, as it stands there. What a command asks to be confirmed is confirmed.
func (r *rig) repair(text string) {
	r.Helper()
	if !printed.MatchString(text) && strings.Contains(text, "`oncesink check`") {
		text, _ = r.try("check", "-c", r.config("", "")) // it ends with 2
	}
	found := printed.FindStringSubmatch(strings.Join(strings.Fields(text), " "))
	if found == nil {
		r.Fatalf("no command in: %s", text)
	}
	args := append(strings.Fields(found[1]), "-c", r.config("", ""))
	if args[0] != "rewind" {
		if out, err := r.try(args...); err == nil {
			r.Errorf("%s asks for no confirmation:\n%s", args[0], out)
		}
		args = append(args, "--yes")
	}
	r.run(args...)
	r.fired("halts that were ended by the command that was printed", 1)
}

// othersGoOn sends an event to each partition but one, and waits until they are written.
func (r *rig) othersGoOn(but int32) {
	r.Helper()
	want := map[int32]int64{}
	for p := range r.partitions {
		if p != but {
			r.send(r.client, event{key: int64(r.partitions) + int64(p), partition: p}, nil)
		}
	}
	r.acknowledged()
	for p, next := range r.acked() {
		if p != but {
			want[p] = next
		}
	}
	r.eventually("the other partitions go on", func() bool { return reached(r.positions(), want) })
}

// producerAgain is a new producer, for a log that is not what it was.
func (r *rig) producerAgain(forget ...int32) {
	r.Helper()
	r.client.Close()
	r.producer()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range forget {
		delete(r.last, p)
	}
}

// grow produces until each log ends behind where it once did.
func (r *rig) grow(past map[int32]int64) {
	r.Helper()
	testenv.Eventually(r.T, patience, "the log has grown", func() bool {
		r.produce(30)
		return reached(r.acked(), past)
	})
}

// truncated: a broker comes back without the end of its log, while the sink is stopped and while it runs.
func truncated(r *rig) {
	r.begin(setup{})
	p := r.start("")
	for _, running := range []bool{false, true} {
		for range 8 { // a batch, at least
			r.produce(20)
		}
		r.drain()
		if !running {
			p.term()
		}
		before := r.acked()
		epoch := r.leaderEpoch(0)
		r.kafka.KillBroker(r.T, 0)
		since := time.Now()
		r.kafka.Truncate(r.T, 0, r.name, 0, 1+r.rnd.IntN(6))
		r.kafka.RestartBroker(r.T, 0)
		r.eventually("the partition is led in a new epoch", func() bool { return r.leaderEpoch(0) > epoch })
		end := r.ends()[checker.Place{Topic: r.name}]
		if end >= before[0] {
			r.Fatalf("the log ends at %d, and did at %d", end, before[0])
		}
		r.fired("records cut off", int(before[0]-end))
		r.producerAgain(0)
		if !running {
			p = r.start("")
		}
		why := r.halted(0)
		if !strings.Contains(why, "lies past the log's end "+fmt.Sprint(end)) {
			r.Errorf("halted: %s", why)
		}
		r.othersGoOn(0)
		r.repair(why)
		r.recovered(since)
		r.grow(before) // so that positions are above what was once applied
	}
}

// leaderEpoch is the epoch in which a partition is led; -1 if it is not.
func (r *rig) leaderEpoch(partition int32) int32 {
	topics, err := r.admin().ListTopics(context.Background(), r.name)
	if err != nil || topics[r.name].Err != nil || topics[r.name].Partitions[partition].Err != nil {
		return -1
	}
	return topics[r.name].Partitions[partition].LeaderEpoch
}

// gone: records that were not read are deleted, by a command and by retention.
func gone(r *rig) {
	r.begin(setup{})
	p := r.start("")
	r.produce(150)
	r.drain()
	p.term()
	from := r.positions()[0]
	r.produce(300)
	since := time.Now()
	to := from + 1 + r.rnd.Int64N(r.acked()[0]-from)
	r.kafka.DeleteRecords(r.T, r.name, 0, to)
	r.gap(0, from, to)
	r.start("")
	why := r.halted(0)
	if !strings.Contains(why, fmt.Sprintf("offsets %d to %d are missing", from, to-1)) {
		r.Errorf("halted: %s", why)
	}
	r.fired("records deleted unread", int(to-from))
	r.othersGoOn(0)
	r.repair(why)
	r.recovered(since)

	r.run("pause", r.name, "-c", r.config("", ""))
	r.eventually("it is paused", func() bool {
		return r.number(`select count(*) from oncesink.status where sink_group = $1 and paused`, r.name) == int64(r.partitions)
	})
	stood := r.positions()
	r.produce(200)
	ends := r.acked()
	since = time.Now()
	r.setTopic("retention.ms", "1")
	r.eventually("retention has removed all", func() bool {
		starts, err := r.admin().ListStartOffsets(context.Background(), r.name)
		if err = errors.Join(err, starts.Error()); err != nil {
			return false
		}
		all := true
		starts.Each(func(l kadm.ListedOffset) { all = all && l.Offset >= ends[l.Partition] })
		return all
	})
	r.setTopic("retention.ms", "-1")
	r.run("resume", r.name, "-c", r.config("", ""))
	for p := range r.partitions {
		if stood[p] == ends[p] {
			continue
		}
		why := r.halted(p)
		if !strings.Contains(why, fmt.Sprintf("offsets %d to %d are missing", stood[p], ends[p]-1)) {
			r.Errorf("halted: %s", why)
		}
		r.gap(p, stood[p], ends[p])
		r.fired("records expired unread", int(ends[p]-stood[p]))
		r.repair(why)
	}
	r.recovered(since)
}

// gap gives a range up.
func (r *rig) gap(partition int32, from, to int64) {
	r.rules.Gaps = append(r.rules.Gaps, checker.Gap{Topic: r.name, Partition: partition, From: from, To: to})
}

// setTopic changes a setting of the topic.
func (r *rig) setTopic(name, value string) {
	r.Helper()
	resp, err := r.admin().AlterTopicConfigs(context.Background(), []kadm.AlterConfig{{Name: name, Value: &value}}, r.name)
	r.must(err)
	r.must(resp[0].Err)
}

// recreated: the topic is deleted and made again, while the sink is stopped and while it runs.
func recreated(r *rig) {
	r.begin(setup{})
	p := r.start("")
	for _, running := range []bool{false, true} {
		r.produce(120)
		r.drain()
		if !running {
			p.term()
		}
		before := r.acked()
		since := time.Now()
		r.kafka.DeleteTopic(r.T, r.name)
		r.kafka.CreateTopicAgain(r.T, r.name, r.partitions)
		r.fired("topics that were made again", 1)
		r.producerAgain(0, 1, 2)
		r.grow(before) // so that positions are above what was once applied
		events := r.number(`select count(*) from events`)
		if !running {
			p = r.start("")
		}
		why := r.halted(0)
		for n := range r.partitions {
			if w := r.halted(n); !strings.Contains(w, "was recreated") && !strings.Contains(w, "the topic is gone") {
				r.Errorf("halted: %s", w)
			}
		}
		if n := r.number(`select count(*) from events`); n != events {
			r.Errorf("%d events of the new topic were written before anybody adopted it", n-events)
		}
		r.repair(why)
		r.recovered(since)
	}
}

// added: the topic gets more partitions while the sink runs, which begin at their beginnings, whatever start says.
func added(r *rig) {
	r.begin(setup{kafkaYAML: "topic_refresh: 1s", yaml: "start: latest"})
	r.start("")
	r.eventually("all have a position", func() bool { return len(r.positions()) == int(r.partitions) })
	for range 2 {
		stop := r.load(200)
		r.moved(100)
		stop()
		r.acknowledged()
		since := time.Now()
		more := int(r.partitions) + 2
		resp, err := r.admin().UpdatePartitions(context.Background(), more, r.name)
		r.must(err)
		r.must(resp.Error())
		r.eventually("the partitions are led", func() bool {
			topics, err := r.admin().ListTopics(context.Background(), r.name)
			return err == nil && topics.Error() == nil && len(topics[r.name].Partitions) == more
		})
		r.partitions = int32(more)
		r.producerAgain()
		r.produce(100) // before anybody reads them
		r.fired("partitions added", 2)
		r.recovered(since)
	}
}
