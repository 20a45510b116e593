package consumer

import (
	"errors"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// A bounded partition is applied up to its bound and not beyond, also where the log goes on; then Run
// returns. The next bound is taken up from there. Nothing is told to the Kafka group.
func TestUntilBounds(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "bounded", 3)
	r.produce(0, 0, 500)
	r.produce(1, 1000, 50)
	for _, bounds := range [][3]int64{{120, 50, 0}, {120, 50, 0}, {121, 50, 0}, {500, 50, 0}} {
		r.parts = wiring.Parts{Until: map[offsets.Partition]int64{}, NoMirror: true}
		for i, b := range bounds {
			r.parts.Until[offsets.Partition{Topic: "bounded", Partition: int32(i)}] = b
		}
		p := r.start(smallBatches, func(c *Config, _ *sink.Config) { c.Assign = map[string][]int32{"bounded": {0, 1, 2}} })
		if err := p.wait(t); err != nil {
			t.Fatal(err)
		}
		r.verify(map[int32]int64{0: bounds[0], 1: bounds[1]})
	}
	if committed, err := r.admin.FetchOffsets(t.Context(), group); !errors.Is(err, kerr.GroupIDNotFound) {
		t.Errorf("the Kafka group was told %v, %v", committed, err)
	}
}

// A bound is for partitions that are assigned by hand.
func TestUntilNeedsAssignment(t *testing.T) {
	_, err := NewWith(Config{Brokers: []string{"localhost:9"}, Group: group, Topics: map[string]Start{"bounded": {}}},
		wiring.Parts{Until: map[offsets.Partition]int64{{Topic: "bounded"}: 1}})
	if err == nil {
		t.Error("a bound without an assignment is accepted")
	}
}
