// Package auth has PostgreSQL and Kafka let the program in by secrets that may change while it runs: each new connection takes them from
// where they are kept, and a refusal has them read anew.
package auth

import (
	"log/slog"
	"sync"
	"time"

	"github.com/oncesink/oncesink/docs"
)

// gate tells of a server that refuses the credentials of a program that it has let in before: once, until it lets it in again.
type gate struct {
	server string // its name for people
	source string // where the credentials come from
	fixed  bool   // they can't change while the program runs
	log    *slog.Logger

	mu    sync.Mutex
	open  bool      // it has let us in before
	since time.Time // it refuses; zero: it does not
}

func (g *gate) refused(why error) {
	g.mu.Lock()
	tell := g.open && g.since.IsZero()
	if tell {
		g.since = time.Now()
	}
	g.mu.Unlock()
	steps := docs.Runbook("a-credential-is-refused")
	switch {
	case tell && g.fixed:
		g.log.Warn(g.server+" refuses the credentials, which it took before: it is tried again; if they have changed, correct them and start anew", "credentials", g.source, "error", why, "steps", steps)
	case tell:
		g.log.Warn(g.server+" refuses the credentials: they are read again for each attempt, until it lets the program in", "credentials", g.source, "error", why, "steps", steps)
	}
}

func (g *gate) letIn() {
	g.mu.Lock()
	since := g.since
	g.open, g.since = true, time.Time{}
	g.mu.Unlock()
	if !since.IsZero() {
		g.log.Info(g.server+" lets the program in again", "credentials", g.source, "after", time.Since(since).Round(time.Millisecond).String())
	}
}
