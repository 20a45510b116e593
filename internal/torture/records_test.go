package torture

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/torture/checker"
	"github.com/oncesink/oncesink/internal/torture/wire"
)

// killedAt kills a process before COMMIT, or after it, and starts another one.
func (r *rig) killedAt(p *process, after bool) *process {
	r.Helper()
	sprung := make(chan struct{})
	r.pg.Set(&wire.Trap{Text: "commit", Whole: true, After: after, Do: func() {
		_ = p.proc.Signal(syscall.SIGKILL)
		<-p.proc.Done()
		close(sprung)
	}})
	r.wait(sprung, "killed at COMMIT")
	return r.start("")
}

// poisons are events that no table takes, by what is wrong with them. key is the record's.
func poisons(r *rig, key int64) map[string]string {
	long := make([]byte, 0, 9000)
	for len(long) < 9000 { // nothing that could be compressed into a page of an index
		long = strconv.AppendUint(long, r.rnd.Uint64(), 36)
	}
	of := func(fields string) string { return fmt.Sprintf(`{"id": %d, "version": %d, %s}`, key, 1<<40, fields) }
	return map[string]string{
		"half of an event":      `{"id": 1, "version":`,
		"no UTF-8":              of("\"value\": \"\xff\xfe\""),
		"no object":             strings.Repeat("[", 5000),
		"no key":                `{"version": 1}`,
		"a key of another type": `{"id": "seven", "version": 1}`,
		"a key that overflows":  `{"id": 9223372036854775808, "version": 1}`,
		"NUL":                   of(`"value": "a\u0000b"`),
		"overflow":              of(`"small": 70000`),
		"NOT NULL":              of(`"must": null`),
		"CHECK":                 of(`"small": 13`),
		"no parent":             of(`"parent": 99`),
		"too long for an index": of(`"tag": "` + string(long) + `"`),
		"too long for a column": of(`"code": "12345"`),
		"a trigger's refusal":   of(`"small": 14`),
	}
}

const poisoned = `
create table parents (id int primary key);
insert into parents values (1);
alter table latest add small smallint constraint not_13 check (small <> 13), add must text not null default 'x', add parent int references parents, add tag text, add code varchar(4);
create index on latest (tag);
create function refuses() returns trigger language plpgsql as $$ begin raise exception 'no'; end $$;
create trigger refuses before insert or update on latest for each row when (new.small = 14) execute function refuses();`

// poison of all kinds between good events, in transactions that are killed before and after COMMIT: each is one dead letter.
func poison(r *rig) {
	r.begin(setup{ddl: poisoned, pgYAML: "foreign_key_wait: 500ms", yaml: "dead_letters: {max_ratio: 1, max_consecutive: -1}"})
	some := func() {
		for range 3 {
			key := 1 + r.rnd.Int64N(r.keys)
			for _, raw := range poisons(r, key) {
				r.send(r.client, event{kind: checker.Poison, key: key, partition: -1, raw: raw}, nil)
				r.produce(1 + r.rnd.IntN(4))
			}
		}
	}
	p := r.start("")
	r.produce(50)
	some()
	r.drain()
	for _, after := range []bool{false, true} {
		for range 2 {
			stop := r.load(100)
			some()
			since := time.Now()
			p = r.killedAt(p, after)
			stop()
			r.fired("killed with poison on its way", 1)
			r.recovered(since)
		}
	}
	some()
	r.drain()
	rows, err := r.db.Query(context.Background(), `select code, count(*) from oncesink.dead_letters where sink_group = $1 group by code`, r.name)
	r.must(err)
	var code string
	var n, codes int
	_, err = pgx.ForEachRow(rows, []any{&code, &n}, func() error {
		codes++
		r.fired("dead letters of "+code, n)
		return nil
	})
	r.must(err)
	if codes < 8 {
		r.Errorf("%d codes of dead letters only", codes)
	}
}

