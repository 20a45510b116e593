package demo

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
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
	bar   *progressbar.ProgressBar
	shown time.Time // the last plain line of progress
}

func newScreen(out io.Writer, terminal bool) *screen {
	return &screen{out: out, terminal: terminal, began: time.Now()}
}

// title writes the first line.
func (s *screen) title(format string, args ...any) { fmt.Fprintf(s.out, format+"\n\n", args...) }

// say writes what happened.
func (s *screen) say(format string, args ...any) {
	s.clear()
	fmt.Fprintf(s.out, "%6.1f s  %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
	s.redraw()
}

// note writes a detail below what happened.
func (s *screen) note(format string, args ...any) {
	s.clear()
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		fmt.Fprintf(s.out, "%11s%s\n", "| ", strings.TrimSuffix(line, "\n"))
	}
	s.redraw()
}

// plain writes text as it is.
func (s *screen) plain(text string) {
	s.clear()
	fmt.Fprintln(s.out, strings.TrimRight(text, "\n"))
}

// track begins a new bar.
func (s *screen) track(label string, total int64, sent *atomic.Int64) {
	s.clear()
	s.label, s.total, s.sent, s.shown = label, total, sent, time.Now()
	if s.terminal {
		s.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(s.out),
			progressbar.OptionSetWidth(20),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionUseANSICodes(true),
			progressbar.OptionThrottle(50*time.Millisecond),
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░"}),
		)
	}
}

// progress moves the bar.
func (s *screen) progress(n int64) {
	if s.total == 0 {
		return
	}
	line := fmt.Sprintf("%s %s of %s", s.label, grouped(n), grouped(s.total))
	if s.sent != nil {
		line += fmt.Sprintf(", %s sent", grouped(s.sent.Load()))
	}
	if s.bar != nil {
		s.bar.Describe(fmt.Sprintf("%10s %-38s", "", line))
		_ = s.bar.Set64(min(n, s.total)) // it fails where the terminal does
		return
	}
	if time.Since(s.shown) >= plainInterval {
		s.shown = time.Now()
		s.say("  %s", line)
	}
}

func (s *screen) clear() {
	if s.bar != nil {
		_ = s.bar.Clear()
	}
}

func (s *screen) redraw() {
	if s.bar != nil {
		_ = s.bar.RenderBlank()
	}
}
