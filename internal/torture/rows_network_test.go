package torture

import (
	"fmt"
	"time"

	"github.com/oncesink/oncesink/internal/torture/wire"
)

// sides are the wires of a row: those to the brokers, and that to PostgreSQL.
func (r *rig) sides() map[string][]*wire.Proxy {
	return map[string][]*wire.Proxy{"Kafka": r.kafka.wires, "PostgreSQL": {r.pg}}
}

// cuts: connections are reset, and a hole swallows what is sent for longer than a session lasts, on each side and on both.
func cuts(r *rig) {
	r.begin(setup{})
	r.load(300)
	r.start("")
	r.moved(50)
	for _, side := range []string{"Kafka", "PostgreSQL"} {
		for range 3 {
			since, n := time.Now(), 0
			for _, p := range r.sides()[side] {
				n += p.Reset()
			}
			if n == 0 {
				r.Errorf("no connection to %s", side)
			}
			r.fired("connections reset, "+side, n)
			r.recovered(since)
		}
		r.hole(r.between(4*time.Second, 6*time.Second), side)
	}
	r.hole(r.between(time.Second, 4*time.Second), "Kafka", "PostgreSQL")
}

// hole opens a hole on some sides for a time.
func (r *rig) hole(lasts time.Duration, sides ...string) {
	r.Helper()
	for _, side := range sides {
		for _, p := range r.sides()[side] {
			p.Hole()
		}
	}
	r.pause(lasts)
	since := time.Now()
	for _, side := range sides {
		held := 0
		for _, p := range r.sides()[side] {
			held += p.Heal()
		}
		if held == 0 {
			r.Errorf("the hole to %s held nothing", side)
		} else {
			r.fired("black holes, "+side, 1)
		}
	}
	r.recovered(since)
}

// shapes: bytes come late, slowly, and one by one.
func shapes(r *rig) {
	r.begin(setup{})
	stop := r.load(150)
	r.start("")
	r.moved(50)
	for _, s := range []struct {
		what  string
		shape wire.Shape
	}{
		{"1 ms late", wire.Shape{Delay: time.Millisecond}}, {"10 ms late", wire.Shape{Delay: 10 * time.Millisecond}}, {"100 ms late", wire.Shape{Delay: 100 * time.Millisecond}},
		{"200 kB a second", wire.Shape{Rate: 200_000}}, {"one byte at a time", wire.Shape{Slice: 1}},
	} {
		since := time.Now()
		for _, wires := range r.sides() {
			for _, p := range wires {
				p.Shape(s.shape)
			}
		}
		r.moved(100)
		r.recovered(since)
		for side, wires := range r.sides() {
			n := 0
			for _, p := range wires {
				n += p.Shaped()
				p.Heal()
			}
			if n == 0 {
				r.Errorf("nothing passed %s: %s", s.what, side)
			}
			r.fired(fmt.Sprintf("pieces that came %s", s.what), n)
		}
	}
	stop()
}
