package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/oncesink/oncesink/internal/config"
	"github.com/oncesink/oncesink/internal/engine"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// patterns is what a session knows of patterns of topics.
type patterns struct {
	written *config.Config // as the file has it; nil without patterns
	// made are tables that patterns made, and missing says of those which are not there what to do.
	made    []string
	missing map[string]error
	// lenient: tables that patterns made and that can't be written are left out; left says why each is.
	lenient bool
	left    map[string]error
	// leftOut are topics that patterns match and that are no rows by their nature.
	leftOut []config.LeftOut
}

// use makes a configuration the session's.
func (s *session) use(cfg *config.Config) (err error) {
	untilEnd := s.consumer.UntilEnd
	s.cfg, s.sinkCfg, s.rollups = cfg, cfg.ToSink(), cfg.ToRollups()
	if s.consumer, err = cfg.ToConsumer(); err != nil {
		return err
	}
	s.consumer.Logger, s.sinkCfg.Logger, s.consumer.UntilEnd = s.log, s.log, untilEnd
	s.alone.lead(&s.consumer)
	return nil
}

// knowTables makes the tables of patterns known, for which it connects to both ends. Without patterns it does nothing.
func (s *session) knowTables(ctx context.Context) error {
	if s.written == nil {
		return nil
	}
	return s.connectKafka(ctx)
}

// expand asks the brokers for their topics, and the database for the keys of the tables that patterns make of them.
func (s *session) expand(ctx context.Context) error {
	if s.written == nil {
		return nil
	}
	if err := s.connectPostgres(ctx); err != nil {
		return err
	}
	meta, err := s.admin.Metadata(ctx)
	if err != nil {
		return s.kafkaError(err)
	}
	x, err := s.written.Expand(meta.Topics.Names())
	if err != nil {
		return err
	}
	if err := s.use(x.Config); err != nil {
		return err
	}
	s.made, s.leftOut, s.missing = x.Made, x.LeftOut, map[string]error{}
	if len(x.Tables) == 0 {
		return &environmentError{"Kafka: no topic matches a pattern of the tables: create one, correct the pattern, or see that the user may describe the topics"}
	}
	for i := range s.cfg.Tables {
		if t := &s.cfg.Tables[i]; slices.Contains(s.made, t.Name) {
			if err := s.keyOf(ctx, t); err != nil {
				return err
			}
		}
	}
	if err := s.use(s.cfg); err != nil {
		return err
	}
	return s.unknownRollups()
}

// tablesOf are the tables of the configuration, those that patterns make of these topics among them. It connects to nothing.
func (s *session) tablesOf(topics []string) []sink.TableConfig {
	if s.written != nil {
		if x, err := s.written.Expand(topics); err == nil {
			return x.ToSink().Tables
		}
	}
	return s.sinkCfg.Tables
}

// keyOf finds out whether a table is there that a pattern made, and gives it the key that it has in the database, unless the file says which.
func (s *session) keyOf(ctx context.Context, t *config.Table) error {
	var key []string
	var there bool
	err := s.conn(ctx, func(c *pgx.Conn) (err error) {
		key, there, err = schema.PrimaryKey(ctx, c, s.sinkCfg, t.Name)
		return err
	})
	if err != nil {
		return s.scrub(err)
	}
	upsert := t.Strategy == "" || t.Strategy == string(sink.Upsert)
	switch {
	case !there:
		fix := "create it, or except the topic"
		if t.Create != "" {
			fix = "run `oncesink init`"
		}
		s.missing[t.Name] = &sink.ConfigError{Problem: fmt.Sprintf("table %s, of topic %s, does not exist", t.Name, strings.Join(s.topicsOf(t.Name), ", ")), Fix: fix}
	case upsert && len(t.Key) == 0 && len(key) == 0:
		return &sink.ConfigError{Problem: fmt.Sprintf("table %s, of topic %s, has no primary key", t.Name, strings.Join(s.topicsOf(t.Name), ", ")), Fix: "add one, give the pattern's table a `key:`, or except the topic"}
	case upsert && len(t.Key) == 0:
		t.Key = key
	}
	return nil
}

// unknownRollups refuses rollups over tables that no pattern has made.
func (s *session) unknownRollups() error {
	var problems []error
	for _, r := range s.rollups {
		if name := s.cfg.TableName(r.Table); !slices.ContainsFunc(s.cfg.Tables, func(t config.Table) bool { return t.Name == name }) {
			problems = append(problems, &sink.ConfigError{Problem: fmt.Sprintf("rollup %s is over table %s, which no topic makes now", r.Name, r.Table), Fix: "correct its `table:`, or create the topic"})
		}
	}
	return errors.Join(problems...)
}

// unmade are the tables that patterns made and that are not there.
func (s *session) unmade() error {
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(s.missing)) {
		problems = append(problems, s.missing[name])
	}
	return errors.Join(problems...)
}

// leave leaves out the tables that patterns made and that can't be written as they are, if none of their topics was read before: a topic that
// somebody creates stops nobody else. What is in the way of each is kept in left, by table. If none is left, that is the error.
func (s *session) leave(ctx context.Context) error {
	if s.written == nil {
		return nil
	}
	if len(s.missing) == 0 {
		if _, err := engine.Open(ctx, s.pool, nil, s.sinkCfg); err == nil || !isConfig(err) {
			return s.scrub(err)
		}
	}
	rows, err := offsets.New(s.pool, s.consumer.Group, offsets.Options{}).Rows(ctx)
	if err != nil {
		return s.scrub(err)
	}
	left := map[string]error{}
	cfg := *s.cfg
	cfg.Tables = nil
	for _, family := range s.families() {
		topics := s.topicsOf(family[0].Name)
		read := slices.ContainsFunc(rows, func(r offsets.Row) bool { return slices.Contains(topics, r.Topic) })
		if slices.Contains(s.made, family[0].Name) && !read {
			if err := s.try(ctx, family); err != nil && !isConfig(err) {
				return err
			} else if err != nil {
				left[family[0].Name] = err
				continue
			}
		}
		cfg.Tables = append(cfg.Tables, family...)
	}
	if len(cfg.Tables) == 0 {
		return errors.Join(slices.Collect(maps.Values(left))...)
	}
	for name := range left {
		delete(s.missing, name)
	}
	s.left = left
	return s.use(&cfg)
}

// families are the tables, each followed by its children.
func (s *session) families() (out [][]config.Table) {
	for _, t := range s.cfg.Tables {
		i := slices.IndexFunc(out, func(f []config.Table) bool { return t.Strategy == string(sink.Children) && f[0].Name == t.Parent })
		if i < 0 {
			out = append(out, []config.Table{t})
		} else {
			out[i] = append(out[i], t)
		}
	}
	return out
}

// try opens tables apart from all others.
func (s *session) try(ctx context.Context, tables []config.Table) error {
	for i := range tables {
		if err := s.missing[tables[i].Name]; err != nil {
			return err
		}
	}
	cfg := *s.cfg
	cfg.Tables = tables
	_, err := engine.Open(ctx, s.pool, nil, cfg.ToSink())
	return s.scrub(err)
}

func isConfig(err error) bool {
	config := (*sink.ConfigError)(nil)
	return errors.As(err, &config)
}
