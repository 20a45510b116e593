package main

import (
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"github.com/oncesink/oncesink/internal/bar"
)

// display is where log lines go while a line below them shows how far a run is, if that is a terminal.
type display struct {
	out      io.Writer
	terminal bool

	mu      sync.Mutex
	bar     progress.Writer // nil: nothing is shown
	tracker *progress.Tracker
	stop    func() // of its drawing
	width   int    // of the terminal; 0: unknown
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
	if s.width > 1 { // a line that wraps is not drawn over
		line = text.Trim(line, s.width-1)
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
			s.width = width
		}
	}
	s.tracker = &progress.Tracker{}
	s.bar.AppendTracker(s.tracker)
	s.stop = bar.Draw(s.bar)
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
	s.stop()
	s.bar = nil
}
