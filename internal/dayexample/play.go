//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
)

// The configuration of the morning, and that of the afternoon, which has a column more.
const configuration = `kafka:
  brokers: ["${KAFKA_BROKERS}"]
  group: orders-sink
postgres:
  url: "${DATABASE_URL}"
  password_file: password
tables:
  - name: orders
    topic: orders
    key: [order_id]
    version: updated_at
    record_key: {order_id: $key}
    create: |
      create table orders (order_id bigint primary key, customer_id bigint not null, status text not null, amount numeric(12, 2) not null,
        placed_at timestamptz not null, updated_at timestamptz not null)
    columns:
      customer_id: customer.id
`

// play is what happens.
func (d *day) play(ctx context.Context) error {
	for _, f := range []func(context.Context) error{d.install, d.scaleUp, d.halt, d.mend, d.rotate, d.roll, d.scaleDown, d.finish} {
		if err := f(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *day) install(ctx context.Context) error {
	d.chapter("Install", "The owner of the database makes what is needed, a role `sink` may only write rows; its password is in a file.")
	file := func(name, text string) error { return os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600) }
	if err := file("orders.yaml", configuration); err != nil {
		return err
	}
	if err := file("owner.yaml", strings.Replace(configuration, "  password_file: password\n", "", 1)); err != nil {
		return err
	}
	var err error
	if d.load, err = d.background("generate", nil, "generate", "--topic", "orders", "--partitions", "6", "--rate", fmt.Sprint(d.rate)); err != nil {
		return err
	}
	if err := until(ctx, "there is a topic", func() (bool, error) {
		topics, err := d.kafka.ListTopics(ctx, "orders")
		return err == nil && topics.Has("orders"), err
	}); err != nil {
		return err
	}
	if _, err := d.does(ctx, 0, d.owner, "init", "-c", "owner.yaml"); err != nil {
		return err
	}
	script, err := d.command(ctx, d.owner, "init", "--print", "--role", "sink", "-c", "owner.yaml").Output()
	if err != nil {
		return fmt.Errorf("oncesink init --print: %w", err)
	}
	if _, err := d.db.Exec(ctx, string(script)); err != nil {
		return fmt.Errorf("run what init --print has printed: %w", err)
	}
	d.note("`oncesink init --print --role sink -c owner.yaml` prints the grants, which the owner runs.")
	if _, err := d.does(ctx, 0, d.url, "check", "-c", "orders.yaml"); err != nil {
		return err
	}
	d.mark("1 member")
	if err := d.start(0, "orders.yaml"); err != nil {
		return err
	}
	if err := d.settled(ctx, 1); err != nil {
		return err
	}
	d.note("One member has all six partitions, and %.0f events arrive each second.", d.rate)
	return d.quiet(ctx, 20*time.Second)
}

func (d *day) scaleUp(ctx context.Context) error {
	d.chapter("Scale from 1 to 3", "Two more processes, with the same configuration.")
	d.mark("3 members")
	for i := 1; i < 3; i++ {
		if err := d.start(i, "orders.yaml"); err != nil {
			return err
		}
	}
	if err := d.settled(ctx, 3); err != nil {
		return err
	}
	d.note("Each has two partitions.")
	return d.quiet(ctx, 20*time.Second)
}

func (d *day) halt(ctx context.Context) error {
	d.chapter("A partition halts", "Somebody pauses a partition, and forgets it; meanwhile its records are deleted in Kafka. When it is resumed, it can't go on.")
	if _, err := d.does(ctx, 0, d.url, "pause", "orders/3", "-c", "orders.yaml"); err != nil {
		return err
	}
	var stands int64
	if err := d.db.QueryRow(ctx, "select next_offset from oncesink.offsets where partition = 3").Scan(&stands); err != nil {
		return err
	}
	if err := until(ctx, "records have come that are not read", func() (bool, error) {
		end, err := d.end3(ctx)
		return end > stands+1000, err
	}); err != nil {
		return err
	}
	end, err := d.end3(ctx)
	if err != nil {
		return err
	}
	var to kadm.Offsets
	to.Add(kadm.Offset{Topic: "orders", Partition: 3, At: end})
	if _, err := d.kafka.DeleteRecords(ctx, to); err != nil {
		return err
	}
	if _, err := d.does(ctx, 0, d.url, "resume", "orders/3", "-c", "orders.yaml"); err != nil {
		return err
	}
	d.mark("halted")
	began := time.Now()
	var found alert
	if err := until(ctx, "the alert fires", func() (bool, error) {
		all, err := d.prom.alerts(ctx)
		i := slices.IndexFunc(all, func(a alert) bool { return a.Labels["alertname"] == "OncesinkPartitionHalted" })
		if i >= 0 {
			found = all[i]
		}
		return i >= 0, err
	}); err != nil {
		return err
	}
	d.note("%.0f seconds later Prometheus has it; the rule waits for 30 of them:", time.Since(began).Seconds())
	d.shown(fmt.Sprintf("%s, severity %s\n%s\n%s\n%s", found.Labels["alertname"], found.Labels["severity"], found.Annotations["summary"], found.Annotations["description"], found.Annotations["runbook_url"]))
	if !strings.HasSuffix(found.Annotations["runbook_url"], "#gap") || found.Labels["partition"] != "3" {
		return fmt.Errorf("the alert is another one: %v", found)
	}
	ready, page, err := d.look(ctx)
	if err != nil {
		return err
	}
	d.note("The page of the member that has it says %s. All three members stay ready, %d of 3, for the cure may need a rollout; the other partitions go on.", page, ready)
	if ready != 3 {
		return fmt.Errorf("%d members are ready", ready)
	}
	return nil
}

func (d *day) end3(ctx context.Context) (int64, error) {
	ends, err := d.kafka.ListEndOffsets(ctx, "orders")
	if err != nil {
		return 0, err
	}
	o, _ := ends.Lookup("orders", 3)
	return o.Offset, o.Err
}

// look asks all members whether they are ready, and what they say of the partition that has halted.
func (d *day) look(ctx context.Context) (ready int, page string, err error) {
	for _, port := range d.ports {
		code, _, err := get(ctx, port, "/readyz")
		if err != nil {
			return 0, "", err
		}
		if code == http.StatusOK {
			ready++
		}
		_, text, err := get(ctx, port, "/status.json")
		if err != nil {
			return 0, "", err
		}
		if strings.Contains(text, `"reason": "gap"`) && strings.Contains(text, "accept-gap orders/3") {
			_, shown, err := get(ctx, port, "/")
			if err != nil {
				return 0, "", err
			}
			if strings.Contains(shown, "orders/3 has halted") && strings.Contains(shown, "accept-gap orders/3") && strings.Contains(shown, "runbook.md#gap") {
				page = "*orders/3 has halted*, the command, and the way to the runbook"
			}
		}
	}
	if page == "" {
		err = fmt.Errorf("no page says it")
	}
	return ready, page, err
}

func get(ctx context.Context, port int, path string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		return 0, "", err
	}
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// mend does what the runbook says at #gap.
func (d *day) mend(ctx context.Context) error {
	d.chapter("The runbook is followed", "[docs/runbook.md#gap](runbook.md#gap): look first.")
	status, err := d.does(ctx, 1, d.url, "status", "-c", "orders.yaml")
	if err != nil {
		return err
	}
	m := regexp.MustCompile(`oncesink accept-gap orders/3\s+--to\s+(\d+)`).FindStringSubmatch(status)
	if m == nil {
		return fmt.Errorf("the status names no command:\n%s", status)
	}
	d.note("The events can't be had elsewhere. What would be lost, and then the deed:")
	if _, err := d.does(ctx, 2, d.url, "accept-gap", "orders/3", "--to", m[1], "-c", "orders.yaml"); err != nil {
		return err
	}
	if _, err := d.does(ctx, 0, d.url, "accept-gap", "orders/3", "--to", m[1], "-c", "orders.yaml", "--yes"); err != nil {
		return err
	}
	d.mark("mended")
	began := time.Now()
	if err := until(ctx, "no alert fires", func() (bool, error) {
		all, err := d.prom.alerts(ctx)
		return len(all) == 0, err
	}); err != nil {
		return err
	}
	gone := time.Since(began)
	if err := d.settled(ctx, 3); err != nil {
		return err
	}
	d.note("%.0f seconds later the alert is gone, and the partition runs.", gone.Seconds())
	return d.quiet(ctx, 15*time.Second)
}

func (d *day) rotate(ctx context.Context) error {
	d.chapter("A password rotates", "The role gets another password, the file too, and all sessions of the role are ended, as some servers do.")
	before := d.pids()
	d.mark("password")
	if err := d.password(ctx, "alter", "second-of-the-day"); err != nil {
		return err
	}
	var ended int
	if err := d.db.QueryRow(ctx, "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'sink'").Scan(&ended); err != nil {
		return err
	}
	if err := d.quiet(ctx, 15*time.Second); err != nil {
		return err
	}
	if err := d.settled(ctx, 3); err != nil {
		return err
	}
	if after := d.pids(); after != before {
		return fmt.Errorf("processes were %s and are %s", before, after)
	}
	d.note("%d sessions were ended. The same three processes go on, with the new password; nobody was started again, and no alert rang.", ended)
	return nil
}

func (d *day) pids() string {
	var all []string
	for _, m := range d.members {
		pid := -1
		if m != nil && !m.Exited() {
			pid = m.PID()
		}
		all = append(all, fmt.Sprint(pid))
	}
	return strings.Join(all, " ")
}

// roll changes the mapping while the group runs.
func (d *day) roll(ctx context.Context) error {
	d.chapter("A change of the mapping is rolled out", "The table gets a column `country`, and the mapping says where it comes from: `country: customer.country`. [docs/mapping-changes.md](mapping-changes.md) says how; accepting it is for the owner.")
	if _, err := d.db.Exec(ctx, "alter table orders add column country text"); err != nil {
		return err
	}
	const changed = configuration + "      country: customer.country\n"
	for name, text := range map[string]string{"new.yaml": changed, "owner.yaml": strings.Replace(changed, "  password_file: password\n", "", 1)} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	if _, err := d.does(ctx, 3, d.url, "mapping", "plan", "-c", "new.yaml"); err != nil {
		return err
	}
	if _, err := d.does(ctx, 0, d.owner, "mapping", "accept", "-c", "owner.yaml"); err != nil {
		return err
	}
	d.mark("rollout")
	for i := range d.members {
		if err := d.end(ctx, i); err != nil {
			return err
		}
		if err := d.start(i, "new.yaml"); err != nil {
			return err
		}
		if err := d.settled(ctx, 3); err != nil {
			return err
		}
	}
	var filled int
	if err := until(ctx, "rows have a country", func() (bool, error) {
		err := d.db.QueryRow(ctx, "select count(*) from orders where country is not null").Scan(&filled)
		return filled > 0, err
	}); err != nil {
		return err
	}
	d.note("One after the other the members were stopped and started with the new configuration; the others took over meanwhile. Rows that were written since have a country.")
	return d.quiet(ctx, 10*time.Second)
}

func (d *day) scaleDown(ctx context.Context) error {
	d.chapter("Scale from 3 to 1", "SIGTERM for two of them.")
	d.mark("1 member")
	for i := 1; i < 3; i++ {
		if err := d.end(ctx, i); err != nil {
			return err
		}
	}
	if err := d.settled(ctx, 1); err != nil {
		return err
	}
	d.note("They end with 0. One member has all six partitions again.")
	return d.quiet(ctx, 20*time.Second)
}

// settled waits until so many members run all six partitions, each some of them, and none is far behind.
func (d *day) settled(ctx context.Context, members int) error {
	return until(ctx, fmt.Sprintf("%d members have all partitions", members), func() (bool, error) {
		running, at := 0, 0
		for i, m := range d.members {
			if m == nil {
				continue
			}
			code, text, err := get(ctx, d.ports[i], "/status.json")
			if err != nil || code != http.StatusOK {
				return false, err
			}
			var status struct {
				Ready      bool
				Partitions []struct {
					State      string
					LagSeconds *float64 `json:"lag_seconds"`
				}
			}
			if err := json.Unmarshal([]byte(text), &status); err != nil {
				return false, err
			}
			for _, p := range status.Partitions {
				if p.State == "running" && p.LagSeconds != nil && *p.LagSeconds < 5 {
					running++
				}
			}
			if status.Ready && len(status.Partitions) > 0 {
				at++
			}
		}
		return running == 6 && at == members, nil
	})
}

// quiet lets it run for a while, in which no alert may fire.
func (d *day) quiet(ctx context.Context, long time.Duration) error {
	end := time.Now().Add(long)
	return until(ctx, "some time is over", func() (bool, error) {
		all, err := d.prom.alerts(ctx)
		if err == nil && len(all) > 0 {
			err = fmt.Errorf("an alert fires: %v", all[0])
		}
		return time.Now().After(end), err
	})
}

func (d *day) finish(ctx context.Context) error {
	d.chapter("The end of the day", "The generator is stopped; what it sent is compared with the table.")
	d.mark("no load")
	if err := d.load.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	<-d.load.Done()
	if err := until(ctx, "nothing is left to do", func() (bool, error) {
		out, err := d.command(ctx, d.url, "status", "-c", "new.yaml", "--json").Output()
		return err == nil && strings.Count(string(out), `"lag": 0,`) == 6, nil
	}); err != nil {
		return err
	}
	read, live, missing, err := d.compare(ctx)
	if err != nil {
		return err
	}
	if missing > 0 {
		return fmt.Errorf("%d orders of %d are missing", missing, live)
	}
	d.note("The topic holds %d records still, by which %d orders are to be in the table: they are, each with its newest status, amount and time.", read, live)
	return d.dashboard(ctx)
}
