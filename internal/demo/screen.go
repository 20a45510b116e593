package demo

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/oncesink/oncesink/internal/bar"
)

// What a person sees: one line for each thing that happened, with the seconds since
// the start, and below them a bar that lives on a terminal. Elsewhere, in a pipe or a
// log, the bar is a plain line now and then.

// plainInterval is how often a plain line of progress is written.
const plainInterval = 3 * time.Second

// screen is used by one goroutine.
type screen struct {
	out      io.Writer
	terminal bool
	began    time.Time

	label string
	total int64
	sent  *atomic.Int64 // how much there is to apply by now; nil: all
	shown time.Time     // the last plain line of progress

	bar     progress.Writer // nil: there is none
	tracker *progress.Tracker
	stop    func() // of the bar's drawing
}

func newScreen(out io.Writer, terminal bool) *screen {
	return &screen{out: out, terminal: terminal, began: time.Now()}
}

// title writes the first line.
func (s *screen) title(format string, args ...any) {
	fmt.Fprintf(s.out, "%s\n\n", s.fitted(fmt.Sprintf(format, args...)))
}

// margin is where sentences begin; behind it a terminal has room for some.
const (
	margin = "          "
	room   = 80 - len(margin) - 2
)

// fit breaks a sentence for a terminal of 80 columns, between words.
func (s *screen) fit(sentence string) string {
	if !s.terminal {
		return sentence
	}
	lines := strings.Split(text.WrapSoft(sentence, room), "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ") // it fills them up
	}
	return strings.Join(lines, "\n"+margin)
}

// fitted breaks a paragraph that begins at the left.
func (s *screen) fitted(paragraph string) string {
	return strings.ReplaceAll(s.fit(paragraph), "\n"+margin, "\n")
}

// say writes what happened.
func (s *screen) say(format string, args ...any) {
	s.line(fmt.Sprintf("%6.1f s  %s", time.Since(s.began).Seconds(), s.fit(fmt.Sprintf(format, args...))))
}

// note writes a detail below what happened.
func (s *screen) note(format string, args ...any) {
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		s.line(fmt.Sprintf("%11s%s", "| ", strings.ReplaceAll(s.fit(strings.TrimSuffix(line, "\n")), "\n", "\n ")))
	}
}

// line writes a line, above the bar if there is one.
func (s *screen) line(line string) {
	if s.bar != nil {
		for part := range strings.Lines(line) {
			s.bar.Log("%s", strings.TrimSuffix(part, "\n"))
		}
		return
	}
	fmt.Fprintln(s.out, line)
}

// plain writes text as it is, in place of the bar.
func (s *screen) plain(paragraph string) {
	s.end()
	fmt.Fprintln(s.out, strings.TrimRight(paragraph, "\n"))
}

// track begins a new bar.
func (s *screen) track(label string, total int64, sent *atomic.Int64) {
	s.end()
	s.label, s.total, s.sent, s.shown = label, total, sent, time.Now()
	if !s.terminal {
		return
	}
	s.bar = progress.NewWriter()
	s.bar.SetOutputWriter(s.out)
	s.bar.SetUpdateFrequency(50 * time.Millisecond)
	s.bar.SetTrackerPosition(progress.PositionRight)
	s.bar.SetTrackerLength(20)
	s.bar.SetMessageLength(51) // a line that is wider than the screen could not be drawn over
	style := progress.StyleBlocks
	style.Visibility = progress.StyleVisibility{Tracker: true, Percentage: true}
	style.Options.Separator, style.Options.PercentFormat = "", " %3.0f%%"
	s.bar.SetStyle(style)
	// A bar that is full stays, for the lines above it are written only while there is one.
	s.tracker = &progress.Tracker{Message: s.message(0), Total: total, AutoStopDisabled: true}
	s.bar.AppendTracker(s.tracker)
	s.stop = bar.Draw(s.bar)
}

// message is what stands before the bar.
func (s *screen) message(n int64) string { return fmt.Sprintf("%10s %s", "", s.applied(n)) }

func (s *screen) applied(n int64) string {
	line := fmt.Sprintf("%s %s of %s", s.label, grouped(n), grouped(s.total))
	if s.sent != nil {
		line += fmt.Sprintf(", %s sent", grouped(s.sent.Load()))
	}
	return line
}

// progress moves the bar.
func (s *screen) progress(n int64) {
	switch {
	case s.total == 0:
	case s.bar != nil:
		s.tracker.UpdateMessage(s.message(n))
		s.tracker.SetValue(min(n, s.total))
	case time.Since(s.shown) >= plainInterval:
		s.shown = time.Now()
		s.say("  %s", s.applied(n))
	}
}

// end takes the bar away, and returns when nothing more is drawn over what follows.
func (s *screen) end() {
	if s.bar == nil {
		return
	}
	s.stop()
	s.bar = nil
	fmt.Fprint(s.out, text.CursorUp.Sprint(), text.EraseLine.Sprint())
}
