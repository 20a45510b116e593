package engine

import (
	"context"
	"fmt"
	"strings"

	"github.com/oncesink/oncesink/internal/mapping"
	"github.com/oncesink/oncesink/internal/tables"
	"github.com/oncesink/oncesink/offsets"
)

// Describe reports each table, in the order of the configuration.
func (s *Sink) Describe() []mapping.TableReport { return mapping.Describe(&s.cfg, s.Mapping()) }

// Routes say how rows get into each table, as [Sink.Describe] does, by the table's name. It is safe for concurrent use.
func (s *Sink) Routes() map[string]string {
	routes := map[string]string{}
	for _, t := range s.plan().tables {
		routes[t.Title()] = mapping.WayOf(t.Table)
	}
	return routes
}

// Findings are what [Sink.Lint] finds, in words, by the table's title. Tables without any are left out.
func (s *Sink) Findings(ctx context.Context) (map[string][]string, error) {
	m := s.plan().Mapping
	found, err := s.lint(ctx, m)
	if err != nil {
		return nil, err
	}
	said := map[string][]string{}
	for i := range found {
		for _, f := range found[i] {
			title := m.Tables[i].Title()
			said[title] = append(said[title], f.String())
		}
	}
	return said, nil
}

// Lint finds what keeps the same events from giving the same rows, for each table in the order of the configuration.
func (s *Sink) Lint(ctx context.Context) ([][]tables.Finding, error) {
	return s.lint(ctx, s.plan().Mapping)
}

func (s *Sink) lint(ctx context.Context, m *mapping.Mapping) ([][]tables.Finding, error) {
	tx, err := s.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("lint: %w", err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	return mapping.Lint(ctx, tx, m)
}

// Mappings returns fingerprint and definition of each topic's mapping into each table, for
// the ledger (rule 9).
//
// A fingerprint covers what the configuration says: table, strategy, key, version,
// guard, tombstones, the columns that it names, and the time zone. It does not
// cover the columns that are filled from the field of their name because the table
// has them: a column that a table gains is filled from the next start on, as in
// any `alter table add column`, and is no other mapping.
func (s *Sink) Mappings() []offsets.Mapping {
	var out []offsets.Mapping
	for _, t := range s.plan().tables {
		print, definition := mapping.Fingerprint(&s.cfg, t.Table), mapping.Definition(&s.cfg, t.Table)
		for _, topic := range t.Topics {
			out = append(out, offsets.Mapping{Topic: topic, Target: t.Title(), Fingerprint: print, Definition: definition})
		}
	}
	return out
}

// ReplayRefused says why the group must not be rewound; empty if it may be.
func (s *Sink) ReplayRefused() string {
	var why []string
	for _, t := range s.plan().tables {
		if !t.Guarded {
			why = append(why, fmt.Sprintf("table %s has no guard: rebuild it instead", t.Title()))
		}
	}
	if len(s.cfg.Handlers) > 0 && !s.cfg.HandlersReplaySafe {
		why = append(why, "the group has handlers that are not declared replay-safe")
	}
	return strings.Join(why, "; ")
}
