package sinktest

import (
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// message is a message of PostgreSQL's protocol; type 0 is the first one, which has none.
func message(kind byte, body string) []byte {
	var b []byte
	if kind != 0 {
		b = append(b, kind)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(4+len(body)))
	return append(b, body...)
}

// Statements are counted wherever a buffer ends.
func TestScan(t *testing.T) {
	stream := slices.Concat(
		message(0, "\x00\x03\x00\x00user\x00Q\x00\x00"), message('p', "QQQ"),
		message('Q', "begin\x00"), message('P', "E\x00\x00\x00\x00\x04"), message('B', ""), message('E', "\x00\x00\x00\x00\x00"), message('S', ""),
		message('d', "c\x00\x00\x00\x04"), message('c', ""))
	execute := len(stream) - len(message('c', "")) - len(message('d', "12345")) - len(message('S', ""))
	for size := 1; size <= len(stream); size++ {
		for at, want := range map[int]int{2: execute, 3: len(stream), 4: -1} {
			w := &wire{at: at}
			l := &link{wire: w, header: 4}
			got := -1
			for i := 0; i < len(stream) && got < 0; i += size {
				if n, last := l.scan(stream[i:min(i+size, len(stream))]); last {
					got = i + n
				}
			}
			if got != want {
				t.Fatalf("in pieces of %d bytes: cut after statement %d at byte %d, want %d", size, at, got, want)
			}
		}
	}
}

func TestSplit(t *testing.T) {
	for name, want := range map[string]pgx.Identifier{
		"orders":             {"orders"},
		"Shop.Orders":        {"Shop", "Orders"},
		`"a.b"."say ""hi"""`: {"a.b", `say "hi"`},
	} {
		if got := split(name); !slices.Equal(got, want) {
			t.Errorf("split(%s) = %q, want %q", name, got, want)
		}
	}
}

func TestDiff(t *testing.T) {
	want := snapshot{"a": {"1", "1", "2", "4"}, "b": {"x"}}
	got := snapshot{"a": {"1", "2", "2", "3"}, "b": {"x"}}
	d := diff(want, got, []string{"a", "b"})
	if len(d) != 1 || d[0].Table != "a" || strings.Join(d[0].Missing, " ") != "1 4" || strings.Join(d[0].Extra, " ") != "2 3" {
		t.Errorf("got %+v", d)
	}
}

// A report of many rows and steps stays short, and keeps the last steps.
func TestLongReport(t *testing.T) {
	var many []string
	for range 100 {
		many = append(many, "row")
	}
	f := &Failure{Perturbation: Crash, Round: 3, Tables: []TableDiff{{Table: "t", Missing: many}}, Steps: append(many, "last")}
	text := f.Error()
	if n := strings.Count(text, "\n"); n > 40 || !strings.Contains(text, "... and 88 more") || !strings.Contains(text, "... 89 steps before") || !strings.Contains(text, "    last\n") {
		t.Errorf("got %d lines:\n%s", n, text)
	}
}
