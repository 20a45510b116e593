package e2e

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
)

// The main job on real input: 69,659 orders of CDNOW, keyed by customer, from
// a real Apache Kafka into PostgreSQL by the real binary. What the table says per
// day is compared with sums over the file, to the cent.

// day is what one day sums up to; amounts in cents.
type day struct{ Orders, Items, Cents int64 }

// cdnow reads the orders of testdata, raw, in the file's order.
func cdnow(t *testing.T) (raw [][]byte, days map[string]day) {
	t.Helper()
	f, err := os.Open("../../testdata/cdnow-orders.jsonl.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	days = map[string]day{}
	lines := bufio.NewScanner(z)
	for lines.Scan() {
		var o struct {
			OrderedOn string `json:"ordered_on"`
			Items     int64
			Amount    json.Number
		}
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			t.Fatal(err)
		}
		units, fraction, _ := strings.Cut(o.Amount.String(), ".")
		cents, err := strconv.ParseInt(units+(fraction + "00")[:2], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		d := days[o.OrderedOn]
		days[o.OrderedOn] = day{d.Orders + 1, d.Items + o.Items, d.Cents + cents}
		raw = append(raw, []byte(lines.Text()))
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(raw) != 69_659 || len(days) != 546 {
		t.Fatalf("testdata has %d orders on %d days", len(raw), len(days))
	}
	return raw, days
}

// TestAwkAgrees: the sums that everything here is compared with are those of awk over the file.
func TestAwkAgrees(t *testing.T) {
	_, days := cdnow(t)
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `gzip -dc ../../testdata/cdnow-orders.jsonl.gz | awk -F '[:,}]' '
		{ on = $6; gsub(/[" ]/, "", on); n[on]++; items[on] += $8; cents[on] += int($10 * 100 + 0.5) }
		END { for (on in n) print on, n[on], items[on], cents[on] }'`).Output()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]day{}
	for line := range strings.Lines(string(out)) {
		var on string
		var d day
		if _, err := fmt.Sscan(line, &on, &d.Orders, &d.Items, &d.Cents); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		got[on] = d
	}
	if !maps.Equal(got, days) {
		t.Errorf("awk counts %d days, and this program %d, or their sums differ", len(got), len(days))
	}
}

// job is one topic with the orders, one database, and the binary between them.
type job struct {
	t       *testing.T
	binary  string
	config  string
	kafka   *testkafka.RealCluster
	brokers []string
	topic   string
	pool    *pgxpool.Pool
	days    map[string]day
}

func newJob(t *testing.T) *job {
	t.Helper()
	kafka := testkafka.Real(t)
	raw, days := cdnow(t)
	j := &job{t: t, binary: binary(t), kafka: kafka, brokers: kafka.Brokers, topic: kafka.CreateTopic(t, "orders", 6), days: days}
	j.load(raw)
	url := testpg.URL(t)
	j.config = filepath.Join(t.TempDir(), "oncesink.yaml")
	config := fmt.Sprintf(`
kafka:
  brokers: [%q]
  group: %s-sink
  session_timeout: 6s
postgres:
  url: ${DATABASE_URL}
limits:
  batch_records: 500
tables:
  - name: orders
    topic: %s
    key: [order_id]
    create: |
      create table orders (
        order_id    bigint primary key,
        customer_id bigint not null,
        ordered_on  date not null,
        items       int not null,
        amount      numeric(10,2) not null
      )
rollups:
  - {name: daily_sales, table: orders, group_by: {day: ordered_on}, columns: {orders: count, items: sum(items), revenue: sum(amount)}}
`, strings.Join(kafka.Brokers, `","`), j.topic, j.topic)
	j.must(os.WriteFile(j.config, []byte(config), 0o600))
	t.Setenv("DATABASE_URL", url)
	var err error
	j.pool, err = pgxpool.New(t.Context(), url)
	j.must(err)
	t.Cleanup(j.pool.Close)
	j.run("init")
	return j
}

