package page

import (
	"slices"
	"sync"
	"time"
)

// event is something that happened, to partitions of one topic perhaps.
type event struct {
	ID int64 `json:"id"`
	// Kind is claim, group, refused, fence, halt, retry, unknown or action.
	Kind  string    `json:"kind"`
	At    time.Time `json:"at"`
	Topic string    `json:"topic,omitempty"`
	// Where names the partitions, shortly; empty: it has none.
	Where string `json:"where,omitempty"`
	Text  string `json:"text"`
	// Times it happened, the last time at At.
	Times int `json:"times"`

	partitions []int32
}

const (
	maxEvents = 200
	// mergeWithin is for how long the same that happens again, or to another partition of the topic, is not told apart: a thousand
	// partitions that are claimed at a start are one event.
	mergeWithin = 10 * time.Second
	mergeAmong  = 12 // the last events
)

// events are the last ones.
type events struct {
	mu   sync.Mutex
	last int64
	all  []event // the newest last
}

func (e *events) add(x event) int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	x.At, x.Times = time.Now(), 1
	for i := len(e.all) - 1; i >= max(0, len(e.all)-mergeAmong) && x.Kind != "action"; i-- {
		y := &e.all[i]
		if y.Kind != x.Kind || y.Topic != x.Topic || y.Text != x.Text || x.At.Sub(y.At) > mergeWithin {
			continue
		}
		again := true
		for _, n := range x.partitions {
			if !slices.Contains(y.partitions, n) {
				y.partitions, again = append(slices.Clip(y.partitions), n), false // what was told of it stays as it is
			}
		}
		y.At = x.At
		if again {
			y.Times++
		}
		return y.ID
	}
	e.last++
	x.ID = e.last
	e.all = append(e.all, x)
	if n := len(e.all) - maxEvents; n > 0 {
		e.all = slices.Delete(e.all, 0, n)
	}
	return x.ID
}

// newest are all that there are, the newest first.
func (e *events) newest() []event {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]event, 0, len(e.all))
	for _, x := range slices.Backward(e.all) {
		x.Where = whereOf(x.Topic, x.partitions)
		out = append(out, x)
	}
	slices.SortStableFunc(out, func(a, b event) int { return b.At.Compare(a.At) })
	return out
}

func (e *events) find(id int64) (event, bool) {
	for _, x := range e.newest() {
		if x.ID == id {
			return x, true
		}
	}
	return event{}, false
}
