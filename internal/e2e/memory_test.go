package e2e

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testkafka"
)

// memoryBound is what the whole process may take at its highest, some 34 MiB of its program among it, with default limits
// and six partitions, whatever the backlog. The backlog below is twice as big.
const memoryBound = 130 << 20

// Back-pressure: a database that takes nothing for a while, before a backlog that would not fit,
// costs bounded memory; and afterwards everything arrives.
func TestMemoryIsBounded(t *testing.T) {
	kafka := testkafka.Real(t)
	topic := kafka.CreateTopic(t, "orders", 6)
	db := newDatabase(t, topic)
	const records, size = 120_000, 2000
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.Brokers...), kgo.DefaultProduceTopic(topic),
		kgo.ProducerBatchCompression(kgo.NoCompression())) // so that what is read can be told from outside
	db.must(err)
	defer client.Close()
	padding := strings.Repeat("x", size)
	for id := range records {
		client.Produce(t.Context(), &kgo.Record{Key: fmt.Append(nil, id), Value: fmt.Appendf(nil, `{"id":%d,"v":%q}`, id, padding)}, func(_ *kgo.Record, err error) {
			if err != nil {
				t.Error(err)
			}
		})
	}
	db.must(client.Flush(t.Context()))

	config := filepath.Join(t.TempDir(), "oncesink.yaml")
	db.must(os.WriteFile(config, fmt.Appendf(nil, `
kafka: {brokers: [%q], group: %s-memory}
postgres: {url: "${DATABASE_URL}", lock_timeout: 60s, idle_timeout: 60s}
tables: [{name: events, topic: %s, key: [id]}]
`, kafka.Brokers[0], topic, topic), 0o600))

	// Nobody can write the table for now. No lock of the table: the start would wait for it, when it has its statements explained.
	_, err = db.pool.Exec(t.Context(), `create function wait() returns trigger language plpgsql as $$ begin perform pg_advisory_xact_lock_shared(1); return null; end $$;
		create trigger wait before insert on events for each statement execute function wait()`)
	db.must(err)
	stall, err := db.pool.Begin(t.Context())
	db.must(err)
	_, err = stall.Exec(t.Context(), `select pg_advisory_xact_lock(1)`)
	db.must(err)
	cmd := exec.Command(binary(t), "run", "--until-end", "-c", config)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+db.url)
	var log strings.Builder
	cmd.Stderr = &log
	db.must(cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = stall.Rollback(context.WithoutCancel(t.Context()))
		_ = cmd.Process.Kill()
	})

	// It reads until its buffers are full, and then no more than heartbeats and the like.
	var last int64
	since := time.Now()
	eventually(t, "the process waits with full buffers", func() bool {
		if now := procValue(cmd.Process.Pid, "io", "rchar:"); now-last > 1<<20 || now < 8<<20 { // sockets above all
			last, since = now, time.Now()
		}
		return time.Since(since) > time.Second
	})
	t.Logf("the process read %d of %d MiB of the backlog and waits", last>>20, records*size>>20)
	if last > records*size/2 {
		t.Errorf("the process read %d MiB, although nothing could be written", last>>20)
	}
	db.must(stall.Rollback(t.Context()))

	// ru_maxrss would not do: it begins with what the parent had at the fork.
	var peak int64
	eventually(t, "the process ends", func() bool {
		peak = max(peak, procValue(cmd.Process.Pid, "status", "VmHWM:")<<10)
		select {
		case err := <-ended:
			if err != nil {
				t.Fatalf("oncesink run: %v\n%s", err, &log)
			}
			return true
		default:
			return false
		}
	})
	if got := db.int(`select count(*) from events`); got != records {
		t.Errorf("%d rows, want %d", got, records)
	}
	t.Logf("peak memory %d MiB", peak>>20)
	if peak == 0 || peak > memoryBound {
		t.Errorf("peak memory %d MiB, the bound is %d", peak>>20, memoryBound>>20)
	}
}

// procValue is a number from a file of /proc/PID, 0 if the process has ended.
func procValue(pid int, file, name string) int64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n
		}
	}
	return 0
}
