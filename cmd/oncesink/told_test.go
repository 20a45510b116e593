package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
	"github.com/oncesink/oncesink/sink"
)

// The lag in seconds is the age of the next record to apply, not of the last one that was; both lags are 0 where nothing but an
// aborted transaction is ahead.
func TestStatusLag(t *testing.T) {
	t.Run("kfake", func(t *testing.T) { statusLag(t, testkafka.Fake(t).ListenAddrs(), "orders") })
	t.Run("Apache Kafka", func(t *testing.T) {
		kafka := testkafka.Real(t)
		statusLag(t, kafka.Brokers, kafka.Name("orders"))
	})
}

func statusLag(t *testing.T, brokers []string, topic string) {
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	config := filepath.Join(t.TempDir(), "shop.yaml")
	must(os.WriteFile(config, fmt.Appendf(nil, `
kafka: {brokers: [%s], group: %s}
postgres: {url: "%s"}
tables:
  - {name: orders, topic: %s, key: [id], create: create table orders (id bigint primary key)}
`, brokers[0], topic, testpg.URL(t), topic), 0o600))
	command := func(args ...string) []byte {
		t.Helper()
		var out, errs bytes.Buffer
		if code := run(t.Context(), append(args, "-c", config), &out, &errs); code != 0 {
			t.Fatalf("%v ends with %d:\n%s%s", args, code, out.String(), errs.String())
		}
		return out.Bytes()
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic))
	must(err)
	defer client.Close()
	admin := kadm.NewClient(client)
	created, err := admin.CreateTopic(t.Context(), 1, 1, nil, topic)
	must(errors.Join(err, created.Err))
	n := 0
	produce := func(old time.Duration) {
		t.Helper()
		n++
		must(client.ProduceSync(t.Context(), &kgo.Record{Value: fmt.Appendf(nil, `{"id": %d}`, n), Timestamp: time.Now().Add(-old)}).FirstErr())
	}
	producer, err := kgo.NewClient(kgo.SeedBrokers(brokers...), kgo.DefaultProduceTopic(topic), kgo.TransactionalID(topic))
	must(err)
	defer producer.Close()
	abort := func() {
		t.Helper()
		must(producer.BeginTransaction())
		must(producer.ProduceSync(t.Context(), &kgo.Record{Value: []byte(`{"id": 99}`)}).FirstErr())
		must(producer.EndTransaction(t.Context(), kgo.TryAbort))
		waitFor(t, "the marker is there", func() bool {
			stable, err1 := admin.ListCommittedOffsets(t.Context(), topic)
			ends, err2 := admin.ListEndOffsets(t.Context(), topic)
			must(errors.Join(err1, err2))
			s, _ := stable.Lookup(topic, 0)
			e, _ := ends.Lookup(topic, 0)
			return s.Offset == e.Offset
		})
	}
	// want checks the lag in records, and in whole hours.
	want := func(lag int64, hours int) {
		t.Helper()
		var r statusReport
		must(json.Unmarshal(command("status", "--json"), &r))
		p := r.Partitions[0]
		if p.Lag == nil || *p.Lag != lag || p.LagSeconds == nil || int(*p.LagSeconds/3600) != hours || lag == 0 && *p.LagSeconds != 0 {
			out, _ := json.Marshal(p)
			t.Errorf("the lag is not %d and %d h: %s", lag, hours, out)
		}
	}
	command("init")
	produce(9 * time.Hour)
	command("run", "--until-end")
	want(0, 0)
	abort() // offsets 1 and 2
	want(0, 0)
	produce(5 * time.Hour)
	produce(0)
	want(2, 5)
	command("run", "--until-end")
	produce(0) // the last one that was applied is new, and so is this one
	want(1, 0)
	command("run", "--until-end")
	abort()
	want(0, 0)
}

// waitFor waits for a condition.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	testenv.Eventually(t, timeout, what, ok)
}

