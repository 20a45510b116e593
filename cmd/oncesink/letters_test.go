package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/oncesink/oncesink/internal/letters"
	"github.com/oncesink/oncesink/internal/schema"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

func TestParseMoment(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct{ text, want string }{
		{"", "0001-01-01T00:00:00Z"},
		{"24h", "2026-11-29T12:00:00Z"},
		{"90m", "2026-11-30T10:30:00Z"},
		{"0s", "2026-11-30T12:00:00Z"},
		{"2026-11-24T00:00:00Z", "2026-11-24T00:00:00Z"},
		{"2026-11-24T01:00:00+01:00", "2026-11-24T00:00:00Z"},
		{"2026-11-24", ""}, {"-1h", ""}, {"1d", ""}, {"now", ""},
	} {
		at, err := parseMoment("since", test.text, now)
		got := at.UTC().Format(time.RFC3339)
		if err != nil {
			got = ""
		}
		if got != test.want || err != nil && exitCode(err) != exitConfig {
			t.Errorf("%q is %q, %v, want %q", test.text, got, err, test.want)
		}
	}
}

// Which records may come too late, and what becomes of them, follows from the tables that the topics feed.
func TestLateWarnings(t *testing.T) {
	all := []sink.TableConfig{
		{Name: "orders", Topics: []string{"a"}}, {Name: "counts", Topics: []string{"a", "b"}, Guard: sink.GuardNone},
		{Name: "log", Topics: []string{"a", "c"}, Strategy: sink.Append}, {Name: "items", Strategy: sink.Children, Parent: "orders"},
	}
	for _, test := range []struct {
		tables []sink.TableConfig
		topics string
		late   bool
		want   []string
	}{
		{all, "a", false, []string{"counts has no guard", "all columns of orders is refused"}},
		{all, "b", false, []string{"counts has no guard"}},
		{all, "b", true, []string{"--late: counts has no guard: these records overwrite"}},
		{all, "c", false, nil},
		{all, "a b c", true, []string{"--late: counts", "--late: an event that does not have all columns of orders changes nothing"}},
		{nil, "a", false, []string{"the handlers have been called for later records: these are refused again as late"}},
		{nil, "a", true, []string{"--late: the handlers are called"}},
	} {
		got := lateWarnings(test.tables, strings.Fields(test.topics), test.late)
		ok := len(got) == len(test.want)
		for i := range got {
			ok = ok && strings.Contains(got[i], test.want[i])
		}
		if !ok {
			t.Errorf("of %s, late %v: %q, want %q", test.topics, test.late, got, test.want)
		}
	}
}

