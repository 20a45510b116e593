package demo

import (
	"bytes"
	"testing"
	"time"
	"unicode/utf8"
)

// What a person sees fits a terminal of 80 columns, and no word is broken.
func TestFits(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(&out, true)
	s.title("oncesink demo: %s order events, a crash, a zombie and a replay; --seed %d makes the same again", "50,000", uint64(1)<<63)
	s.say("made: orders, their items, sales per day, the ledger of positions, and a counter that adds one per event")
	s.note("it owns partitions 0, 1, 2, 3, 4 and 5, and its transaction keeps its locks, which is what makes a zombie")
	r := report{}
	r.section("after the replay from offset zero, with the guard columns, the items and the sales per day")
	r.add("worker 1, frozen inside transaction 123456, which was", "aborted", "committed")
	r.add("sum of amounts", "123,456,789.00", "123,456,789.01")
	r.add("hash of orders with their guard columns, items and sales", "0123456789ab", "0123456789ab")
	r.print(&out, false)
	d := &demo{screen: s}
	d.began = time.Now()
	d.lesson()
	d.Program, d.Seed, d.dir, d.config = "oncesink", 1<<32-1, "/tmp/oncesink-demo-3794684267", "/tmp/oncesink-demo-3794684267/oncesink.yaml"
	d.servers = &servers{brokers: []string{"127.0.0.1:54321"}, url: "postgres://postgres@127.0.0.1:54321/orders?sslmode=disable"}
	d.workers = []*worker{{page: "http://127.0.0.1:54321/"}, {page: "http://127.0.0.1:54321/"}}
	d.hints()
	n := 0
	for line := range bytes.Lines(out.Bytes()) {
		if width := utf8.RuneCount(bytes.TrimRight(line, "\n")); width > 80 {
			t.Errorf("%d columns: %s", width, line)
		}
		n++
	}
	if n < 25 || !bytes.Contains(out.Bytes(), []byte("positions,\n          and a counter")) {
		t.Errorf("%d lines\n%s", n, &out)
	}
	if t.Failed() || testing.Verbose() {
		t.Log("\n" + out.String())
	}
}
