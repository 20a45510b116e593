package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/internal/testpg"
)

// sale is one order as the judge of TestDailySales keeps it.
type sale struct {
	on    string
	cents int64
	rev   int
}

// TestDailySales: orders and revenue per day, kept in both ways beside CDNOW's orders, are the sums of what the events
// say, after kills, a replay, late and corrected orders and deletes; and no reader ever sees a day that differs from its rows.
func TestDailySales(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	kafka := testkafka.Real(t)
	raw, _ := cdnow(t)
	raw = raw[:12_000]
	j := &job{t: t, binary: binary(t), kafka: kafka, brokers: kafka.Brokers, topic: kafka.CreateTopic(t, "sales", 3)}
	url := testpg.URL(t)
	j.config = filepath.Join(t.TempDir(), "oncesink.yaml")
	j.must(os.WriteFile(j.config, fmt.Appendf(nil, `
kafka: {brokers: ["%s"], group: %s-sink, session_timeout: 6s}
postgres: {url: "${DATABASE_URL}"}
limits: {batch_records: 300}
tables:
  - name: orders
    topic: %s
    key: [order_id]
    version: rev
    record_key: {order_id: $key}
    create: create table orders (order_id bigint primary key, rev int not null, ordered_on date not null, amount numeric(10, 2) not null)
rollups:
  - {name: daily_sales, table: orders, group_by: {day: ordered_on}, columns: {orders: count, revenue: sum(amount)}}
  - name: monthly_sales
    table: orders
    group_by: {month: "extract(year from ordered_on) * 100 + extract(month from ordered_on)"}
    columns: {orders: count, revenue: sum(amount), dearest: max(amount)}
    mode: recompute
`, strings.Join(kafka.Brokers, `","`), j.topic, j.topic), 0o600))
	t.Setenv("DATABASE_URL", url)
	var err error
	j.pool, err = pgxpool.New(t.Context(), url)
	j.must(err)
	t.Cleanup(j.pool.Close)
	j.run("init")

	truth := map[int64]sale{}
	client, err := kgo.NewClient(kgo.SeedBrokers(j.brokers...), kgo.DefaultProduceTopic(j.topic))
	j.must(err)
	defer client.Close()
	var promise kgo.FirstErrPromise
	sent := int64(0)
	produce := func(id int64, value []byte) {
		client.Produce(t.Context(), &kgo.Record{Key: strconv.AppendInt(nil, id, 10), Value: value}, promise.Promise())
		sent++
	}
	// send sends a revision of an order, which counts if it is the newest one.
	send := func(id int64, s sale) {
		value := fmt.Appendf(nil, `{"order_id": %d, "rev": %d, "ordered_on": %q, "amount": %d.%02d}`, id, s.rev, s.on, s.cents/100, s.cents%100)
		produce(id, value)
		if s.rev >= truth[id].rev {
			truth[id] = s
		}
	}
	for _, line := range raw {
		var o struct {
			OrderID   int64  `json:"order_id"`
			OrderedOn string `json:"ordered_on"`
			Amount    json.Number
		}
		j.must(json.Unmarshal(line, &o))
		units, fraction, _ := strings.Cut(o.Amount.String(), ".")
		cents, err := strconv.ParseInt(units+(fraction + "00")[:2], 10, 64)
		j.must(err)
		send(o.OrderID, sale{o.OrderedOn, cents, 1})
	}
	j.must(promise.Err())

	// right compares both rollups with the truth and with their rows.
	right := func(when string) {
		t.Helper()
		want, got := map[string]day{}, map[string]day{}
		for _, s := range truth {
			d := want[s.on]
			want[s.on] = day{Orders: d.Orders + 1, Cents: d.Cents + s.cents}
		}
		rows, err := j.pool.Query(t.Context(), "select day::text, orders, (revenue * 100)::bigint from daily_sales")
		j.must(err)
		defer rows.Close()
		for rows.Next() {
			var on string
			var d day
			j.must(rows.Scan(&on, &d.Orders, &d.Cents))
			got[on] = d
		}
		j.must(rows.Err())
		if !maps.Equal(want, got) {
			t.Fatalf("%s: daily_sales has %d days and the events %d, or their sums differ", when, len(got), len(want))
		}
		j.run("rollup", "verify", "daily_sales")
		j.run("rollup", "verify", "monthly_sales")
	}
	for kill := range 3 {
		p := start(t, j.command("run"))
		at := len(raw)*kill/4 + 1 + rnd.IntN(len(raw)/5)
		eventually(t, fmt.Sprintf("%d orders are there", at), func() bool { return j.count() >= at })
		j.must(p.Process.Kill())
		<-p.done
	}
	j.run("run", "--until-end")
	right("after three kills")

	ids := make([]int64, 0, len(truth))
	for id := range truth {
		ids = append(ids, id)
	}
	for range 1500 {
		id := ids[rnd.IntN(len(ids))]
		s, there := truth[id]
		switch kind := rnd.IntN(4); {
		case !there:
		case kind == 0: // cancelled
			produce(id, nil)
			delete(truth, id)
		case kind == 1: // late: an older revision
			send(id, sale{"1990-01-01", 1, s.rev - 1})
		default: // corrected, and on another day
			on, err := time.Parse(time.DateOnly, s.on)
			j.must(err)
			send(id, sale{on.AddDate(0, 0, rnd.IntN(5)-2).Format(time.DateOnly), s.cents + int64(rnd.IntN(500)), s.rev + 1})
		}
	}
	j.must(promise.Err())
	j.run("run", "--until-end")
	right("after late and corrected orders and deletes")

	// A replay of the running group: nothing changes, at no moment.
	p := start(t, j.command("run"))
	eventually(t, "the process owns the partitions", func() bool { return j.owners() == 1 })
	before := j.hash()
	j.rewind()
	looks := 0
	eventually(t, "the replay is over", func() bool {
		var differ int
		var hash string
		j.must(j.pool.QueryRow(t.Context(), `
			select (select count(*) from daily_sales s
			          full join (select ordered_on as day, count(*) as orders, sum(amount) as revenue from orders group by 1) o using (day)
			         where (s.orders, s.revenue) is distinct from (o.orders, o.revenue)),
			       (select md5(string_agg(o::text, E'\n' order by order_id)) from orders o)`).Scan(&differ, &hash))
		if differ > 0 || hash != before {
			t.Errorf("in look %d %d days differ, and the orders' hash is %s, was %s", looks, differ, hash, before)
			return true
		}
		looks++
		return j.applied() == sent
	})
	t.Logf("looked %d times during the replay", looks)
	j.must(p.Process.Kill())
	<-p.done
	right("after the replay")
}

// applied is how many records the positions have passed.
func (j *job) applied() (n int64) {
	j.t.Helper()
	j.must(j.pool.QueryRow(j.t.Context(), "select sum(next_offset)::bigint from oncesink.offsets").Scan(&n))
	return n
}
