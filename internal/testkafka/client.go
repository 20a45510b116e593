package testkafka

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/localserver"
	"github.com/oncesink/oncesink/internal/testenv"
)

// requestTimeout bounds every helper below.
const requestTimeout = time.Minute

// Name returns a name for a topic or a group that no other test has: base and something random.
func (k *RealCluster) Name(base string) string {
	var b [4]byte
	rand.Read(b[:])
	return base + "-" + hex.EncodeToString(b[:])
}

// Client returns a client of the cluster, closed when the test ends. Unless opts say
// otherwise it produces each record to the partition that the record names.
func (k *RealCluster) Client(t testing.TB, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.DisableClientMetrics(),
		kgo.SeedBrokers(k.Brokers...),
		kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// admin runs f with a client of its own.
func (k *RealCluster) admin(t testing.TB, f func(context.Context, *kadm.Client) error) {
	t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(k.Brokers...), kgo.MetadataMinAge(50*time.Millisecond), kgo.DisableClientMetrics())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	if err := f(ctx, kadm.NewClient(client)); err != nil {
		t.Fatal(err)
	}
}

// CreateTopic creates a topic of a name that no other test has (see Name) and returns
// the name. It has as many replicas as there are brokers, three at most, and configs of
// the form "name=value". Every partition has a leader then.
func (k *RealCluster) CreateTopic(t testing.TB, base string, partitions int32, configs ...string) (name string) {
	t.Helper()
	name = k.Name(base)
	k.CreateTopicAgain(t, name, partitions, configs...)
	return name
}

// CreateTopicAgain creates a topic of exactly that name, which DeleteTopic has made free: a recreated one.
func (k *RealCluster) CreateTopicAgain(t testing.TB, name string, partitions int32, configs ...string) {
	t.Helper()
	values := make(map[string]*string, len(configs))
	for _, config := range configs {
		key, value, _ := strings.Cut(config, "=")
		values[key] = &value
	}
	k.admin(t, func(ctx context.Context, admin *kadm.Client) error {
		resp, err := admin.CreateTopic(ctx, partitions, int16(min(len(k.nodes), 3)), values, name)
		if err := errors.Join(err, resp.Err); err != nil {
			return err
		}
		return waitFor(ctx, func() bool {
			topics, err := admin.ListTopics(ctx, name)
			return err == nil && topics.Error() == nil && len(topics[name].Partitions) == int(partitions) && led(topics[name])
		})
	})
}

// led tells whether every partition has a leader.
func led(topic kadm.TopicDetail) bool {
	for _, p := range topic.Partitions {
		if p.Err != nil || p.Leader < 0 {
			return false
		}
	}
	return true
}

// DeleteTopic deletes a topic and waits until the brokers don't know it any more.
func (k *RealCluster) DeleteTopic(t testing.TB, name string) {
	t.Helper()
	k.admin(t, func(ctx context.Context, admin *kadm.Client) error {
		resp, err := admin.DeleteTopic(ctx, name)
		if err := errors.Join(err, resp.Err); err != nil {
			return err
		}
		return waitFor(ctx, func() bool {
			topics, err := admin.ListTopics(ctx, name)
			return err == nil && !topics.Has(name)
		})
	})
}

// DeleteRecords deletes a partition's records before an offset, as retention would.
func (k *RealCluster) DeleteRecords(t testing.TB, topic string, partition int32, before int64) {
	t.Helper()
	k.admin(t, func(ctx context.Context, admin *kadm.Client) error {
		var offsets kadm.Offsets
		offsets.Add(kadm.Offset{Topic: topic, Partition: partition, At: before})
		resp, err := admin.DeleteRecords(ctx, offsets)
		return errors.Join(err, resp.Error())
	})
}

// Produce writes records, each to the partition that it names, and waits until all are acknowledged.
func (k *RealCluster) Produce(t testing.TB, records ...*kgo.Record) {
	t.Helper()
	client := k.Client(t)
	defer client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// DescribeGroup returns what Kafka's own kafka-consumer-groups prints about a group:
// GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG ... It takes a second or two.
func (k *RealCluster) DescribeGroup(t testing.TB, group string) string {
	t.Helper()
	return k.Tool(t, "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
		"--bootstrap-server", strings.Join(k.Brokers, ","), "--describe", "--group", group)
}

// Tool runs one of Kafka's command-line classes and returns what it prints, without its log.
func (k *RealCluster) Tool(t testing.TB, class string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), requestTimeout)
	defer cancel()
	cmd := k.in.command(ctx, "128m", class, args...)
	var log strings.Builder
	cmd.Stderr = &log
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", class, err, out, localserver.LastLines([]byte(log.String())))
	}
	return string(out)
}

// waitFor polls until ok, or until ctx ends.
func waitFor(ctx context.Context, ok func() bool) error {
	return testenv.Await(ctx, ok)
}