// Whatever the names are, no line is longer than a terminal of 80 columns is wide, but where a word is.
func TestLettersFitTheScreen(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	for _, n := range []int{1, 8, 20, 40, 70, 249} {
		size := int64(1 << 40)
		name := strings.Repeat("n", n)
		l := letters.Letter{
			Topic: name, Partition: 12345, Offset: 1 << 60, Generation: 3, Code: "22P02", Reason: "no text of the type, or no valid JSON", Table: "public." + name, Column: name, Constraint: name,
			Status: letters.Discarded, Attempts: 1000, Late: true, Time: &at, Recorded: at, Tried: at.Add(time.Hour), Settled: &at, SettledBy: name, KeyBytes: &size, ValueBytes: &size,
		}
		kinds := slices.Repeat([]letters.Kind{{Topic: name, Code: "22P02", Reason: l.Reason, Table: l.Table, Column: name, Status: letters.New, Letters: 1 << 40, Attempts: 1000, First: at, Last: at}}, 30)
		waiting := []waitingLetters{{Topic: name, Letters: 1 << 40, Why: "it is paused", Remedy: "select oncesink.resume('g', 't', 1)"}}
		for p := range int32(20) {
			waiting = append(waiting, waitingLetters{Topic: name, Partition: p, Letters: 1, Why: "no process owns it now", unowned: true})
		}
		var b strings.Builder
		printLetters(&b, []letters.Letter{l, l}, false)
		printLetter(&b, &l)
		printMore(&b, 50, 1<<40, false)
		(&statsReport{"g", kinds}).print(&b, true)
		r := retryReport{Group: "g", Letters: 1 << 40, Kinds: kinds, Waiting: waiting, Warnings: lateWarnings([]sink.TableConfig{{Name: name, Topics: []string{"t"}}}, []string{"t"}, false), Asked: 1 << 40}
		r.printPlan(&b)
		r.print(&b, false)
		r.Outcome = &letters.Outcome{Written: 1 << 40, Refused: 1 << 40, Discarded: 1 << 40, Left: 1, Gone: 1, Kinds: kinds}
		r.print(&b, true)
		d := discardReport{Group: "g", Letters: 1 << 40, Kinds: kinds, Done: 1 << 40}
		d.printPlan(&b)
		d.print(&b)
		l.Payload = &letters.Payload{Message: strings.Repeat("words ", 100), Key: bytes.Repeat([]byte("ü"), 200), Value: bytes.Repeat([]byte{0xff}, 200), Headers: []sink.Header{{Key: strings.Repeat("h", 200)}}}
		printLetters(&b, []letters.Letter{l}, true)
		for line := range strings.Lines(b.String()) {
			line = strings.TrimRight(line, "\n")
			if text.StringWidth(line) > screen && slices.MaxFunc(strings.Fields(line), func(a, b string) int { return len(a) - len(b) }) != strings.TrimSpace(line) && n < 60 {
				t.Errorf("names of %d: a line of %d columns: %q", n, text.StringWidth(line), line)
			}
		}
		if n == 1 && !strings.Contains(b.String(), "letter  ") {
			t.Errorf("no table:\n%s", b.String())
		}
	}
}

// What a record holds is shown, and a terminal does nothing of it.
func TestLegible(t *testing.T) {
	for _, test := range []struct{ in, want string }{
		{`{"id": "ü"}`, `{"id": "ü"}`}, {"a\x1b[31mred\r\x07", `a\x1b[31mred\r\a`}, {"a\u202eb", `a\u202eb`}, {"a\nb\tc", "a\nb\tc"}, {"a\x00b", `\x610062`}, {"\xff", `\xff`}, {"", ""}, {"it's", "it's"},
	} {
		if got := legible([]byte(test.in)); got != test.want {
			t.Errorf("%q is shown as %q, want %q", test.in, got, test.want)
		}
	}
}

// lettersScene is a database with a group whose partitions are in every state, and a file that names it.
func lettersScene(t *testing.T) (file string, exec func(string, ...any)) {
	t.Helper()
	address := testpg.URL(t)
	conn := connect(t, address)
	exec = func(sql string, args ...any) {
		t.Helper()
		if _, err := conn.Exec(context.Background(), sql, args...); err != nil {
			t.Fatal(err)
		}
	}
	if err := offsets.Init(t.Context(), conn); err != nil {
		t.Fatal(err)
	}
	if err := schema.Init(t.Context(), conn, sink.Config{}); err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(t.TempDir(), "oncesink.yaml")
	config := "kafka: {brokers: ['127.0.0.1:1'], group: g}\npostgres: {url: '" + address + "'}\ntables: []\ntopics: {t: {}}\n"
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	return file, exec
}

