package orders

import (
	"context"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testkafka"
)

func TestMain(m *testing.M) { os.Exit(testkafka.Main(m)) }

func client(t *testing.T) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(testkafka.Fake(t).ListenAddrs()...))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestProduce(t *testing.T) {
	c := client(t)
	for _, want := range []bool{true, false} {
		made, err := CreateTopic(t.Context(), c, "orders", 3)
		if err != nil || made != want {
			t.Fatalf("CreateTopic: %v, %v; want %v", made, err, want)
		}
	}
	g := New(1)
	for i, count := range []int64{1000, 500} {
		sent, err := Produce(t.Context(), c, g, Feed{Topic: "orders", Count: count})
		if err != nil || sent != count {
			t.Fatalf("Produce: %d, %v; want %d", sent, err, count)
		}
		length, err := Length(t.Context(), c, "orders")
		if want := int64(1000 + 500*i); err != nil || length != want {
			t.Fatalf("Length: %d, %v; want %d", length, err, want)
		}
	}
}

// A generator is stopped by its context; what it made is in the topic, so that
// the topic's length says where to go on.
func TestProduceStops(t *testing.T) {
	c := client(t)
	if _, err := CreateTopic(t.Context(), c, "orders", 3); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	var last atomic.Int64
	g := New(1)
	began := time.Now()
	sent, err := Produce(ctx, c, g, Feed{Topic: "orders", Rate: 500, Sent: func(n int64) {
		last.Store(n)
		if n == 100 {
			stop()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < 150*time.Millisecond {
		t.Errorf("100 events at 500 per second took %v", took)
	}
	length, err := Length(t.Context(), c, "orders")
	if err != nil || length != sent || last.Load() != sent || g.seq != sent || sent < 100 {
		t.Errorf("%d sent, %d reported, %d made, %d in the topic (%v)", sent, last.Load(), g.seq, length, err)
	}
}

func TestProduceError(t *testing.T) {
	c := client(t)
	if _, err := Produce(t.Context(), c, New(1), Feed{Topic: "nowhere", Count: 10}); err == nil {
		t.Error("events for a topic that does not exist were sent")
	}
}
