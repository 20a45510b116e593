package main

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/docs"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/rehearse"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
)

// prepared is all that a run knows before it joins its group. `run` and `check` get it by the same
// steps: what the one refuses, the other does.
type prepared struct {
	sink     *engine.Sink
	ledger   *offsets.Ledger
	consumer *consumer.Consumer
	// outlook is what the first claims and fetches would meet; empty if passing says why it is not known.
	outlook  *wiring.Outlook
	warnings []string
	// passing is what stood in the way and passes by itself, such as a table that is locked: a run starts nevertheless.
	passing error
}

// prepare connects to both ends and looks at everything that can be told before the first record.
func (s *session) prepare(ctx context.Context) (*prepared, error) {
	if err := s.connectPostgres(ctx); err != nil {
		return nil, err
	}
	if err := s.checkLedger(ctx); err != nil {
		return nil, s.scrub(err)
	}
	if err := s.connectKafka(ctx); err != nil {
		return nil, err
	}
	if s.lenient {
		if err := s.leave(ctx); err != nil {
			return nil, err
		}
	}
	away, err := s.checkRegistry(ctx)
	if err != nil {
		return nil, err
	}
	s.observed()
	sk, ledger, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	p := &prepared{sink: sk, ledger: ledger, outlook: &wiring.Outlook{}}
	if err := s.conn(ctx, func(c *pgx.Conn) error { return offsets.CheckRights(ctx, c) }); err != nil {
		return nil, s.scrub(err)
	}
	p.warnings, err = rehearse.Statements(ctx, sk)
	p.warnings = append(p.warnings, away...)
	if isConfig(err) {
		return nil, s.scrub(err)
	}
	p.passing = s.scrub(err)
	archive, err := s.archive(ctx)
	if err != nil {
		return nil, err
	}
	var look wiring.Look
	if p.consumer, err = consumer.NewWith(s.consumer, wiring.Parts{Ledger: ledger, Engine: sk, Archive: archive, NoMirror: s.alone.only, Look: &look}); err != nil {
		return nil, s.scrub(err)
	}
	bounded, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	o, err := look(bounded, s.client)
	if err != nil {
		p.passing = errors.Join(p.passing, s.scrub(err))
		return p, nil
	}
	p.outlook, p.warnings = o, append(p.warnings, o.Warnings...)
	return p, nil
}

// checkRegistry sees that the schema registry lets the program in. That it is away is a warning: schemas that are kept are enough for a
// while.
func (s *session) checkRegistry(ctx context.Context) (warnings []string, err error) {
	if s.consumer.Registry == nil {
		return nil, nil
	}
	g, err := s.consumer.NewRegistry(nil)
	if err != nil {
		return nil, s.scrub(err)
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	err = g.Check(ctx)
	if isConfig(err) {
		return nil, &led{s.scrub(err), docs.Runbook("the-schema-registry-is-away")}
	}
	if err != nil {
		warnings = append(warnings, s.cfg.Scrub("the schema registry can't be asked now: "+err.Error()+". Schemas that are kept in oncesink.schemas are used, others are waited for; "+stepByStep+docs.Runbook("the-schema-registry-is-away")))
	}
	return warnings, nil
}

// refused is what ends a run at once.
func (p *prepared) refused() error { return errors.Join(p.outlook.Refused...) }

// halted is what halts partitions at once, beside what ends a run.
func (p *prepared) halted() error {
	if len(p.outlook.Halted) == 0 {
		return p.refused()
	}
	return &haltedError{errors.Join(append(p.outlook.Refused, p.outlook.Halted...)...)}
}

// haltedError is what stands in the way of partitions: a person has to act first.
type haltedError struct{ error }

func (e *haltedError) Unwrap() error { return e.error }
