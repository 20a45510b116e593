package consumer

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/avro"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/sink"
)

const avroSchema = `{"type":"record","name":"Event","fields":[{"name":"id","type":"long"},{"name":"v","type":"string"}]}`

// avroRig is a rig whose topic is of Avro, and its registry, which has schema 7.
func avroRig(t *testing.T, partitions int32) (*rig, *srfake.Registry) {
	g := srfake.New()
	t.Cleanup(g.Close)
	g.SeedSchema("orders-value", 1, 7, sr.Schema{Schema: avroSchema})
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", partitions)
	return r, g
}

// of gives a consumer the registry.
func of(g *srfake.Registry, wait time.Duration) func(*Config, *sink.Config) {
	return func(c *Config, s *sink.Config) {
		s.Topics = map[string]sink.TopicConfig{"orders": {Format: sink.Avro}}
		c.Registry = &Registry{URLs: []string{g.URL()}, UnknownSchemaWait: wait}
	}
}

// produceAvro appends n events that refer to a schema by id; their ids count from first.
func (r *rig) produceAvro(partition int32, schema byte, first, n int) {
	r.t.Helper()
	s := avro.MustParse(avroSchema)
	recs := make([]*kgo.Record, n)
	for i := range recs {
		b, err := s.Encode(map[string]any{"id": int64(first + i), "v": "x"})
		r.must(err)
		recs[i] = &kgo.Record{Topic: r.topic, Partition: partition, Value: append([]byte{0, 0, 0, 0, schema}, b...)}
	}
	r.must(r.client.ProduceSync(r.t.Context(), recs...).FirstErr())
}

// down has the registry answer everything with a status, while it is not 0.
func down(g *srfake.Registry) *atomic.Int32 {
	var status atomic.Int32
	g.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		if n := status.Load(); n != 0 {
			w.WriteHeader(int(n))
			return true
		}
		return false
	})
	return &status
}

// A registry that is down holds up what has a new schema, and nothing else: neither in the middle nor after a restart.
func TestRegistryIsDown(t *testing.T) {
	r, g := avroRig(t, 2)
	status := down(g)
	r.produceAvro(0, 7, 0, 10)
	p := r.start(of(g, 0))
	r.waitApplied(10)
	status.Store(500)
	g.SeedSchema("orders-value", 2, 8, sr.Schema{Schema: avroSchema + " "})
	r.produceAvro(0, 8, 10, 10)
	r.produceAvro(1, 7, 100, 10)
	r.waitApplied(20)
	const why = "waiting for schema id 8 of the values of topic orders: the schema registry answers 500"
	eventually(t, "the status says so", func() bool { s := p.Status(); return len(s) > 0 && s[0].Err != nil && s[0].Err.Error() == why })
	r.must(p.end(t))
	r.produceAvro(1, 7, 110, 10)
	p = r.start(of(g, 0)) // which finds schema 7 in the database
	r.waitApplied(30)
	status.Store(0)
	r.waitApplied(40)
	r.must(p.end(t))
	r.verify(map[int32]int64{0: 20, 1: 20})
	if got := r.queryInt(`select count(*) from oncesink.schemas s join oncesink.schema_uses u using (registry, space, id) where u.topic = 'orders' and not of_key and s.text ~ 'Event'`); got != 2 {
		t.Errorf("%d schemas are kept, want 2", got)
	}
	if got := r.queryInt(`select count(*) from oncesink.dead_letters`); got != 0 {
		t.Errorf("%d dead letters", got)
	}
	if n := strings.Count(p.log.String(), "keep a schema"); n != 0 {
		t.Errorf("%d times a schema could not be kept", n)
	}
}

// A schema that a registry does not know yet is waited for; one that it never knows is its record's fault, if it knows others
// of the topic, also after a restart. Once it does, a letter is written.
func TestUnknownToTheRegistry(t *testing.T) {
	r, g := avroRig(t, 1)
	r.produceAvro(0, 7, 0, 5)
	r.produceAvro(0, 8, 5, 1)
	p := r.start(of(g, time.Minute))
	r.waitApplied(5)
	eventually(t, "it is waited for", func() bool {
		s := p.Status()
		return len(s) > 0 && s[0].Err != nil && strings.Contains(s[0].Err.Error(), "(404)")
	})
	g.SeedSchema("orders-value", 2, 8, sr.Schema{Schema: avroSchema + " "})
	r.waitApplied(6)
	r.must(p.end(t))

	r.produceAvro(0, 9, 6, 2)
	r.produceAvro(0, 7, 8, 2)
	p = r.start(of(g, 200*time.Millisecond)) // it has read nothing of the topic, and knows from the database that it is the right registry
	r.waitApplied(8)
	if got := r.queryInt(`select count(*) from oncesink.dead_letters where code = 'ONS20' and message = 'the schema registry does not know schema id 9, and was asked for it for 200ms'`); got != 2 {
		t.Errorf("%d dead letters, want 2", got)
	}
	r.must(p.end(t))
	g.SeedSchema("orders-value", 3, 9, sr.Schema{Schema: avroSchema + "  "})
	p = r.start(of(g, 200*time.Millisecond))
	r.exec(`select oncesink.retry_dead_letters($1, late => true)`, group)
	eventually(t, "the letters are written", func() bool {
		return r.queryInt(`select count(*) from oncesink.dead_letters where status = 'resolved'`) == 2
	})
	r.must(p.end(t))
	if got := r.queryInt(`select count(*) from events`); got != 10 {
		t.Errorf("%d rows, want 10", got)
	}
}

// What no waiting mends halts the partition, in words that name the schema and its subject: no record is to blame.
func TestRegistryHalts(t *testing.T) {
	for name, test := range map[string]struct {
		schema byte
		fill   func(*srfake.Registry)
		want   string
	}{
		"the wrong registry": {66, nil, "get schema id 66 of the values of topic orders: the schema registry does not know schema id 66, and was asked for it for 200ms, nor has it ever had one of this topic: see that registry.urls leads to the registry of the topic's producers"},
		"garbage": {8, func(g *srfake.Registry) { g.SeedSchema("trash", 3, 8, sr.Schema{Schema: `{"type":"nothing"}`}) },
			"use schema id 8 of the values of topic orders (subject trash, version 3): read its text: "},
		"another format": {8, func(g *srfake.Registry) {
			g.SeedSchema("p", 1, 8, sr.Schema{Schema: `syntax = "proto3";`, Type: sr.TypeProtobuf})
		},
			"use schema id 8 of the values of topic orders (subject p, version 1): it is a schema of type PROTOBUF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, g := avroRig(t, 1)
			if test.fill != nil {
				test.fill(g)
			}
			r.produceAvro(0, test.schema, 0, 1)
			p := r.start(of(g, 200*time.Millisecond))
			if got := r.halted(0); !strings.HasPrefix(got, test.want) {
				t.Errorf("halted by %q, want %q", got, test.want)
			}
			r.must(p.end(t))
			if got := r.queryInt(`select (select count(*) from oncesink.dead_letters) + (select count(*) from oncesink.schemas)`); got != 0 {
				t.Errorf("%d dead letters and schemas", got)
			}
		})
	}
}
