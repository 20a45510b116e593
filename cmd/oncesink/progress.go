package main

import (
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"

	"github.com/oncesink/oncesink/internal/bar"
	"github.com/oncesink/oncesink/internal/rebuild"
)

// progressLog is how often a log line tells how far a long command is.
const progressLog = 10 * time.Second

// longWork shows how far a long command is: as a bar on a terminal, as log lines elsewhere.
type longWork struct {
	log *slog.Logger
	bar progress.Writer // nil: log lines

	stop func() // of the bar's drawing

	mu      sync.Mutex
	phase   string
	tracker *progress.Tracker
	logged  time.Time
}

func newProgress(w io.Writer, log *slog.Logger) *longWork {
	p := &longWork{log: log}
	if !isTerminal(w) {
		return p
	}
	p.bar = progress.NewWriter()
	p.bar.SetOutputWriter(w)
	p.bar.SetUpdateFrequency(200 * time.Millisecond)
	p.bar.SetTrackerPosition(progress.PositionRight)
	p.bar.SetStyle(progress.StyleBlocks)
	p.bar.Style().Visibility.ETA = true
	p.bar.Style().Visibility.ETAOverall = false
	p.bar.Style().Visibility.TrackerOverall = false
	p.stop = bar.Draw(p.bar)
	return p
}

// tell takes a step of the work.
func (p *longWork) tell(at rebuild.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil {
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
	if p.tracker == nil || at.Phase != p.phase {
		p.done()
		p.phase = at.Phase
		p.tracker = &progress.Tracker{Message: at.Phase, Total: at.Total}
		p.bar.AppendTracker(p.tracker)
	}
	p.tracker.UpdateTotal(at.Total)
	p.tracker.SetValue(at.Done)
}

func (p *longWork) done() {
	if p.tracker != nil {
		p.tracker.MarkAsDone()
	}
}

// end finishes the bar, and returns when nothing more is drawn over what follows.
func (p *longWork) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.bar == nil {
		return
	}
	if p.tracker != nil && err != nil {
		p.tracker.MarkAsErrored()
	} else {
		p.done()
	}
	p.stop()
}
