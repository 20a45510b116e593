//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// compare reads the topic as it is now, and counts the orders that are to be in the table by it and are not, or not as their newest event says.
func (d *day) compare(ctx context.Context) (read, live, missing int, err error) {
	type order struct {
		Status    string          `json:"status"`
		Amount    json.RawMessage `json:"amount"`
		UpdatedAt time.Time       `json:"updated_at"`
		gone      bool
	}
	ends, err := d.kafka.ListEndOffsets(ctx, "orders")
	if err != nil {
		return 0, 0, 0, err
	}
	starts, err := d.kafka.ListStartOffsets(ctx, "orders")
	if err != nil {
		return 0, 0, 0, err
	}
	left := map[int32]int64{}
	for _, e := range ends.Offsets()["orders"] {
		if s, _ := starts.Lookup("orders", e.Partition); s.Offset < e.At {
			left[e.Partition] = e.At
		}
	}
	c, err := kgo.NewClient(kgo.SeedBrokers(d.brokers...), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return 0, 0, 0, err
	}
	defer c.Close()
	newest := map[int64]order{}
	for len(left) > 0 {
		fetches := c.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return 0, 0, 0, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			read++
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			id, convErr := strconv.ParseInt(string(r.Key), 10, 64)
			if convErr != nil {
				err = convErr
				return
			}
			if len(r.Value) == 0 { // what is known of it stays, for an older event must not bring it back
				o := newest[id]
				o.gone = true
				newest[id] = o
				return
			}
			var o order
			if jsonErr := json.Unmarshal(r.Value, &o); jsonErr != nil {
				err = jsonErr
				return
			}
			if was, ok := newest[id]; !ok || o.UpdatedAt.After(was.UpdatedAt) {
				newest[id] = o
			}
		})
	}
	if err != nil {
		return 0, 0, 0, err
	}
	var ids []int64
	var statuses, amounts []string
	var times []time.Time
	for id, o := range newest {
		if !o.gone {
			ids, statuses, amounts, times = append(ids, id), append(statuses, o.Status), append(amounts, string(o.Amount)), append(times, o.UpdatedAt)
		}
	}
	err = d.db.QueryRow(ctx, `select count(*) from unnest($1::bigint[], $2::text[], $3::text[], $4::timestamptz[]) as e (id, status, amount, at)
		where not exists (select from orders o where o.order_id = e.id and (o.status, o.amount, o.updated_at) = (e.status, e.amount::numeric, e.at))`, ids, statuses, amounts, times).Scan(&missing)
	return read, len(ids), missing, err
}

// dashboard asks Prometheus what each panel of the dashboard asks.
func (d *day) dashboard(ctx context.Context) error {
	text, err := os.ReadFile("deploy/grafana/oncesink.json")
	if err != nil {
		return err
	}
	var board struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &board); err != nil {
		return err
	}
	picked := strings.NewReplacer("$__rate_interval", "1m", "$group", "orders-sink", "$job", "oncesink", "$instance", ".*")
	asked := 0
	var silent []string
	for _, p := range board.Panels {
		answers := 0
		for _, t := range p.Targets {
			asked++
			_, n, err := d.prom.value(ctx, picked.Replace(t.Expr))
			if err != nil {
				return fmt.Errorf("panel %q: %w", p.Title, err)
			}
			answers += n
		}
		if len(p.Targets) > 0 && answers == 0 {
			silent = append(silent, "*"+p.Title+"*")
		}
	}
	d.note("Prometheus answers all %d questions of the dashboard. Nothing to show at this hour have: %s.", asked, strings.Join(silent, ", "))
	return nil
}

// write draws the plot, and writes the page.
func (d *day) write(ctx context.Context, out string) error {
	begin, end := d.marks[0].at, time.Now()
	ask := func(title, unit, expr string, steps bool) (curve, error) {
		samples, err := d.prom.over(ctx, expr, begin, end)
		return curve{title, unit, samples, steps}, err
	}
	var curves []curve
	for _, c := range []struct {
		title, unit, expr string
		steps             bool
	}{
		{"Members that are ready", "", "count(oncesink_ready == 1)", true},
		{"Records per second", "", "sum(rate(oncesink_records_total[10s]))", false},
		{"Lag: age of the next record, of the partition that is furthest behind", "s", "max(oncesink_topic_lag_seconds_max)", false},
		{"Lag: records, all partitions", "", "sum(oncesink_topic_lag_records)", false},
		{"Halted partitions", "", "count(max by (partition) (oncesink_partition_halted)) or vector(0)", true},
	} {
		drawn, err := ask(c.title, c.unit, c.expr, c.steps)
		if err != nil {
			return err
		}
		curves = append(curves, drawn)
	}
	if err := os.WriteFile(filepath.Join(out, "day.svg"), []byte(plot(curves, d.marks, begin, end)), 0o644); err != nil {
		return err
	}
	page := `# A day in the life of a group

What happens to a group from its installation to the evening, on one machine of two cores: Apache Kafka, PostgreSQL, up to three processes of oncesink, and a Prometheus that
scrapes them every two seconds and has the alerts of [deploy/prometheus/rules.yaml](../deploy/prometheus/rules.yaml) as they are. This page is what ` + "`go run ./internal/dayexample`" + ` did and saw: it ends with
an error where anything goes otherwise. It needs Prometheus (Debian: ` + "`prometheus`" + `), Java and Maven, and takes about five minutes.

![Members, records per second, lag and halted partitions over the day](day.svg)
`
	return os.WriteFile(filepath.Join(out, "day.md"), []byte(page+d.text.String()), 0o644)
}
