package main

import (
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
	"golang.org/x/term"
)

// display is where log lines go while a line below them shows how far a run is, if that is a terminal.
type display struct {
	out      io.Writer
	terminal bool

	mu       sync.Mutex
	bar      progress.Writer // nil: nothing is shown
	tracker  *progress.Tracker
	rendered chan struct{} // closed when the bar has drawn its last
}

func newDisplay(w io.Writer) *display { return &display{out: w, terminal: isTerminal(w)} }

// isTerminal reports whether a person reads what is written.
func isTerminal(w io.Writer) bool {
	switch w := w.(type) {
	case *os.File:
		return term.IsTerminal(int(w.Fd()))
	case *display:
		return w.terminal
	}
	return false
}

// Write writes lines above the one that is shown.
func (s *display) Write(lines []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar == nil {
		return s.out.Write(lines)
	}
	s.bar.Log("%s", strings.TrimRight(string(lines), "\n"))
	return len(lines), nil
}

// show replaces the line that is shown.
func (s *display) show(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar == nil {
		s.begin()
	}
	s.tracker.UpdateMessage(line)
}

func (s *display) begin() {
	s.bar = progress.NewWriter()
	s.bar.SetOutputWriter(fromColumnOne{s.out})
	s.bar.SetUpdateFrequency(200 * time.Millisecond)
	s.bar.SetTrackerPosition(progress.PositionRight)
	s.bar.Style().Visibility = progress.StyleVisibility{}
	s.bar.Style().Options.Separator, s.bar.Style().Options.DoneString = "", ""
	if f, ok := s.out.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil {
			s.bar.SetTerminalWidth(width)
		}
	}
	s.tracker = &progress.Tracker{}
	s.bar.AppendTracker(s.tracker)
	s.rendered = make(chan struct{})
	go func(bar progress.Writer) {
		defer close(s.rendered)
		bar.Render()
	}(s.bar)
}

// fromColumnOne begins whatever is drawn in the first column: a terminal shows ^C where the cursor stands.
type fromColumnOne struct{ io.Writer }

func (w fromColumnOne) Write(drawn []byte) (int, error) {
	_, err := w.Writer.Write(append([]byte{'\r'}, drawn...))
	return len(drawn), err
}

// end leaves the line as it is, and returns when nothing more is drawn over what follows.
func (s *display) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bar == nil {
		return
	}
	s.tracker.MarkAsDone()
	stopBar(s.bar, s.rendered)
	s.bar = nil
}

// stopBar stops a bar. One that has not begun yet does not hear of a stop.
func stopBar(bar progress.Writer, rendered <-chan struct{}) {
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		bar.Stop()
		select {
		case <-rendered:
			return
		case <-again.C:
		}
	}
}
