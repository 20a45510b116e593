package demo

import (
	"bytes"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
)

// shownBy is what a terminal shows of a text that goes up lines and erases them.
func shownBy(t *testing.T, text string) string {
	t.Helper()
	rows, at := []string{""}, 0
	for _, token := range regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]|\r|\n|[^\x1b\r\n]+`).FindAllString(text, -1) {
		switch {
		case token == "\n":
			if at++; at == len(rows) {
				rows = append(rows, "")
			}
		case strings.HasPrefix(token, "\x1b[") && strings.HasSuffix(token, "A"):
			at--
		case strings.HasPrefix(token, "\x1b[") && strings.HasSuffix(token, "K"):
			rows[at] = ""
		case token == "\r", strings.HasPrefix(token, "\x1b["):
			t.Fatalf("it writes %q", token)
		default:
			rows[at] += token
		}
	}
	return strings.Join(rows, "\n")
}

// A bar lives below the lines that are said, is never wider than a screen, and leaves nothing behind.
func TestScreen(t *testing.T) {
	var out bytes.Buffer
	var sent atomic.Int64
	s := newScreen(&out, true)
	s.title("the title")
	s.say("no bar yet")
	s.track("applied", 400_000_000, &sent)
	s.say("one 100%%")
	for n := range int64(5) {
		sent.Store(n * 100_000_000)
		s.progress(n * 100_000_000)
		s.say("at %d", n)
	}
	s.note("two\nlines")
	s.track("replayed", 10, nil)
	s.progress(20)
	s.plain("\nthe report\n\n")
	s.say("no bar any more")
	s.end()
	got := regexp.MustCompile(`(?m)^ +[0-9.]+ s  `).ReplaceAllString(shownBy(t, out.String()), "")
	want := "the title\n\nno bar yet\none 100%\nat 0\nat 1\nat 2\nat 3\nat 4\n         | two\n         | lines\n\nthe report\nno bar any more\n"
	if got != want {
		t.Errorf("a terminal shows\n%s\nwant\n%s", got, want)
	}
	bars := regexp.MustCompile(`(?m)^.*(applied|replayed).*$`).FindAllString(out.String(), -1)
	if len(bars) < 2 {
		t.Fatalf("%d bars were drawn", len(bars))
	}
	for _, bar := range bars {
		if n := len([]rune(regexp.MustCompile(`\x1b\[[0-9;]*[A-Za-z]`).ReplaceAllString(bar, ""))); n >= 80 {
			t.Errorf("a bar of %d characters: %s", n, bar)
		}
	}
	if last := bars[len(bars)-1]; !strings.Contains(last, "replayed 20 of 10") || !strings.Contains(last, "100%") {
		t.Errorf("the last bar is %s", last)
	}

	// Elsewhere there is none.
	out.Reset()
	s = newScreen(&out, false)
	s.track("applied", 10, nil)
	s.progress(5)
	s.say("one")
	s.end()
	if got := out.String(); !strings.HasSuffix(got, " s  one\n") || strings.Contains(got, "\x1b") {
		t.Errorf("in a pipe: %q", got)
	}
}
