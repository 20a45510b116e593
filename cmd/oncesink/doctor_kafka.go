package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/wiring"
)

// shortRetention is from which retention on an outage over a weekend loses nothing.
const shortRetention = 72 * time.Hour

// kafka looks at the brokers; false: they can't be used.
func (r *doctorReport) kafka(ctx context.Context, s *session) bool {
	const about = "kafka"
	if err := s.connectKafka(ctx); err != nil {
		r.refused(about, err)
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	r.brokers(ctx, s)
	r.sessions(ctx, s)
	r.topics(ctx, s)
	r.newest(ctx, s)
	return true
}

// brokers looks at what they are, and whether they know what is asked of them.
func (r *doctorReport) brokers(ctx context.Context, s *session) {
	const about = "kafka"
	all, err := s.admin.ApiVersions(ctx)
	if err != nil {
		r.warn(about, "", "the brokers' versions are not known: %v", s.kafkaError(err))
		return
	}
	versions := map[string]int{}
	away, lacksIDs, lacksGroups := 0, false, false
	for _, b := range all.Sorted() {
		if b.Err != nil {
			away++
			continue
		}
		versions[b.VersionGuess()]++
		most, _ := b.KeyMaxVersion(int16(kmsg.Metadata))
		lacksIDs = lacksIDs || most < 10
		_, groups := b.KeyMaxVersion(int16(kmsg.ConsumerGroupHeartbeat))
		lacksGroups = lacksGroups || !groups
	}
	var told []string
	for v, n := range versions {
		told = append(told, fmt.Sprintf("%d of Kafka %s", n, v))
	}
	slices.Sort(told)
	if len(told) > 0 {
		r.ok(about, "%d broker(s), by what they can do: %s; cluster %s", len(all), strings.Join(told, ", "), cmp.Or(s.meta.Cluster, "without an id"))
	}
	if away > 0 {
		r.warn(about, "see that each advertised address can be reached from here", "%d of %d broker(s) do not answer", away, len(all))
	}
	if lacksIDs {
		r.warn(about, "", "of some broker: %s", wiring.NoTopicIDs)
	}
	if lacksGroups && s.consumer.Protocol == consumer.KIP848 {
		r.fail(about, "use Kafka 4.0 or later, or another protocol", "kafka.protocol is consumer, and a broker does not know it")
	}
}

// sessions compares the session timeout with what the brokers let a member choose.
func (r *doctorReport) sessions(ctx context.Context, s *session) {
	const about = "kafka"
	switch {
	case len(s.consumer.Assign) > 0:
		r.ok(about, "partitions are assigned by hand: there is no group to join")
		return
	case s.consumer.Protocol == consumer.KIP848:
		r.ok(about, "the brokers set the session timeout of protocol consumer")
		return
	}
	brokers := s.meta.Brokers.NodeIDs()
	if len(brokers) == 0 {
		return
	}
	configs, err := s.admin.DescribeBrokerConfigs(ctx, brokers[0])
	if err == nil && len(configs) > 0 {
		err = configs[0].Err
	}
	timeout := cmp.Or(s.consumer.SessionTimeout, 45*time.Second)
	least, hasLeast := duration(configs, "group.min.session.timeout.ms")
	most, hasMost := duration(configs, "group.max.session.timeout.ms")
	switch {
	case err != nil || !hasLeast || !hasMost:
		r.ok(about, "the brokers do not tell this user which session timeouts they take; kafka.session_timeout is %v", timeout)
	case timeout < least || timeout > most:
		r.fail(about, "correct kafka.session_timeout", "kafka.session_timeout is %v, and the brokers take %v to %v", timeout, least, most)
	default:
		r.ok(about, "kafka.session_timeout is %v: the brokers take %v to %v", timeout, least, most)
	}
}

// topics looks at what the topics' settings mean for a run.
func (r *doctorReport) topics(ctx context.Context, s *session) {
	const about = "kafka"
	configs, err := s.admin.DescribeTopicConfigs(ctx, s.meta.Topics.Names()...)
	if err != nil {
		r.ok(about, "the brokers do not tell this user the topics' settings")
		return
	}
	partitions, untold, before := 0, 0, len(r.Diagnoses)
	batch := cmp.Or(int64(s.consumer.MaxDecompressedBytes), 64<<20)
	for _, t := range s.meta.Topics.Sorted() {
		partitions += len(t.Partitions)
		c, err := configs.On(t.Topic, nil)
		if err != nil || c.Err != nil {
			untold++
			continue
		}
		one := kadm.ResourceConfigs{c}
		if keeps, ok := duration(one, "retention.ms"); ok && keeps >= 0 && keeps < shortRetention && !strings.Contains(value(one, "cleanup.policy"), "compact") {
			r.warn(about, "let retention.ms cover the longest outage", "topic %s keeps its records for %v: what is not read by then is a gap, which halts the partition", t.Topic, keeps)
		}
		if value(one, "unclean.leader.election.enable") == "true" {
			r.warn(about, "set unclean.leader.election.enable=false", "topic %s may have a leader that lacks records: a log that is cut below the position halts the partition", t.Topic)
		}
		if most, err := strconv.ParseInt(value(one, "max.message.bytes"), 10, 64); err == nil && most > batch {
			r.warn(about, "raise limits.decompressed_bytes, or lower max.message.bytes", "topic %s takes batches of up to %d MiB, and one that is larger than %d MiB when it is decompressed halts its partition", t.Topic, most>>20, batch>>20)
		}
	}
	if untold > 0 {
		r.ok(about, "the brokers do not tell this user the settings of %d topic(s)", untold)
	}
	if len(r.Diagnoses) == before {
		r.ok(about, "retention, message sizes and elections of %d topic(s) are fine", len(s.meta.Topics))
	}
	if writers := cmp.Or(s.consumer.Writers, 2); partitions < writers {
		r.warn(about, "lower limits.writers, or give the topics more partitions", "there are %d writers and %d partition(s): each writer has partitions of its own", writers, partitions)
	}
}

// newest looks for records that are dated in the future: a clock of a producer, or of a broker, or the one here, is wrong.
func (r *doctorReport) newest(ctx context.Context, s *session) {
	const about = "kafka"
	found, err := s.admin.ListMaxTimestampOffsets(ctx, s.meta.Topics.Names()...)
	if err != nil {
		r.ok(about, "the times of the newest records are not known: %v", s.kafkaError(err))
		return
	}
	now := time.Now()
	ahead, whose, dated := time.Duration(0), "", 0
	found.Each(func(o kadm.ListedOffset) {
		if o.Err != nil || o.Timestamp <= 0 {
			return
		}
		dated++
		if d := time.UnixMilli(o.Timestamp).Sub(now); d > ahead {
			ahead, whose = d, fmt.Sprintf("%s/%d", o.Topic, o.Partition)
		}
	})
	switch {
	case ahead > skewTold:
		r.warn(about, "see that producers, brokers and this machine keep time (NTP): lag in seconds is too small by it", "the newest record of %s is dated %v in the future", whose, ahead.Round(time.Second))
	case dated > 0:
		r.ok(about, "no record is dated in the future, of %d partition(s)", dated)
	}
}

// value is that of a setting, of the first resource; empty if it is not told.
func value(configs kadm.ResourceConfigs, key string) string {
	if len(configs) == 0 {
		return ""
	}
	for _, c := range configs[0].Configs {
		if c.Key == key && c.Value != nil {
			return *c.Value
		}
	}
	return ""
}

// duration reads a setting of milliseconds; -1 stays below zero.
func duration(configs kadm.ResourceConfigs, key string) (time.Duration, bool) {
	n, err := strconv.ParseInt(value(configs, key), 10, 64)
	if err != nil {
		return 0, false
	}
	return time.Duration(min(n, int64(time.Duration(1<<62)/time.Millisecond))) * time.Millisecond, true
}
