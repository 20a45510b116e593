package testkafka_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testkafka"
)

func TestMain(m *testing.M) { os.Exit(testkafka.Main(m)) }

func TestFake(t *testing.T) {
	cluster := testkafka.Fake(t)
	client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	resp, err := kadm.NewClient(client).CreateTopic(t.Context(), 2, 1, nil, "orders")
	if err != nil || resp.Err != nil {
		t.Fatal(err, resp.Err)
	}
	if err := client.ProduceSync(t.Context(), &kgo.Record{Topic: "orders", Value: []byte("v")}).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// values reads n records of a partition from an offset on.
func values(t *testing.T, k *testkafka.RealCluster, topic string, partition int32, from int64, n int) []string {
	t.Helper()
	client := k.Client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: kgo.NewOffset().At(from)}}))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var got []string
	for len(got) < n {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatalf("after %d of %d records: %v", len(got), n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) { got = append(got, string(r.Value)) })
	}
	return got
}

func records(topic string, partition int32, first, n int) []*kgo.Record {
	rs := make([]*kgo.Record, n)
	for i := range rs {
		rs[i] = &kgo.Record{Topic: topic, Partition: partition, Value: fmt.Append(nil, first+i)}
	}
	return rs
}

func TestReal(t *testing.T) {
	k := testkafka.Real(t)
	topic, group := k.CreateTopic(t, "orders", 2, "retention.ms=-1"), k.Name("sink")
	k.Produce(t, records(topic, 1, 0, 5)...)
	if got, want := values(t, k, topic, 1, 3, 2), "[3 4]"; fmt.Sprint(got) != want {
		t.Errorf("got records %v, want %s", got, want)
	}

	// The lag that Kafka's own tool prints.
	var offsets kadm.Offsets
	offsets.Add(kadm.Offset{Topic: topic, Partition: 1, At: 2, LeaderEpoch: -1})
	if err := kadm.NewClient(k.Client(t)).CommitAllOffsets(t.Context(), group, offsets); err != nil {
		t.Fatal(err)
	}
	out := k.DescribeGroup(t, group)
	if line := regexp.MustCompile(regexp.QuoteMeta(topic) + `\s+1\s+2\s+5\s+3\s`); !line.MatchString(out) {
		t.Errorf("no line with position 2, end 5, lag 3 in:\n%s", out)
	}

	k.DeleteRecords(t, topic, 1, 4)
	starts, err := kadm.NewClient(k.Client(t)).ListStartOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := starts.Lookup(topic, 1); o.Offset != 4 {
		t.Errorf("got log start %d, want 4", o.Offset)
	}

	k.DeleteTopic(t, topic)
	k.CreateTopicAgain(t, topic, 1)
	k.Produce(t, records(topic, 0, 7, 1)...)
	if got := values(t, k, topic, 0, 0, 1); got[0] != "7" {
		t.Errorf("got record %s of the new topic, want 7", got[0])
	}
}

// The second user of a test process gets the same cluster.
func TestRealShared(t *testing.T) {
	first := testkafka.Real(t)
	if second := testkafka.Real(t); second != first {
		t.Errorf("got clusters at %s and %s", first.Brokers, second.Brokers)
	}
}

// A cluster has the features of its version, as one that people format: the new protocol of groups, and that of transactions.
func TestFeatures(t *testing.T) {
	client := testkafka.Real(t).Client(t)
	resp, err := kmsg.NewPtrApiVersionsRequest().RequestWith(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	levels := map[string]int16{}
	for _, f := range resp.FinalizedFeatures {
		levels[f.Name] = f.MaxVersionLevel
	}
	if levels["group.version"] < 1 || levels["transaction.version"] < 2 {
		t.Errorf("levels %v", levels)
	}
}

// Every push has brokers killed and started again by the consumer's tests.
func TestBrokerFaults(t *testing.T) {
	if testenv.Times(0, 1) == 0 {
		return
	}
	k := testkafka.StartReal(t, 1)
	topic := k.CreateTopic(t, "orders", 1)
	k.Produce(t, records(topic, 0, 0, 3)...)
	k.KillBroker(t, 0)
	client := k.Client(t)
	short, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if err := client.Ping(short); err == nil {
		t.Fatal("a killed broker answered")
	}
	k.RestartBroker(t, 0)
	k.Produce(t, records(topic, 0, 3, 1)...)
	k.StopBroker(t, 0)
	k.RestartBroker(t, 0)
	if got, want := strings.Join(values(t, k, topic, 0, 0, 4), " "), "0 1 2 3"; got != want {
		t.Errorf("got records %s, want %s", got, want)
	}
}

// A cluster of three keeps taking records that all of its living brokers have, with one broker down.
func TestThreeBrokers(t *testing.T) {
	if testenv.Times(0, 1) == 0 {
		return
	}
	k := testkafka.StartReal(t, 3)
	topic := k.CreateTopic(t, "orders", 3)
	k.KillBroker(t, 2)
	for p := range int32(3) {
		k.Produce(t, records(topic, p, 0, 1)...)
	}
	k.RestartBroker(t, 2)
	for p := range int32(3) {
		values(t, k, topic, p, 0, 1)
	}
}
