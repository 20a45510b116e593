package main

import (
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/oncesink/oncesink/internal/rebuild"
)

// progressLog is how often a log line tells how far a long command is.
const progressLog = 10 * time.Second

// longWork shows how far a long command is: as a line with a bar on a terminal, as log lines elsewhere.
type longWork struct {
	log  *slog.Logger
	line *display // nil: log lines

	mu     sync.Mutex
	phase  string
	began  time.Time // of the phase
	logged time.Time
}

func newProgress(w io.Writer, log *slog.Logger) *longWork {
	p := &longWork{log: log}
	if isTerminal(w) {
		p.line = newDisplay(w)
	}
	return p
}

// tell takes a step of the work.
func (p *longWork) tell(at rebuild.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line == nil {
		if at.Phase != p.phase || time.Since(p.logged) >= progressLog {
			p.phase, p.logged = at.Phase, time.Now()
			if at.Total > 0 {
				p.log.Info(at.Phase, "done", at.Done, "of", at.Total, "percent", 100*at.Done/at.Total)
			} else {
				p.log.Info(at.Phase)
			}
		}
		return
	}
	if at.Phase != p.phase {
		if p.phase != "" && time.Since(p.began) >= time.Second { // shorter ones are not worth a line
			_, _ = fmt.Fprintln(p.line, p.told("done")) // a terminal that is gone reads nothing
		}
		p.phase, p.began = at.Phase, time.Now()
	}
	p.line.show(barLine(at, time.Since(p.began)))
}

// told is what is left of a phase that ends.
func (p *longWork) told(how string) string {
	return fmt.Sprintf("%s: %s after %s", p.phase, how, age(time.Since(p.began).Seconds()))
}

// barLine is how far a phase is: what it does, and, where it is known how much there is, a bar.
func barLine(at rebuild.Progress, took time.Duration) string {
	const cells = 20
	if at.Total <= 0 {
		return fmt.Sprintf("%s, %s", at.Phase, age(took.Seconds()))
	}
	done := min(at.Done, at.Total)
	full := int(cells * done / at.Total)
	left := ""
	if done > 0 && took >= time.Second {
		left = ", about " + age(took.Seconds()*float64(at.Total-done)/float64(done)) + " left"
	}
	return fmt.Sprintf("%3d%% %s%s %s%s", 100*done/at.Total, strings.Repeat("█", full), strings.Repeat("░", cells-full), at.Phase, left)
}

// end finishes the line, and returns when nothing more is drawn over what follows.
func (p *longWork) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line == nil || p.phase == "" {
		return
	}
	if err != nil {
		p.line.show(p.told("ended"))
	} else {
		p.line.show(p.told("done"))
	}
	p.line.end()
}