// binary builds the command once.
var binary = func() func(t *testing.T) string {
	var once sync.Once
	var path string
	var err error
	return func(t *testing.T) string {
		t.Helper()
		once.Do(func() {
			var dir string
			if dir, err = os.MkdirTemp("", "oncesink-e2e-"); err != nil {
				return
			}
			path = filepath.Join(dir, "oncesink")
			var out []byte
			if out, err = exec.Command("go", "build", "-o", path, "../../cmd/oncesink").CombinedOutput(); err != nil {
				err = fmt.Errorf("go build: %w\n%s", err, out)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
}()

func (j *job) must(err error) {
	j.t.Helper()
	if err != nil {
		j.t.Fatal(err)
	}
}

// load appends orders to the topic, keyed by customer.
func (j *job) load(raw [][]byte) {
	j.t.Helper()
	client, err := kgo.NewClient(kgo.SeedBrokers(j.brokers...), kgo.DefaultProduceTopic(j.topic))
	j.must(err)
	defer client.Close()
	var mu sync.Mutex
	var failed error
	for _, line := range raw {
		var o struct {
			CustomerID json.Number `json:"customer_id"`
		}
		j.must(json.Unmarshal(line, &o))
		client.Produce(j.t.Context(), &kgo.Record{Key: []byte(o.CustomerID), Value: line}, func(_ *kgo.Record, err error) {
			if err != nil {
				mu.Lock()
				failed = err
				mu.Unlock()
			}
		})
	}
	j.must(client.Flush(j.t.Context()))
	j.must(failed)
}

func (j *job) command(args ...string) *exec.Cmd {
	return exec.Command(j.binary, append(args, "--config", j.config)...)
}

// run runs the binary to its end and wants success.
func (j *job) run(args ...string) {
	j.t.Helper()
	if out, err := j.command(args...).CombinedOutput(); err != nil {
		j.t.Fatalf("oncesink %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// verify compares the table, and its rollup, with the file, day by day.
func (j *job) verify() {
	j.t.Helper()
	j.compare(`select ordered_on::text, count(*), sum(items), (sum(amount) * 100)::bigint from orders group by 1`)
	j.compare(`select day::text, orders, items::bigint, (revenue * 100)::bigint from daily_sales`)
}

func (j *job) compare(sql string) {
	j.t.Helper()
	got := map[string]day{}
	rows, err := j.pool.Query(j.t.Context(), sql)
	j.must(err)
	defer rows.Close()
	for rows.Next() {
		var on string
		var d day
		j.must(rows.Scan(&on, &d.Orders, &d.Items, &d.Cents))
		got[on] = d
	}
	j.must(rows.Err())
	if maps.Equal(got, j.days) {
		return
	}
	for on, want := range j.days {
		if got[on] != want {
			j.t.Errorf("%s: %+v, want %+v", on, got[on], want)
			return
		}
	}
	j.t.Errorf("%d days, want %d", len(got), len(j.days))
}

// noLag asks Kafka's own tool, which reads the copies of the positions that the group has.
func (j *job) noLag() {
	j.t.Helper()
	partitions := 0
	described := j.kafka.DescribeGroup(j.t, j.topic+"-sink")
	for _, line := range strings.Split(described, "\n") {
		f := strings.Fields(line) // GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG ...
		if len(f) < 6 || f[1] != j.topic {
			continue
		}
		partitions++
		if f[3] != f[4] || f[5] != "0" {
			j.t.Errorf("the group's copy of the position is behind: %s", line)
		}
	}
	if partitions != 6 {
		j.t.Errorf("kafka-consumer-groups shows %d partitions, want 6:\n%s", partitions, described)
	}
}

// hash is over every byte of every row, guard columns included.
func (j *job) hash() (h string) {
	j.t.Helper()
	j.must(j.pool.QueryRow(j.t.Context(), `select md5(string_agg(o::text, E'\n' order by order_id)) from orders o`).Scan(&h))
	return h
}

func (j *job) count() (n int) {
	j.t.Helper()
	j.must(j.pool.QueryRow(j.t.Context(), `select count(*) from orders`).Scan(&n))
	return n
}

// rewind sends every partition back to offset zero.
func (j *job) rewind() {
	j.t.Helper()
	_, err := j.pool.Exec(j.t.Context(), `select oncesink.rewind(sink_group, topic, partition, 0) from oncesink.offsets`)
	j.must(err)
}

func TestCDNOW(t *testing.T) {
	j := newJob(t)
	j.run("run", "--until-end")
	j.verify()
	j.noLag()

	// Twice is once: the same topic again, over the full table.
	before := j.hash()
	j.rewind()
	j.run("run", "--until-end")
	j.verify()
	if after := j.hash(); after != before {
		t.Errorf("the replay changed the table: %s, was %s", after, before)
	}
	// And the same orders once more at the end of the topic, as a producer's retry would send
	// them: every business column stays, only the guard moves on.
	const columns = `select md5(string_agg(concat_ws(',', order_id, customer_id, ordered_on, items, amount), E'\n' order by order_id)) from orders`
	var was, is string
	j.must(j.pool.QueryRow(t.Context(), columns).Scan(&was))
	raw, _ := cdnow(t)
	j.load(raw)
	j.run("run", "--until-end")
	j.verify()
	j.must(j.pool.QueryRow(t.Context(), columns).Scan(&is))
	if was != is {
		t.Error("loading the same orders again changed the table")
	}
}

func TestCDNOWKilled(t *testing.T) {
	j := newJob(t)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	total := 0
	for _, d := range j.days {
		total += int(d.Orders)
	}
	for kill := range 3 {
		p := start(t, j.command("run"))
		// Somewhere inside the next quarter of the job.
		at := total*kill/4 + 1 + rnd.IntN(total/4)
		eventually(t, fmt.Sprintf("%d orders are there", at), func() bool { return j.count() >= at })
		j.must(p.Process.Kill())
		<-p.done
		n := j.count()
		t.Logf("kill -9 at %d orders", n)
		if n >= total {
			t.Errorf("the job was done before kill %d: the fault did not fire", kill+1)
		}
	}
	j.run("run", "--until-end")
	j.verify()
}

func TestCDNOWMembersComeAndGo(t *testing.T) {
	j := newJob(t)
	host := start(t, j.command("run"))
	eventually(t, "orders arrive", func() bool { return j.count() > 1000 })
	guest := start(t, j.command("run"))
	eventually(t, "the guest owns a partition", func() bool { return j.owners() == 2 || j.count() == 69_659 })
	j.must(host.Process.Signal(syscall.SIGTERM))
	wait(t, host)
	j.rewind() // plenty to do for the second round
	host = start(t, j.command("run"))
	eventually(t, "the second member owns a partition", func() bool { return j.owners() == 2 })
	j.must(guest.Process.Signal(syscall.SIGTERM))
	wait(t, guest)
	j.must(host.Process.Signal(syscall.SIGTERM))
	wait(t, host)
	j.run("run", "--until-end")
	j.verify()
}

// wait waits for a process that was told to stop, and wants it to have ended well.
func wait(t *testing.T, p *process) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	select {
	case <-p.done:
		if code := p.ProcessState.ExitCode(); code != 0 {
			t.Errorf("exit code %d after SIGTERM\n%s", code, p.log.tail())
		}
	case <-ctx.Done():
		t.Fatalf("still running 30 s after SIGTERM\n%s", p.log.tail())
	}
}

// owners counts the processes that own partitions, and live.
func (j *job) owners() (n int) {
	j.t.Helper()
	j.must(j.pool.QueryRow(j.t.Context(), `select count(distinct instance) from oncesink.offsets
		where exists (select from pg_stat_activity where application_name = 'oncesink ' || instance)`).Scan(&n))
	return n
}
