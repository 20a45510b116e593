package emptylog

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

func client(t *testing.T, b *Broker, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(Address), b.Option(), kgo.DisableClientMetrics()}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// A client finds topics with their ids, which begin and end where they were said to; below there is nothing, and nothing comes.
func TestEmptyLog(t *testing.T) {
	b := Start("a cluster", map[string]Topic{"orders": {ID: [16]byte{1, 2}, Ends: []int64{7, 0}}, "kept": {ID: [16]byte{3}, Ends: []int64{1}, Compacted: true}})
	t.Cleanup(b.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	admin := kadm.NewClient(client(t, b))
	meta, err := admin.Metadata(ctx)
	if err != nil || meta.Cluster != "a cluster" || len(meta.Topics) != 2 || meta.Topics["orders"].ID != (kadm.TopicID{1, 2}) || len(meta.Topics["orders"].Partitions) != 2 {
		t.Fatalf("%+v, %v", meta, err)
	}
	if meta, err = admin.Metadata(ctx, "others"); err != nil || !errors.Is(meta.Topics["others"].Err, kerr.UnknownTopicOrPartition) {
		t.Errorf("%+v, %v", meta, err)
	}
	for what, list := range map[string]func(context.Context, ...string) (kadm.ListedOffsets, error){
		"starts": admin.ListStartOffsets, "ends": admin.ListEndOffsets, "stable": admin.ListCommittedOffsets,
		"a time": func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
			return admin.ListOffsetsAfterMilli(ctx, 1, topics...)
		},
	} {
		got, err := list(ctx, "orders")
		p0, _ := got.Lookup("orders", 0)
		p1, ok := got.Lookup("orders", 1)
		if err = errors.Join(err, got.Error()); err != nil || p0.Offset != 7 || !ok || p1.Offset != 0 {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
	configs, err := admin.DescribeTopicConfigs(ctx, "orders", "kept")
	if err != nil {
		t.Fatal(err)
	}
	for topic, want := range map[string]string{"orders": "delete", "kept": "compact"} {
		if c, err := configs.On(topic, nil); err != nil || len(c.Configs) != 1 || c.Configs[0].MaybeValue() != want {
			t.Errorf("%s: %+v, %v", topic, c, err)
		}
	}
	var epochs kadm.OffsetForLeaderEpochRequest
	epochs.Add("orders", 0, 5)
	if got, err := admin.OffsetForLeaderEpoch(ctx, epochs); err != nil || got["orders"][0].EndOffset != 7 {
		t.Errorf("%+v, %v", got, err)
	}
	reader := client(t, b, kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"orders": {0: kgo.NewOffset().At(3), 1: kgo.NewOffset().At(0)}}))
	fetches := reader.PollFetches(ctx)
	if errs := fetches.Errors(); len(errs) != 1 || errs[0].Partition != 0 || !errors.Is(errs[0].Err, kerr.OffsetOutOfRange) {
		t.Errorf("%+v", fetches)
	}
	atEnd := client(t, b, kgo.ConsumeResetOffset(kgo.NoResetOffset()), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{"orders": {0: kgo.NewOffset().At(7).WithEpoch(4)}}))
	short, stop := context.WithTimeout(ctx, 100*time.Millisecond)
	defer stop()
	if fetches := atEnd.PollFetches(short); fetches.NumRecords() > 0 || !errors.Is(fetches.Err0(), context.DeadlineExceeded) {
		t.Errorf("at the end: %+v, %v", fetches, fetches.Err())
	}
}

// What it does not answer, and what is no request, ends the connection; Close ends all.
func TestConnectionsEnd(t *testing.T) {
	b := Start("c", map[string]Topic{"orders": {ID: [16]byte{1}, Ends: []int64{0}}})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	producer := client(t, b, kgo.RecordRetries(1), kgo.RequestRetries(0))
	if err := producer.ProduceSync(ctx, &kgo.Record{Topic: "orders", Value: []byte("v")}).FirstErr(); err == nil {
		t.Error("a record was taken")
	}
	for _, request := range [][]byte{{0xff, 0, 0, 0}, {0, 0, 0, 2, 0, 3}, {0, 0, 0, 10, 0x7f, 0xff, 0, 0, 0, 0, 0, 1, 0xff, 0xff}} {
		ours, theirs := net.Pipe()
		done := make(chan struct{})
		go func() { b.serve(theirs); close(done) }()
		if _, err := ours.Write(request); err != nil && ctx.Err() != nil {
			t.Error(err)
		}
		select {
		case <-done:
		case <-ctx.Done():
			t.Fatalf("%x: it goes on", request)
		}
	}
	producer.Close()
	b.Close()
	b.Close()
}
