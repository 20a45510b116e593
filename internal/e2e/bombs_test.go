package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testkafka"
)

// Records that are small in the log and large in memory, and records of a million elements, cost the whole process a multiple of one of them, and
// no more; the records beside them are written.
func TestBombsAreBounded(t *testing.T) {
	for _, tt := range []struct {
		name  string
		value func(id int) string
		bombs int
		code  string // of dead letters; "": they are rows
		bound int64  // MiB
	}{
		{"32 MiB of text", func(id int) string { return fmt.Sprintf(`{"id":%d,"v":"%s"}`, id, strings.Repeat("x", 32<<20)) }, 3, "", 400},
		{"many of 16 MiB that nobody takes", func(id int) string { return fmt.Sprintf(`{"id":%d,"more":"%s"}`, id, strings.Repeat("x", 16<<20)) }, 26, "", 400},
		{"32 MiB that is no JSON", func(int) string { return strings.Repeat("x", 32<<20) }, 4, "22P02", 400},
		{"an array of 5 million for a text", func(id int) string { return fmt.Sprintf(`{"id":%d,"v":[%s1]}`, id, strings.Repeat("1,", 5_000_000)) }, 4, "", 400},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cluster := testkafka.Fake(t, kfake.SeedTopics(1, "orders"))
			topic := "orders"
			db := newDatabase(t, topic)
			client, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.DefaultProduceTopic(topic),
				kgo.ProducerBatchCompression(kgo.ZstdCompression()), kgo.ProducerBatchMaxBytes(64<<20), kgo.MaxBufferedBytes(1<<30))
			db.must(err)
			defer client.Close()
			n := int64(0)
			for i := range tt.bombs {
				db.must(client.ProduceSync(t.Context(), &kgo.Record{Value: []byte(tt.value(2 * i))}, &kgo.Record{Value: fmt.Appendf(nil, `{"id":%d,"v":"neighbour"}`, 2*i+1)}).FirstErr())
				n++
			}
			config := filepath.Join(t.TempDir(), "oncesink.yaml")
			db.must(os.WriteFile(config, fmt.Appendf(nil, `
kafka: {brokers: [%q], group: bombs}
postgres: {url: "${DATABASE_URL}"}
tables: [{name: events, topic: %s, key: [id]}]
`, cluster.ListenAddrs()[0], topic), 0o600))
			cmd := exec.Command(binary(t), "run", "--until-end", "-c", config)
			cmd.Env = append(os.Environ(), "DATABASE_URL="+db.url)
			var log strings.Builder
			cmd.Stderr = &log
			began := time.Now()
			db.must(cmd.Start())
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			var peak int64
			eventually(t, "the process ends", func() bool {
				peak = max(peak, procValue(cmd.Process.Pid, "status", "VmHWM:")<<10)
				select {
				case <-ended:
					return true
				default:
					return false
				}
			})
			t.Logf("peak memory %d MiB in %v", peak>>20, time.Since(began).Round(time.Millisecond))
			if got := db.int(`select count(*) from events where v = 'neighbour'`); got != n {
				t.Errorf("%d neighbours, want %d\n%s", got, n, &log)
			}
			rows, letters := db.int(`select count(*) from events where v is distinct from 'neighbour'`), db.int(`select count(*) from oncesink.dead_letters`)
			if tt.code == "" && rows != n || tt.code != "" && letters != n {
				t.Errorf("%d rows and %d letters of %d bombs\n%s", rows, letters, n, &log)
			}
			if peak == 0 || peak > tt.bound<<20 {
				t.Errorf("peak memory %d MiB, the bound is %d", peak>>20, tt.bound)
			}
		})
	}
}
