package demo

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/oncesink/oncesink/internal/orders"
)

// flow sends the orders in three acts. It goes on at its rate as long as the faults
// come in time; where one takes longer, the flow waits for it before the next act, so
// that there always is something to be in the middle of.
type flow struct {
	sent   atomic.Int64
	gates  [2]chan struct{}
	done   chan struct{}
	err    error // once done is closed
	cancel context.CancelFunc
}

// flowTime is about how long the flow takes, if nothing holds it up.
const flowTime = 20 * time.Second

// flow starts the flow.
func (d *demo) flow(ctx context.Context) *flow {
	ctx, cancel := context.WithCancel(ctx)
	f := &flow{done: make(chan struct{}), cancel: cancel}
	for i := range f.gates {
		f.gates[i] = make(chan struct{})
	}
	first, second := d.Orders*45/100, d.Orders*40/100
	acts := [...]int64{first, second, d.Orders - first - second}
	rate := max(200, float64(d.Orders)/flowTime.Seconds())
	d.track("applied", d.Orders, &f.sent)
	d.say("orders flow in, %s events per second", grouped(int64(rate)))
	go func() {
		defer close(f.done)
		g := orders.New(d.Seed)
		var before int64
		for i, count := range acts {
			if i > 0 {
				select {
				case <-f.gates[i-1]:
				case <-ctx.Done():
					return
				}
			}
			feed := orders.Feed{Topic: topic, Rate: rate, Count: count, Sent: func(n int64) { f.sent.Store(before + n) }}
			n, err := orders.Produce(ctx, d.client, g, feed)
			if err != nil {
				f.err = err
				return
			}
			before += n
		}
	}()
	return f
}

// open lets act i+2 begin.
func (f *flow) open(i int) { close(f.gates[i]) }

// stop ends the flow, and waits for that.
func (f *flow) stop() {
	f.cancel()
	<-f.done
}
