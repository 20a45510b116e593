package consumer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// Somebody may want dead letters to be tried again: oncesink.retry_dead_letters marks them in their table. Whoever owns
// their partition finds them there, and writes their records between its own transactions, oldest first: at
// most Config.Sink.DeadLetters.RetryRate a second of a partition, so that what comes new is not held up.

const (
	// retryInterval is how often the table is looked at.
	retryInterval = time.Second
	// retryRecords and retryBytes bound one transaction of letters.
	retryRecords = 100
	retryBytes   = 4 << 20
)

// retryLetters tries letters again for as long as ctx lives.
func (m *member) retryLetters(ctx context.Context) {
	tick := time.NewTicker(retryInterval)
	defer tick.Stop()
	var told seldom
	for {
		asked, err := m.sink.Asked(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil && told.due() {
			m.log.Warn("look for dead letters to try again", "error", err)
		}
		for p := range asked {
			if l := m.lane(p); l != nil && l.view().state == running && !m.retryLane(ctx, l) {
				delete(asked, p)
			}
		}
		if err == nil {
			m.mu.Lock()
			m.asked = asked
			m.mu.Unlock()
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// retryLane tries the letters of a lane's partition again, as many as the rate allows. It reports whether there may be more.
func (m *member) retryLane(ctx context.Context, l *lane) (more bool) {
	resolved, refused := 0, 0
	defer func() {
		if resolved+refused > 0 {
			m.log.Info("tried dead letters again", "topic", l.Topic, "partition", l.Partition.Partition, "written", resolved, "refused", refused)
		}
	}()
	for left := m.sink.RetryRate(); left > 0; {
		n, done, failed, ok := m.retrySome(ctx, l, min(left, retryRecords))
		resolved, refused, left = resolved+done, refused+failed, left-n
		if !ok || n == 0 {
			return !ok
		}
	}
	return true
}

// retrySome tries some letters again. It returns how many, how many were written and how many refused; ok says that it
// could, and that the lane is still ours.
func (m *member) retrySome(ctx context.Context, l *lane, most int) (n, resolved, refused int, ok bool) {
	txctx, cancel := context.WithCancel(ctx)
	defer cancel()
	read := l.view().claim
	requests, parts, err := m.readLetters(txctx, read, most) // the lane goes on meanwhile
	if err != nil {
		m.tellRetry(ctx, l, err)
		return 0, 0, 0, false
	}
	if len(requests) == 0 {
		return 0, 0, 0, true
	}
	claim, ok := l.borrow(cancel)
	if !ok {
		return 0, 0, 0, false
	}
	ok = claim.Fence == read.Fence
	for i := 0; ok && i < len(requests); i++ {
		parts[i].Claim.Fence, parts[i].Claim.Position = claim.Fence, claim.Position
		var done, failed int
		done, failed, err = m.sink.Retry(txctx, parts[i], requests[i].Late)
		n, resolved, refused, ok = n+len(requests[i].Records), resolved+done, refused+failed, err == nil
	}
	m.settleRetry(ctx, l, claim, err)
	return n, resolved, refused, ok
}

// readLetters returns letters of a claim's partition that are to be tried again, decoded.
func (m *member) readLetters(ctx context.Context, claim offsets.Claim, most int) ([]engine.Requests, []*decode.Part, error) {
	requests, err := m.sink.Requests(ctx, claim, most, retryBytes)
	if err != nil {
		return nil, nil, err
	}
	parts := make([]*decode.Part, len(requests))
	for i, r := range requests {
		if parts[i], err = m.letters(ctx, r); err != nil {
			return nil, nil, err
		}
	}
	return requests, parts, nil
}

// settleRetry gives the lane back. An error is what it is after any of its transactions, but that what may pass holds nothing up.
func (m *member) settleRetry(ctx context.Context, l *lane, claim offsets.Claim, err error) {
	var (
		fenced *offsets.FencedError
		config *sink.ConfigError
		halt   *sink.HaltError
	)
	if ctx.Err() == nil && (errors.As(err, &fenced) || errors.As(err, &config) || errors.As(err, &halt)) {
		m.settle(l, engine.Outcome{Claim: claim, Err: err})
		return
	}
	m.tellRetry(ctx, l, err)
	l.landed(claim, true)
	if l.waiting() > 0 {
		m.ready.push(l)
	}
	m.claims.wake()
}

// tellRetry says, seldom, why letters can't be tried: the database or the registry of schemas does not answer, something that should pass
// does not, or somebody has damaged a letter by hand.
func (m *member) tellRetry(ctx context.Context, l *lane, err error) {
	if err == nil || ctx.Err() != nil || errors.Is(err, context.Canceled) { // with the lane
		return
	}
	if now := time.Now(); now.Sub(l.retryTold) >= unreadableQuiet {
		l.retryTold = now
		m.log.Warn("dead letters can't be tried again", "topic", l.Topic, "partition", l.Partition.Partition, "error", err)
	}
}

// letters decodes letters, and gets the schemas that they need.
func (m *member) letters(ctx context.Context, r engine.Requests) (*decode.Part, error) {
	part := &decode.Part{Claim: r.Claim}
	for records := r.Records; ; {
		n, err := m.sink.Add(part, records...)
		records = records[n:]
		var missing *decode.MissingSchema
		var fields *decode.NewFields
		switch {
		case err == nil:
			return part, nil
		case errors.As(err, &fields):
			if err := m.sink.Settle(ctx, fields); err != nil {
				return nil, fmt.Errorf("%w: %w", fields, err)
			}
			continue
		case !errors.As(err, &missing) || m.schemas == nil:
			return nil, err
		}
		ask, cancel := context.WithTimeout(ctx, askSchemaTimeout)
		schema, askErr := m.schemas.Schema(ask, missing.Ref)
		cancel()
		var no *event.NoSchema
		if errors.As(askErr, &no) {
			if err := m.blame(ctx, missing.SchemaOf, no); err != nil {
				return nil, err
			}
			continue
		}
		if askErr != nil {
			return nil, errors.Join(err, askErr)
		}
		if err := m.sink.Learn(missing.SchemaOf, schema); err != nil {
			return nil, err
		}
		m.keep(ctx, missing.SchemaOf)
	}
}