// Letters that nobody tries now are told of, with what to do.
func TestRetryWaits(t *testing.T) {
	file, exec := lettersScene(t)
	for p := range 6 {
		topic := "t"
		if p == 5 {
			topic = "foreign"
		}
		exec(`insert into oncesink.dead_letters (sink_group, topic_id, topic, generation, partition, "offset", headers, message) values ('g', md5($1)::uuid, $1, 0, $2, 1, '[]', 'm')`, topic, p)
		if p != 0 {
			exec(`select oncesink.first_positions('g', null, array[$1], array[$2]::int[], array[md5($1)::uuid], array[2]::bigint[], array[-1])`, topic, p)
		}
	}
	exec(`update oncesink.offsets set paused = true where partition = 1`)
	exec(`update oncesink.offsets set halted = 'halted: offsets 1 to 2 are missing' where partition = 2`)
	exec(`update oncesink.offsets set owner = 'x', instance = 'alive' where partition = 4`)
	exec(`set application_name = 'oncesink alive'`)
	out, code := output(t, file, "dead-letters", "retry", "--all", "--dry-run")
	for _, want := range []string{
		"6 dead letter(s) to be tried again:\n",
		"1 wait in t/1: it is paused: select oncesink.resume('g', 't', 1), or\n  `oncesink resume t/1`\n",
		"1 wait in t/2: it has halted: `oncesink status` says why\n",
		"1 wait in foreign/5: the configuration does not read the topic\n",
		"1 wait in t/0: the group has no position there\n",
		"1 wait in t/3: no process reads there now: start `oncesink run`, or your program\n",
		"not done: --dry-run\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if strings.Contains(out, "t/4") || code != exitOK {
		t.Errorf("code %d:\n%s", code, out)
	}
	// Of those that wait for a person alone, a wait ends.
	out, code = output(t, file, "dead-letters", "retry", "--topic", "t", "--partition", "2", "--wait")
	if code != exitFailed || !strings.Contains(out, "oncesink: t/2: 1 dead letter(s) wait: it has halted: `oncesink status` says why\n") {
		t.Errorf("code %d:\n%s", code, out)
	}
}

// lockedBuffer is written and read by two.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A wait that is interrupted says what is true: the letters are asked for.
func TestRetryInterrupted(t *testing.T) {
	file, exec := lettersScene(t)
	exec(`insert into oncesink.dead_letters (sink_group, topic_id, topic, generation, partition, "offset", headers, message) values ('g', gen_random_uuid(), 't', 0, 0, 1, '[]', 'm')`)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var out lockedBuffer
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"dead-letters", "retry", "--all", "--wait", "-c", file}, &out, &out) }()
	for deadline := time.Now().Add(20 * time.Second); !strings.Contains(out.String(), "no process of the group runs"); {
		if time.Now().After(deadline) {
			t.Fatalf("it does not say that nobody reads:\n%s", out.String())
		}
		select {
		case c := <-code:
			t.Fatalf("it ended with %d:\n%s", c, out.String())
		case <-time.After(10 * time.Millisecond):
		}
	}
	cancel()
	if c := <-code; c != exitFailed || !strings.Contains(out.String(), "oncesink: interrupted: the letters are asked for, and are tried;") {
		t.Errorf("code %d:\n%s", c, out.String())
	}
	list, _ := output(t, file, "dead-letters", "list", "--status", "retry")
	if !strings.Contains(list, "t/0@1 ") {
		t.Errorf("the letter is not asked for:\n%s", list)
	}
}

func TestSome(t *testing.T) {
	var names []string
	for i := range 8 {
		names = append(names, fmt.Sprint(i))
		want := strings.Join(names, ", ")
		if i > 5 {
			want = fmt.Sprintf("0, 1, 2, 3, 4 and %d more", i-4)
		}
		if got := some(names, 5); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// A file of an export is there when it is complete; what was there before stays until then.
func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "letters.ndjson")
	if err := os.WriteFile(name, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	stopped := errors.New("stopped")
	for _, test := range []struct {
		err  error
		want string
	}{{stopped, "before"}, {nil, "after"}} {
		n, err := writeFile(name, func(w io.Writer) (int64, error) {
			if _, err := io.WriteString(w, "after"); err != nil {
				return 0, err
			}
			return 7, test.err
		})
		text, readErr := os.ReadFile(name)
		files, dirErr := os.ReadDir(dir)
		if n != 7 || !errors.Is(err, test.err) || readErr != nil || dirErr != nil || string(text) != test.want || len(files) != 1 {
			t.Errorf("%d, %v: %q in %d files, want %q", n, err, text, len(files), test.want)
		}
	}
}