// bombs: records that are large, and records that are small in the log and large in memory. The one that is larger than its bound halts its
// partition, and is given up by a command.
func bombs(r *rig) {
	const mebi, bound = 1 << 20, 450 * 1 << 20
	r.begin(setup{topic: []string{"max.message.bytes=" + strconv.Itoa(128*mebi)}, ddl: `alter table latest add body text;`,
		yaml: "dead_letters: {max_ratio: 1, max_consecutive: -1}"})
	client := r.kafka.Client(r.T, kgo.ProducerLinger(0), kgo.ProducerBatchMaxBytes(120*mebi), kgo.MaxBufferedBytes(1<<30), kgo.BrokerMaxWriteBytes(256*mebi), kgo.ProducerBatchCompression(kgo.ZstdCompression()))
	plain := r.kafka.Client(r.T, kgo.ProducerLinger(0), kgo.ProducerBatchMaxBytes(64*mebi), kgo.MaxBufferedBytes(1<<30), kgo.BrokerMaxWriteBytes(256*mebi), kgo.ProducerBatchCompression(kgo.NoCompression()))
	big := func(client *kgo.Client, kind checker.Kind, partition int32, text func(key, version int64) string) {
		r.Helper()
		key := int64(partition) + 3*r.rnd.Int64N(10)
		version := r.version + 1 // nobody else produces meanwhile
		r.send(client, event{kind: kind, key: key, partition: partition, version: version, raw: text(key, version)}, nil)
		r.acknowledged()
		r.produce(3)
	}
	field := func(name string, size int) func(key, version int64) string {
		return func(key, version int64) string {
			return fmt.Sprintf(`{"id": %d, "version": %d, "value": null, "%s": "%s"}`, key, version, name, strings.Repeat("x", size))
		}
	}
	p := r.start("")
	r.produce(50)
	since := time.Now()
	for i := range 3 {
		big(plain, checker.Upsert, int32(i%3), field("body", 8*mebi))
		r.fired("records of 8 MiB", 1)
		big(client, checker.Upsert, int32(i%3), field("body", 24*mebi))
		big(client, checker.Upsert, int32(i%3), field("more", 32*mebi))
		big(client, checker.Poison, int32(i%3), func(int64, int64) string { return strings.Repeat("x", 32*mebi) })
		r.fired("records of 24 to 32 MiB that are a few KiB in the log", 3)
	}
	r.recovered(since)
	// More than a batch may become.
	since = time.Now()
	gone := r.last[1] + 1
	big(client, checker.Upsert, 1, field("more", 80*mebi))
	r.eventually("it halts", func() bool { return p.logged("partition halted") > 0 })
	r.rules.Gaps = append(r.rules.Gaps, checker.Gap{Topic: r.name, Partition: 1, From: gone, To: gone + 1})
	r.fired("a record that is larger than its bound, and halts its partition", 1)
	r.run("accept-gap", "-c", r.config("", ""), fmt.Sprintf("%s/1", r.name), "--to", fmt.Sprint(gone+1), "--yes")
	r.recovered(since)
	peak := p.memory()
	r.res.Note = fmt.Sprintf("the process took %d MiB at most", peak/mebi)
	if peak == 0 || peak > bound {
		r.Errorf("the process took %d MiB, and should take %d at most", peak/mebi, bound/mebi)
	}
}

// memory is the most that a process had of it, in bytes.
func (p *process) memory() (n int64) {
	p.r.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.proc.PID()))
	p.r.must(err)
	_, rest, _ := bytes.Cut(b, []byte("VmHWM:"))
	_, _ = fmt.Sscan(string(rest), &n)
	return n << 10
}

// sameKey: two keys, in batches of hundreds of their events, some of which have the version of the one before, across kills.
func sameKey(r *rig) {
	r.begin(setup{keys: 2, partitions: 2, batch: 500})
	same := func() {
		for range 300 {
			key := 1 + r.rnd.Int64N(2)
			version := r.version + 1
			for range 1 + r.rnd.IntN(3) {
				r.send(r.client, event{key: key, partition: -1, version: version}, nil)
			}
		}
		r.acknowledged()
	}
	r.produce(2000)
	p := r.start("")
	for _, after := range []bool{false, true, false, true} {
		same()
		r.moved(1)
		stop := r.load(100)
		since := time.Now()
		p = r.killedAt(p, after)
		stop()
		r.fired("killed at COMMIT", 1)
		r.recovered(since)
	}
	r.fired("events that shared a transaction with another one of their key", int(r.number(`select coalesce(sum(n), 0)::bigint from (select count(*) as n from events group by xmin::text, id having count(*) > 1) x`)))
	if r.res.Fired["events that shared a transaction with another one of their key"] < 1000 {
		r.Error("few events shared a transaction with another one of their key")
	}
}

// replays read a topic again over a full table, while the sink is killed, and a reader looks: the table's hash stays.
func replays(r *rig) {
	r.begin(setup{tables: guardedTable, keys: 300})
	hash := func() (sum string) {
		r.must(r.db.QueryRow(context.Background(), `select md5(string_agg(t::text, ',' order by id)) from latest t`).Scan(&sum))
		return sum
	}
	p := r.start("")
	r.produce(3000)
	for key := r.keys - 20; key <= r.keys; key++ { // deleted rows stay so, too
		r.send(r.client, event{kind: checker.Tombstone, key: key, partition: -1}, nil)
	}
	r.drain()
	for i := range 4 {
		before := hash()
		since := time.Now()
		r.run("replay", "-c", r.config("", ""))
		r.fired("replays from offset zero", 1)
		if i%2 == 1 {
			p = r.killedAt(p, i == 3)
			r.fired("killed in a replay", 1)
		}
		r.drain()
		r.res.Recovery = append(r.res.Recovery, time.Since(since).Milliseconds())
		if after := hash(); after != before {
			r.Errorf("the table's hash was %s, and is %s after a replay", before, after)
		}
		r.produce(200)
		r.drain()
	}
	if n := r.metric("rows_total", `result="unchanged"`); n < 1000 {
		r.Errorf("%d rows were written again and unchanged: nothing was read again", n)
	}
}
