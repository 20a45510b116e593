package consumer

import (
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/kafka"
	"github.com/oncesink/oncesink/sink"
)

// offer queues polled records. If the lane is full by then it calls suspend, which stops fetching,
// before anybody can find the lane drained: a resume that came first would be undone for good.
func (l *lane) offer(recs []*kgo.Record, limits *Config, suspend func(*lane)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.state != running || l.aside != nil {
		return
	}
	l.queue(recs)
	if !l.throttle && l.full(limits) {
		l.throttle = true
		suspend(l)
	}
}

// queue takes the records that the lane does not have yet. It is called under the lock.
func (l *lane) queue(recs []*kgo.Record) {
	for len(recs) > 0 && recs[0].Offset < l.next {
		recs = recs[1:]
	}
	if len(recs) == 0 {
		return
	}
	l.raw = slices.Grow(l.raw, len(recs))
	for _, r := range recs {
		l.raw = append(l.raw, kafka.Record(r))
		l.rawBytes += rawBytes(len(r.Key), len(r.Value))
	}
	l.next = recs[len(recs)-1].Offset + 1
	l.changed.Broadcast()
}

// full reports whether the lane has enough to do. It is called under the lock.
func (l *lane) full(limits *Config) bool {
	return len(l.raw) > 2*limits.MaxBatchRecords || l.rawBytes > limits.MaxBatchBytes
}

// bounded notes that the log goes on past the lane's bound.
func (l *lane) bounded() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beyond = true
}

// applied reports whether everything below the bound is committed.
func (l *lane) applied(bound int64) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claim.ID.IsZero() || l.state != running {
		return false
	}
	return l.claim.Position.Next >= bound || l.beyond && len(l.raw) == 0 && l.decoding == 0 && l.part.Len() == 0 && !l.inFlight
}

// memory is roughly how many bytes the lane holds.
func (l *lane) memory() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held()
}

// held is memory, under the lane's lock.
func (l *lane) held() int64 { return int64(l.rawBytes + l.decoding + l.part.Bytes() + l.flying) }

// decodeChunk is how many records are decoded before they are appended to the part.
const decodeChunk = 256

// decoder is what lanes decode with.
type decoder struct {
	add     func(*decode.Part, ...sink.Record) (int, error) // decodes records into a part
	parts   *sync.Pool                                      // of empty parts, whose memory is used again
	limits  *Config
	learn   func(l *lane, turns int, err error) bool // gets what add lacked
	ready   func(*lane)                              // there is something for a writer
	drained func(*lane)                              // a throttled lane may be fetched again; called under the lane's lock
}

// decode moves records from the queue to the part until the lane is closed. They are decoded
// outside of the lane's lock, into a part of their own.
func (l *lane) decode(d *decoder) {
	for {
		chunk, turns := l.nextChunk(d.limits)
		if chunk == nil {
			return
		}
		part := d.parts.Get().(*decode.Part)
		l.decodeChunk(d, chunk, turns, part)
		clear(chunk)
		d.parts.Put(part)
	}
}

// decodeChunk decodes a chunk into an empty part and joins it to the lane's. What stands before a record that can't be
// read yet is joined, and so can be written, at once.
func (l *lane) decodeChunk(d *decoder, chunk []sink.Record, turns int, part *decode.Part) {
	for {
		n, err := d.add(part, chunk...)
		chunk = chunk[n:]
		ready, joinErr := l.join(part, turns, chunk, d)
		if ready {
			d.ready(l)
		}
		if err == nil {
			err = joinErr
		}
		if err == nil {
			return
		}
		if !d.learn(l, turns, err) {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.decoding = 0
			*part = decode.Part{}
			return
		}
	}
}

// nextChunk waits for records, and room for them in the part, and takes them off the queue. It returns
// nil when the lane is closed, and otherwise the lane's turns as well.
func (l *lane) nextChunk(limits *Config) (chunk []sink.Record, turns int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.state != closed && (len(l.raw) == 0 || l.part.Len() >= limits.MaxBatchRecords || l.part.Bytes() >= limits.MaxBatchBytes) {
		l.changed.Wait()
	}
	if l.state == closed {
		return nil, l.turns
	}
	// The part can only become smaller until the chunk is appended: nobody else adds to it.
	n := min(decodeChunk, len(l.raw), limits.MaxBatchRecords-l.part.Len())
	if l.part.Len() == 0 {
		l.part.Grow(min(len(l.raw), limits.MaxBatchRecords), l.rawBytes)
	}
	chunk, l.raw = l.raw[:n:n], l.raw[n:]
	if len(l.raw) == 0 {
		l.raw = nil
	}
	l.decoding, l.decodeAt = bytesOf(chunk), chunk[0].Timestamp
	l.rawBytes -= l.decoding
	return chunk, l.turns
}

// join adds a decoded chunk to the lane's part, unless the lane has left the state in which the
// records were polled: then they are dropped, as all that it held. The rest of the chunk is not decoded yet. It reports whether a
// writer may take the part. An error is one of [decode.Part.Append]: the chunk is as it was.
func (l *lane) join(chunk *decode.Part, turns int, rest []sink.Record, d *decoder) (ready bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.decoding = bytesOf(rest)
	if l.turns != turns {
		*chunk = decode.Part{}
		return false, nil
	}
	if err := l.part.Append(chunk); err != nil {
		l.decoding += chunk.Bytes()
		return false, err
	}
	if l.throttle && len(l.raw) <= d.limits.MaxBatchRecords && l.rawBytes <= d.limits.MaxBatchBytes/2 {
		l.throttle = false
		if l.aside == nil {
			d.drained(l)
		}
		l.changed.Broadcast() // whoever reads the archive for it
	}
	return !l.inFlight && l.part.Len() > 0, nil
}

// bytesOf is roughly what records that wait to be decoded hold in memory.
func bytesOf(records []sink.Record) (n int) {
	for i := range records {
		n += rawBytes(len(records[i].Key), len(records[i].Value))
	}
	return n
}

// rawBytes is roughly what a record that waits to be decoded holds in memory.
func rawBytes(key, value int) int { return key + value + 200 }