// What status prints fits a terminal as it comes, whatever the names and numbers are.
func TestStatusFits(t *testing.T) {
	lag, seconds, open := int64(1<<40), float64(1<<30), int64(3)
	r := statusReport{Group: "g"}
	for i := range 3 {
		r.Partitions = append(r.Partitions, partitionStatus{Topic: strings.Repeat("customer.orders.", 8), Partition: int32(i * 1000), Position: 1 << 50, Lag: &lag, LagSeconds: &seconds, Open: &open,
			Owner: "worker-7f9c6b5d4-x2x9z.some.cluster.local, pid 1, instance e429a2ba", OwnerAlive: true, Halted: "offsets 3 to 5 are missing: retention removed them", State: stateHalted})
		r.Letters = append(r.Letters, openLetters{refusedReport{"orders", "22001", "public.orders", "status", 12345678}, time.Now()})
	}
	var b strings.Builder
	r.print(&b)
	for _, line := range strings.Split(b.String(), "\n") {
		if n := utf8.RuneCountInString(line); n > screen && strings.Contains(line, " ") && !strings.Contains(line, "customer.orders.") {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, line := range strings.Split(b.String(), "\n") {
		if n := utf8.RuneCountInString(line); strings.ContainsAny(line, "│┌├└") && n > screen {
			t.Errorf("%d columns of the table: %s", n, line)
		}
	}
}

// The state of the whole is the worst of the partitions'.
func TestStatusState(t *testing.T) {
	partition := func(state string) partitionStatus {
		p := partitionStatus{Owner: "me", OwnerAlive: true}
		switch state {
		case stateHalted:
			p.Halted = "why"
		case stateStuck:
			p.Stuck = "why"
		case stateStopped:
			p.OwnerAlive = false
		case stateUnowned:
			p.Owner = ""
		case statePaused:
			p.Paused = true
		}
		p.State = p.state()
		return p
	}
	for i, worse := range states {
		if got := partition(worse).State; got != worse {
			t.Errorf("the state is %s, want %s", got, worse)
		}
		for _, better := range states[i:] {
			all := []partitionStatus{partition(better), partition(worse), partition(better)}
			r := statusReport{Partitions: all, State: worst(all)}
			if r.State != worse {
				t.Errorf("of %s and %s the worst is %s", worse, better, r.State)
			}
			if failed := r.failure() != nil; failed != (worse == stateHalted || worse == stateStuck) {
				t.Errorf("with %s: %v", worse, r.failure())
			}
		}
	}
	if r := (statusReport{KafkaError: "no answer"}); exitCode(r.failure()) != exitConfig {
		t.Errorf("without Kafka it ends with %d", exitCode(r.failure()))
	}
	if worst(nil) != "" {
		t.Error("without partitions there is a state")
	}
}

// A line a minute says what was applied since the last one, and nothing if nothing was.
func TestNarratorNotes(t *testing.T) {
	var log bytes.Buffer
	var stats sink.Stats
	var status []consumer.PartitionStatus
	n := &narrator{stats: func() sink.Stats { return stats }, status: func() []consumer.PartitionStatus { return status },
		log: slog.New(slog.NewTextHandler(&log, nil)), display: newDisplay(&log)}
	for _, step := range []struct {
		records, letters int64
		status           []consumer.PartitionStatus
		want             string
	}{
		{0, 0, nil, ""},
		{10, 1, []consumer.PartitionStatus{{Lag: -1, Behind: -1}}, "level=INFO msg=applied records=10 dead_letters=1"},
		{10, 1, nil, ""},
		{25, 1, []consumer.PartitionStatus{{Lag: 7, Behind: 3 * time.Second}, {Lag: 5, Behind: 90 * time.Second}, {}}, "level=INFO msg=applied records=15 dead_letters=0 lag=12 lag_seconds=90"},
		{26, 1, []consumer.PartitionStatus{{Lag: 7, Behind: -1}, {Lag: 5, Behind: time.Second}}, "level=INFO msg=applied records=1 dead_letters=0 lag=12"},
		{27, 3, []consumer.PartitionStatus{{}}, "level=INFO msg=applied records=1 dead_letters=2 lag=0 lag_seconds=0"},
	} {
		log.Reset()
		stats.Records, stats.DeadLetters, status = step.records, step.letters, step.status
		n.note()
		if _, got, _ := strings.Cut(strings.TrimSpace(log.String()), " "); got != step.want {
			t.Errorf("after %d records: %q, want %q", step.records, got, step.want)
		}
	}
}

// The line on a terminal counts records per second over some seconds, and stays short.
func TestNarratorLine(t *testing.T) {
	var stats sink.Stats
	n := &narrator{stats: func() sink.Stats { return stats }, status: func() []consumer.PartitionStatus {
		return []consumer.PartitionStatus{{Lag: 123_456_789, Behind: 50 * time.Hour}}
	}}
	at := time.Now()
	for i := range int64(20) {
		stats.Records, stats.DeadLetters = 1000*i*i, i
		got := n.line(at.Add(time.Duration(i) * time.Second))
		from := max(0, i-5)
		rate := int64(0)
		if i > 0 {
			rate = 1000 * (i*i - from*from) / (i - from)
		}
		want := fmt.Sprintf("%s records, %s/s, lag 123,456,789 (2 days)", thousands(1000*i*i), thousands(rate))
		if i > 0 {
			want += fmt.Sprintf(", dead letters %d", i)
		}
		if got != want || len(got) > 80 {
			t.Errorf("after %d s: %q, want %q", i, got, want)
		}
	}
}

// A run is told of for as long as it lasts: in the log, or below it on a terminal.
func TestNarratorRuns(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		var out buffer
		var n int64
		d := &display{out: &out, terminal: terminal}
		told := &narrator{display: d, log: slog.New(slog.NewTextHandler(d, nil)), every: 5 * time.Millisecond,
			stats: func() sink.Stats { n++; return sink.Stats{Records: n} },
			status: func() []consumer.PartitionStatus {
				return []consumer.PartitionStatus{{State: consumer.Halted, Lag: -1}}
			}}
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { told.run(ctx) })
		want := "msg=applied records=1 dead_letters=0"
		if terminal {
			want = "/s, lag unknown, halted 1"
		}
		waitFor(t, "it tells", func() bool { return strings.Contains(out.String(), want) })
		cancel()
		running.Wait()
		after := out.String()
		if fmt.Fprintln(d, "the last word"); out.String() != after+"the last word\n" {
			t.Error("something is drawn after the end")
		}
	}
}

