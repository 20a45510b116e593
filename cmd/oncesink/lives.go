package main

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/oncesink/oncesink/internal/config"
)

// topicRefresh is how often topics are looked for that match a pattern.
func (s *session) topicRefresh() time.Duration {
	return cmp.Or(time.Duration(s.cfg.Kafka.TopicRefresh), time.Minute)
}

// prepareAll is prepare for a run: tables of patterns that can't be written are left out, and told once.
func (s *session) prepareAll(ctx context.Context, told map[string]string) (*prepared, error) {
	s.lenient = true
	p, err := s.prepare(ctx)
	if err == nil {
		err = p.refused()
	}
	for _, table := range slices.Sorted(maps.Keys(s.left)) {
		if why := s.left[table].Error(); told[table] != why {
			told[table] = why
			s.log.Error("a table is left out: its topic is not read until that is mended", "table", table, "error", why)
		}
	}
	return p, err
}

// tell logs what a run begins with.
func (s *session) tell(p *prepared) {
	if p.passing != nil {
		s.log.Warn("not everything could be looked at before the start", "error", p.passing)
	}
	for _, w := range p.warnings {
		s.log.Warn(w)
	}
	s.log.Info("connected", "topics", p.sink.Topics(), "cluster", s.meta.Cluster, "instance", p.ledger.Instance())
	s.log.Info("running", "group", s.consumer.Group, "version", version())
}

// lives runs until ctx ends. Where a pattern matches a new topic, a new life begins with its table: like a restart, which the ledger makes
// harmless, and only once the new one is ready to begin. It closes the session.
func (s *session) lives(ctx context.Context, p *prepared, told map[string]string, out *display) (*summary, error) {
	defer func() { s.close() }()
	var all *summary
	for {
		s.tell(p)
		if s.watched != nil {
			s.watched.Follow(p.consumer, s.pool)
		}
		life, end := context.WithCancel(ctx)
		var next *session
		var ready *prepared
		var watching sync.WaitGroup
		if s.written != nil && !s.consumer.UntilEnd {
			watching.Go(func() {
				next, ready = s.await(life, told)
				if next != nil {
					end()
				}
			})
		}
		did, err := s.narrated(life, p, out)
		end()
		watching.Wait()
		all = did.after(all)
		if next == nil {
			return all, err
		}
		if err != nil || ctx.Err() != nil {
			next.close()
			return all, err
		}
		s.close()
		s, p = next, ready
	}
}

// await looks now and then for topics that match a pattern, and for tables that were missing. It returns a session that is ready to run with what
// is new, and nil when ctx ends.
func (s *session) await(ctx context.Context, told map[string]string) (*session, *prepared) {
	tick := time.NewTicker(s.topicRefresh())
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case <-tick.C:
		}
		next, ready, err := s.refresh(ctx, told)
		if next != nil {
			s.log.Info("topics that match a pattern are new: the group is joined again, with them", "topics", ready.sink.Topics())
			return next, ready
		}
		if err != nil && ctx.Err() == nil && told[""] != err.Error() {
			told[""] = err.Error()
			s.log.Warn("which topics are new can't be found out: what runs goes on, and it is tried again", "error", err)
		}
	}
}

// refresh returns a session that has what is new beyond s; nil if nothing is.
func (s *session) refresh(ctx context.Context, told map[string]string) (next *session, ready *prepared, err error) {
	bounded, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	meta, err := s.admin.Metadata(bounded)
	if err != nil {
		return nil, nil, s.kafkaError(err)
	}
	x, err := s.written.Expand(meta.Topics.Names())
	if err != nil {
		return nil, nil, err
	}
	reads := s.reads()
	if beyond := feeds(x.Config); len(s.left) == 0 && !slices.ContainsFunc(beyond, func(f feed) bool { return !slices.Contains(reads, f) }) {
		return nil, nil, nil
	}
	next = &session{log: s.log, watched: s.watched, traced: s.traced, fromArchive: s.fromArchive, archived: s.archived, patterns: patterns{written: s.written}}
	if err = next.use(s.written); err == nil {
		ready, err = next.prepareAll(ctx, told)
	}
	if err == nil && slices.ContainsFunc(next.reads(), func(f feed) bool { return !slices.Contains(reads, f) }) {
		return next, ready, nil
	}
	next.close()
	return nil, nil, err
}

// feed is a topic of a table.
type feed struct{ table, topic string }

func (s *session) reads() []feed { return feeds(s.cfg) }

func feeds(cfg *config.Config) (out []feed) {
	for i := range cfg.Tables {
		for _, topic := range cfg.Tables[i].Sources() {
			out = append(out, feed{cfg.Tables[i].Name, topic})
		}
	}
	return out
}
