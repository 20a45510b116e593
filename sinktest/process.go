package sinktest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/offsets"
)

// group is the sink group of every run.
const group = "sinktest"

// writeLimit bounds one call of the sink, beyond the wait for a missing parent row.
const writeLimit = time.Minute

// process is what the program under test is to the database: a pool, a sink, and
// claims in the ledger.
type process struct {
	c      *Case
	input  *input
	pool   *pgxpool.Pool
	wire   *wire
	sink   *engine.Sink
	ledger *offsets.Ledger
	claims map[offsets.Partition]offsets.Claim
}

// start starts a process in the database and claims all partitions.
func start(ctx context.Context, d *database, c *Case, in *input) (_ *process, err error) {
	p := &process{c: c, input: in, wire: &wire{links: map[*link]struct{}{}}, claims: map[offsets.Partition]offsets.Claim{}}
	if p.pool, err = p.newPool(ctx, d); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	cfg := c.Config
	if c.Handlers != nil {
		cfg.Handlers = c.Handlers(p.pool)
	}
	if p.sink, err = engine.Open(ctx, p.pool, nil, cfg); err != nil {
		return nil, err
	}
	p.ledger = offsets.New(p.pool, group, offsets.Options{
		Mappings: p.sink.Mappings(), ReplayRefused: p.sink.ReplayRefused(), Logger: cfg.Logger,
	})
	p.sink = p.sink.WithLedger(p.ledger)
	return p, p.claim(ctx)
}

// newPool makes a pool as a program makes it, on the process's wire.
func (p *process) newPool(ctx context.Context, d *database) (*pgxpool.Pool, error) {
	pool, _, err := offsets.NewPool(ctx, d.url, 8)
	if err != nil {
		return nil, err
	}
	cfg := pool.Config()
	pool.Close()
	// Or what is sent would depend on when.
	cfg.MinConns, cfg.MinIdleConns = 0, 0
	cfg.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	cfg.ConnConfig.Database = d.name
	cfg.ConnConfig.AfterNetConnect = p.wire.attach
	return pgxpool.NewWithConfig(ctx, cfg)
}

func (p *process) close() { p.pool.Close() }

// claim takes all partitions, in one order: source numbers are drawn in it.
func (p *process) claim(ctx context.Context) error {
	wants := make([]offsets.Want, len(p.input.partitions))
	for i, partition := range p.input.partitions {
		sum := sha256.Sum256([]byte(partition.Topic))
		wants[i] = offsets.Want{Partition: partition, TopicID: offsets.Token(sum[:16]), Start: &offsets.Position{Epoch: -1}}
	}
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	for {
		claimed, err := p.ledger.Claim(ctx, wants)
		if err != nil {
			return err
		}
		var held *offsets.HeldError
		err = nil
		for _, c := range claimed {
			err = errors.Join(err, c.Err)
			p.claims[c.Partition] = c.Claim
		}
		if err == nil || !errors.As(err, &held) {
			return err
		}
	}
}

// part holds what lies between the claim's position and to, after as many records
// below the position as are there and asked for. It is nil if the position doesn't
// lie below to and nothing is handed over again.
func (p *process) part(t target, again int) (*decode.Part, error) {
	claim := p.claims[t.Partition]
	records := p.input.records[t.Partition]
	lo, hi := find(records, claim.Position.Next), find(records, t.to)
	lo = max(0, min(lo, hi)-again)
	if lo >= hi {
		return nil, nil
	}
	part := &decode.Part{Claim: claim}
	_, err := p.sink.AddBlindly(part, records[lo:hi]...)
	return part, err
}

// write writes a transaction's records. What was written before is left to the sink to
// drop: again says how many records of that each part brings.
func (p *process) write(ctx context.Context, t transaction, again int) error {
	var parts []*decode.Part
	for _, target := range t {
		part, err := p.part(target, again)
		if err != nil {
			return err
		}
		if part != nil {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	limit := writeLimit + p.c.Config.ForeignKeyWait
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("it takes more than %s", limit))
	defer cancel()
	var failed error
	for _, o := range p.sink.Write(ctx, parts) {
		p.claims[o.Claim.Partition] = o.Claim
		if o.Err != nil && ctx.Err() != nil {
			return fmt.Errorf("write %s: %w", t, context.Cause(ctx))
		}
		if o.Err != nil {
			failed = errors.Join(failed, fmt.Errorf("write %s: %w", o.Claim.Partition, o.Err))
		}
	}
	return failed
}

// fenced writes a transaction that the ledger must refuse: another process has
// claimed the partitions.
func (p *process) fenced(ctx context.Context, t transaction) error {
	var parts []*decode.Part
	for _, target := range t {
		part, err := p.part(target, 0)
		if err != nil {
			return err
		}
		if part != nil {
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	for _, o := range p.sink.Write(ctx, parts) {
		if fenced := (*offsets.FencedError)(nil); !errors.As(o.Err, &fenced) {
			return fmt.Errorf("%s was written by a process that had lost it: got %v, want a *FencedError", o.Claim.Partition, o.Err)
		}
	}
	return nil
}