// An error is broken between words on a terminal, and left as it is elsewhere.
func TestReport(t *testing.T) {
	err := errors.New(strings.Repeat("a few words of an error ", 8) + "\nand another one")
	var out, lines strings.Builder
	report(&display{out: &out, terminal: true}, err)
	report(&lines, err)
	if got := strings.Split(lines.String(), "\n"); len(got) != 3 || !strings.HasPrefix(got[1], "oncesink: and another") {
		t.Errorf("elsewhere it says\n%s", lines.String())
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if len(line) > screen {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	if strings.Join(strings.Fields(out.String()), " ") != strings.Join(strings.Fields(lines.String()), " ") {
		t.Errorf("on a terminal it says\n%s", out.String())
	}
}

// Log lines are written whole above the line that is shown, before, meanwhile and afterwards.
func TestDisplay(t *testing.T) {
	var out buffer
	s := &display{out: &out, terminal: true}
	fmt.Fprintln(s, "first line")
	s.show("one")
	for i := range 50 {
		fmt.Fprintf(s, "line %d\n", i)
		s.show(fmt.Sprintf("shown %d", i))
	}
	waitFor(t, "the line is shown", func() bool { return strings.Contains(out.String(), "shown 49") })
	s.end()
	s.end()
	fmt.Fprintln(s, "last line")
	got := out.String()
	for i := range 50 {
		if strings.Count(got, fmt.Sprintf("line %d\n", i)) != 1 {
			t.Errorf("line %d is not there once, and whole", i)
		}
	}
	if !strings.HasPrefix(got, "first line\n") || !strings.HasSuffix(got, "last line\n") {
		t.Errorf("written: %q", got)
	}
	if isTerminal(newDisplay(&out)) || !isTerminal(s) || isTerminal(io.Discard) {
		t.Error("a display is what is below it")
	}
}

// buffer is a buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A summary for a person names kinds and positions where they are few.
func TestSummary(t *testing.T) {
	r := &summary{Records: 12345, Rows: 12000, Deleted: 3, DeadLetters: 20, Seconds: 12.3,
		Refused: []refusedReport{{"orders", "22P02", "public.orders", "qty", 15}, {"orders", "22P02", "", "", 4}, {Count: 1}}}
	r.Positions = []positionReport{{"orders", 0, 700}, {"orders", 1, 800}}
	var b strings.Builder
	r.print(&b)
	if want := `12,345 records in 12 s: 12,000 rows written, 3 deleted, 20 dead letters
  15 of orders: 22P02 public.orders.qty
  4 of orders: 22P02
  1 for other reasons
the group stands at orders/0 at 700, orders/1 at 800
`; b.String() != want {
		t.Errorf("it says\n%s\nwant\n%s", b.String(), want)
	}
	for i := range 30 {
		r.Positions = append(r.Positions, positionReport{"orders", int32(i + 2), 1})
		r.Refused = append(r.Refused, refusedReport{"orders", fmt.Sprint(i), "", "", 1})
	}
	b.Reset()
	r.print(&b)
	if got := b.String(); strings.Contains(got, "stands at") || !strings.HasSuffix(got, "  and 21 more kinds\n") || strings.Count(got, "\n") != 2+maxTold {
		t.Errorf("of many it says\n%s", got)
	}
}
