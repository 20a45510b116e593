package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/orders"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
)

// The pages whose commands are run as they are printed, from top to bottom.
var pages = []string{"docs/first-topic.md", "README.md"}

// block is a fenced block of a page that is run: its commands, and what they print, which stands in the next one.
var block = regexp.MustCompile("(?ms)^```sh\n(.*?)^```\n(\n```text\n(.*?)^```\n)?")

// file is one whose name is a comment in its first line.
var file = regexp.MustCompile("(?ms)^```(?:yaml|sql)\n((?:#|--) ([a-z]+\\.(?:yaml|sql))\n.*?)^```\n")

// TestPages: what a page tells a reader to type works, and prints what the page shows.
func TestPages(t *testing.T) {
	for _, page := range pages {
		t.Run(page, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("..", "..", page))
			if err != nil {
				t.Fatal(err)
			}
			blocks := block.FindAllStringSubmatch(string(text), -1)
			if len(blocks) == 0 {
				t.Fatal("no commands: nothing is shown")
			}
			dir := t.TempDir()
			for _, f := range file.FindAllStringSubmatch(string(text), -1) {
				if err := os.WriteFile(filepath.Join(dir, f[2]), []byte(f[1]), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			shell := newShell(t, dir)
			written := string(text)
			for _, b := range blocks {
				got := shell(b[1])
				if b[2] == "" || got == b[3] {
					continue
				}
				if *update {
					written = strings.Replace(written, b[0], strings.Replace(b[0], b[2], "\n```text\n"+got+"```\n", 1), 1)
					continue
				}
				t.Fatalf("%s says of\n%s\nthat it prints\n%s\nand it prints\n%s", page, b[1], b[3], got)
			}
			if written != string(text) {
				if err := os.WriteFile(filepath.Join("..", "..", page), []byte(written), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// newShell returns what runs commands as a reader would, beside an empty broker and an empty database, and returns what
// they print. A command that fails ends the test, unless the commands say what then.
func newShell(t *testing.T, dir string) func(commands string) string {
	t.Setenv("DATABASE_URL", testpg.URL(t))
	t.Setenv("KAFKA_BROKERS", strings.Join(testkafka.Fake(t).ListenAddrs(), ","))
	t.Setenv("HOME", dir)
	for name, value := range map[string]string{"TZ": "UTC", "PGTZ": "UTC", "LC_ALL": "C.UTF-8", "PAGER": "cat"} { // pages are the same everywhere
		t.Setenv(name, value)
	}
	return func(commands string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "bash", "-c", "set -euo pipefail\n"+commands)
		cmd.Dir = dir
		var log strings.Builder
		cmd.Stderr = &log
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s\n%s%s", err, commands, out, &log)
		}
		text := string(out)
		for _, v := range shown {
			text = v.pattern.ReplaceAllString(text, v.stands)
		}
		return text
	}
}

// shown is how a page writes what differs from run to run.
var shown = []struct {
	pattern *regexp.Regexp
	stands  string
}{
	{regexp.MustCompile(`"127\.0\.0\.1:\d+"(, "127\.0\.0\.1:\d+")*`), `"localhost:9092"`},
	{regexp.MustCompile(` +\n`), "\n"},
	{regexp.MustCompile(`\b\d\d-\d\d \d\d:\d\d:\d\d  `), "01-31 08:10:00  "},
	{regexp.MustCompile(`((?:since|record of) +)\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ`), "${1}2026-01-31 08:10:00Z"},
	{regexp.MustCompile(`\S+, pid \d+, instance \w{8} had`), "laptop, pid 4711, instance 518b9a4c had"},
}

// TestExamples: the events of `oncesink generate` become rows by the examples, all of them.
func TestExamples(t *testing.T) {
	for name, query := range map[string]string{
		"orders.yaml":  "select (select count(*) from orders), (select sum(amount) from orders), (select count(*) from oncesink.dead_letters)",
		"compose.yaml": "select (select sum(orders) from daily_sales), (select sum(quantity * price) from order_items), (select count(*) from oncesink.dead_letters)",
	} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("..", "..", "examples", name))
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			shell := newShell(t, dir)
			brokers := strings.Replace(string(text), "[kafka:19092]", `["${KAFKA_BROKERS}"]`, 1)
			if err := os.WriteFile(filepath.Join(dir, name), []byte(brokers), 0o644); err != nil {
				t.Fatal(err)
			}
			shell("oncesink generate --topic orders --count 2000 --rate 0\noncesink init -c " + name + "\noncesink check -c " + name + " --sample 1000 --strict || [ $? = 3 ]")
			shell("oncesink run -c " + name + " --until-end --log-level error")
			var orders, letters int64
			var amount string
			conn := connect(t, os.Getenv("DATABASE_URL"))
			if err := conn.QueryRow(t.Context(), query).Scan(&orders, &amount, &letters); err != nil {
				t.Fatal(err)
			}
			wantOrders, wantAmount := sold(t, 2000)
			if orders != wantOrders || amount != wantAmount || letters != 0 {
				t.Errorf("%d orders for %s and %d dead letters, want %d for %s and none", orders, amount, letters, wantOrders, wantAmount)
			}
		})
	}
}

// sold are the orders that so many events leave, and their sum. Late events are older than what they meet, and a tombstone
// deletes what is older than itself by its offset.
func sold(t *testing.T, n int) (count int64, amount string) {
	t.Helper()
	type state struct {
		amount  orders.Cents
		version time.Time
		deleted bool
	}
	all, g := map[string]*state{}, orders.New(1)
	for range n {
		e := g.Next()
		s := all[string(e.Key)]
		if s == nil {
			s = &state{}
			all[string(e.Key)] = s
		}
		if e.Value == nil {
			s.deleted = true
			continue
		}
		var o struct {
			Amount    json.Number `json:"amount"`
			UpdatedAt time.Time   `json:"updated_at"`
		}
		if err := json.Unmarshal(e.Value, &o); err != nil {
			t.Fatal(err)
		}
		if o.UpdatedAt.Before(s.version) {
			continue
		}
		cents, err := strconv.ParseInt(strings.Replace(o.Amount.String(), ".", "", 1), 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		// Its version is that of the event before the tombstone, or newer.
		if s.deleted && e.Kind != orders.Reordered {
			continue
		}
		s.amount, s.version, s.deleted = orders.Cents(cents), o.UpdatedAt, false
	}
	var sum orders.Cents
	for _, s := range all {
		if !s.deleted && !s.version.IsZero() {
			count++
			sum += s.amount
		}
	}
	return count, sum.String()
}
