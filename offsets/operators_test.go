package offsets_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/oncesink/oncesink/offsets"
)

// says runs a command and returns the lines that it answers, or its error.
func (r *rig) says(sql string, args ...any) ([]string, error) {
	r.Helper()
	rows, err := r.admin.Query(r.Context(), sql, args...)
	r.must(err)
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// rows are the ledger's, which must be n.
func (p *process) rows(n int) []offsets.Row {
	p.rig.Helper()
	rows, err := p.Rows(p.rig.Context())
	p.rig.must(err)
	if len(rows) != n {
		p.rig.Fatalf("%d rows, want %d", len(rows), n)
	}
	return rows
}

// Rule 8: every command draws a new fence for each row that it names and for no
// other, and leaves the claim: the owner is fenced, and may claim again.
func TestRule8CommandsFenceTheOwner(t *testing.T) {
	for sql, s := range map[string]struct {
		next   [2]int64 // the positions of orders/0 and orders/1 after it
		fenced [2]bool
		paused [2]bool
	}{
		`rewind('orders-sink', 'orders', 0, 3)`:      {next: [2]int64{3, 10}, fenced: [2]bool{true, false}},
		`rewind('orders-sink', 'orders', 0, 10)`:     {next: [2]int64{10, 10}, fenced: [2]bool{true, false}},
		`rewind('orders-sink', 'orders', null, 0)`:   {next: [2]int64{0, 0}, fenced: [2]bool{true, true}},
		`accept_gap('orders-sink', 'orders', 0, 11)`: {next: [2]int64{11, 10}, fenced: [2]bool{true, false}},
		`pause('orders-sink', 'orders', 0)`:          {next: [2]int64{10, 10}, fenced: [2]bool{true, false}, paused: [2]bool{true, false}},
		`pause('orders-sink', 'orders')`:             {next: [2]int64{10, 10}, fenced: [2]bool{true, true}, paused: [2]bool{true, true}},
		`resume('orders-sink', 'orders', 1)`:         {next: [2]int64{10, 10}, fenced: [2]bool{false, true}},
	} {
		t.Run(sql, func(t *testing.T) {
			r := newRig(t)
			p := r.process()
			old := p.claim(2)
			r.must(p.advance(step(old[0], 10), step(old[1], 10)))
			// Another group and another topic, which no command names.
			r.exec(`insert into oncesink.offsets (sink_group, topic, partition, next_offset, first_offset)
				values ('other', 'orders', 0, 10, 0), ($1, 'items', 0, 10, 0)`, group)
			const others = `select string_agg(o::text, ';' order by topic) from oncesink.offsets o where (sink_group, topic) <> ('orders-sink', 'orders')`
			before := value[string](r, others)

			r.exec(`select * from oncesink.` + sql)
			rows := p.rows(3)[1:] // items/0 is first
			for i, row := range rows {
				if row.Position.Next != s.next[i] || row.ClaimID != old[i].ID || row.Paused != s.paused[i] || (row.Fence != old[i].Fence) != s.fenced[i] {
					t.Errorf("%s: %+v, want %d, fenced %v, paused %v", row.Partition, row, s.next[i], s.fenced[i], s.paused[i])
				}
				if s.fenced[i] {
					r.fenced(p.advance(step(at(old[i], s.next[i]), 1)), row.Partition)
				}
			}
			if after := value[string](r, others); after != before {
				t.Errorf("changed rows that it does not name:\n%s\n%s", before, after)
			}
			for i, c := range p.claim(2) {
				if c.Position.Next != s.next[i] || c.Paused != s.paused[i] {
					t.Errorf("claimed %+v", c)
				}
				r.must(p.advance(step(c, 1)))
			}
		})
	}
}

// Rule 8: what a command refuses, it says in words, with what to do instead, and
// changes nothing.
func TestRule8CommandsRefuse(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(2)
	r.must(p.advance(step(c[0], 10), step(c[1], 20)))
	id := r.topicID.String()
	for _, s := range []struct{ sql, state, message, hint string }{
		{`rewind('orders-sink', 'orders', 0, 11)`, "22023", "orders/0 stands at 10: a rewind never moves forward", "accept_gap('orders-sink', 'orders', 0, 11)"},
		// The first row would move back, the second one forward: neither moves.
		{`rewind('orders-sink', 'orders', null, 15)`, "22023", "orders/0 stands at 10", ""},
		{`rewind('orders-sink', 'orders', 0, -1)`, "22023", "0 or more", ""},
		{`rewind('orders-sink', 'orders', 0, null)`, "22023", "0 or more", ""},
		{`accept_gap('orders-sink', 'orders', 0, 10)`, "22023", "orders/0 stands at 10: accept_gap only moves forward", "rewind('orders-sink', 'orders', 0, 10)"},
		{`accept_gap('orders-sink', 'orders', 0, 9)`, "22023", "accept_gap only moves forward", "rewind("},
		{`accept_gap('orders-sink', 'orders', null, 30)`, "22023", "needs a partition", ""},
		{`accept_gap('orders-sink', 'orders', 0, null)`, "22023", "needs a partition and an offset", ""},
		{`adopt('orders-sink', 'orders', null)`, "22023", "needs the id", ""},
		{`adopt('orders-sink', 'orders', '` + id + `')`, "55000", id + " already", ""},
	} {
		r.refuses(s.sql, s.state, s.message, s.hint)
	}
	for call, arg := range map[string]string{"rewind": ", %, 0", "accept_gap": ", %, 99", "pause": ", %", "resume": ", %", "adopt": ", gen_random_uuid()"} {
		args := strings.ReplaceAll(arg, "%", "0")
		r.refuses(call+`('nobody', 'orders'`+args+`)`, "P0002", "there is no group nobody", "oncesink.status")
		r.refuses(call+`('orders-sink', 'order'`+args+`)`, "P0002", "group orders-sink has no topic order", "oncesink.status")
		if strings.Contains(arg, "%") {
			args = strings.ReplaceAll(arg, "%", "7")
			r.refuses(call+`('orders-sink', 'orders'`+args+`)`, "P0002", "group orders-sink has no partition orders/7", "oncesink.status")
		}
	}
}

// refuses checks the error of a command, and that it left everything as it was.
func (r *rig) refuses(sql, state, message, hint string) {
	r.Helper()
	before := value[string](r, ledgerText)
	_, err := r.says(`select * from oncesink.` + sql)
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Code != state || !strings.Contains(pg.Message, message) || !strings.Contains(pg.Hint, hint) {
		r.Errorf("%s: %v, want %s %q with hint %q", sql, err, state, message, hint)
	}
	if pg != nil && !strings.HasPrefix(pg.Message, "oncesink: ") {
		r.Errorf("%s: %q does not say whose message it is", sql, pg.Message)
	}
	if after := value[string](r, ledgerText); after != before {
		r.Errorf("%s: refused, and changed\n%s\nto\n%s", sql, before, after)
	}
}

// Rule 8: a group whose replay is not safe is not rewound, by whatever its last
// claim said of it.
func TestRule8ReplayRefused(t *testing.T) {
	r := newRig(t)
	p := r.process(offsets.Options{ClusterID: "cluster-1", ReplayRefused: "table audit has no guard"})
	r.must(p.advance(step(p.claim(1)[0], 10)))
	r.refuses(`rewind('orders-sink', 'orders', 0, 5)`, "55000", "group orders-sink must not be rewound: table audit has no guard", "")
	r.refuses(`rewind('orders-sink', 'orders', null, 5)`, "55000", "table audit has no guard", "")
	r.exec(`select oncesink.accept_gap($1, 'orders', 0, 12)`, group) // applies nothing twice
	r.process().claim(1)
	r.exec(`select oncesink.rewind($1, 'orders', 0, 5)`, group)
	r.stands(5, 1)
}

// Rule 8: where a log was truncated nothing is read again from its end, so such a group may be sent there, and nowhere else.
func TestRule8TruncatedWhereReplaysAreRefused(t *testing.T) {
	r := newRig(t)
	p := r.process(offsets.Options{ReplayRefused: "table audit has no guard"})
	claim := p.claim(1)[0]
	r.must(p.advance(step(claim, 10)))
	const refused = "group orders-sink must not be rewound: table audit has no guard"
	r.exec(`update oncesink.offsets set halted = $1`, "truncated: orders/0: the position 10 "+offsets.PastEnd(7)+" the log was truncated")
	rows, err := p.Rows(t.Context())
	r.must(err)
	if row := rows[0]; !row.TruncatedTo(7) || row.TruncatedTo(6) || row.TruncatedTo(77) {
		t.Errorf("it says %q", row.Halted)
	}
	r.refuses(`rewind('orders-sink', 'orders', 0, 6)`, "55000", refused, "")
	r.exec(`select oncesink.rewind($1, 'orders', 0, 7)`, group)
	r.stands(7, 1)
	p.claim(1) // which forgets the halt
	r.refuses(`rewind('orders-sink', 'orders', 0, 7)`, "55000", refused, "")
}

// Rule 8: a command tells what it did, per partition.
func TestRule8CommandsTell(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(2)
	r.must(p.advance(step(c[0], 10), step(c[1], 20)))
	for _, s := range []struct{ sql, want string }{
		{`rewind('orders-sink', 'orders', null, 5)`, "orders/0: 10 -> 5; orders/1: 20 -> 5"},
		{`accept_gap('orders-sink', 'orders', 1, 8)`, "orders/1: skipped offsets 5 to 7, 3 in all: they are never applied"},
		{`pause('orders-sink', 'orders')`, "orders/0: paused at 5; orders/1: paused at 8"},
		{`resume('orders-sink', 'orders', 1)`, "orders/1: resumed at 8"},
	} {
		lines, err := r.says(`select * from oncesink.` + s.sql)
		r.must(err)
		if got := strings.Join(lines, "; "); got != s.want {
			t.Errorf("%s: %q, want %q", s.sql, got, s.want)
		}
	}
	got := value[string](r, `select string_agg(format('%s/%s %s %s', topic, partition, next_offset, paused), ', ') from oncesink.status`)
	if want := "orders/0 5 t, orders/1 8 f"; got != want {
		t.Errorf("status %q, want %q", got, want)
	}
}

// Rule 8: pause and resume go through the claim: the position stays, and a
// claim in between knows.
func TestRule8PauseAndResume(t *testing.T) {
	r := newRig(t)
	p := r.process()
	r.must(p.advance(step(p.claim(1)[0], 10)))
	for _, s := range []struct {
		call   string
		paused bool
	}{{"pause", true}, {"pause", true}, {"resume", false}, {"resume", false}} {
		r.exec(`select oncesink.`+s.call+`($1, 'orders')`, group)
		for _, who := range []*process{p, r.process()} {
			if c := who.claim(1)[0]; c.Paused != s.paused || c.Position.Next != 10 {
				t.Errorf("%s: claimed %+v", s.call, c)
			}
		}
	}
}

// Rules 4 and 8: a command waits for the transaction that the owner has open, and
// counts from where that one ends.
func TestRule8CommandsSeeTheLastCommit(t *testing.T) {
	for sql, want := range map[string]string{
		`select oncesink.rewind('orders-sink', 'orders', 0, 7)`:      "orders/0: 10 -> 7",
		`select oncesink.accept_gap('orders-sink', 'orders', 0, 15)`: "orders/0: skipped offsets 10 to 14, 5 in all: they are never applied",
		`select oncesink.pause('orders-sink', 'orders')`:             "orders/0: paused at 10",
	} {
		t.Run(sql, func(t *testing.T) {
			r := newRig(t)
			p := r.process()
			c := p.claim(1)[0]
			_, tx := p.holding(step(c, 10))
			conn := r.connect("psql")
			answered := make(chan string, 1)
			go func() {
				var got string
				if err := conn.QueryRow(context.Background(), sql).Scan(&got); err != nil {
					t.Error(err)
				}
				answered <- got
			}()
			r.untilWaiting(1)
			r.must(tx.Commit(t.Context()))
			if got := <-answered; got != want {
				t.Errorf("%q, want %q", got, want)
			}
		})
	}
}

// Rules 1 and 8: a command that can't have the row says who may hold it.
func TestRule8CommandsAreBounded(t *testing.T) {
	r := newRig(t)
	p := r.process()
	_, tx := p.holding(step(p.claim(1)[0], 10))
	r.refuses(`pause('orders-sink', 'orders')`, "55P03", "a row of group orders-sink, topic orders is locked by another session", "pg_stat_activity")
	r.must(tx.Commit(t.Context()))
}

// Rules 8 and 12: adopt counts the new topic from its beginning, a generation
// above all that were seen of the topic, in whichever group.
func TestRule8Adopt(t *testing.T) {
	r := newRig(t)
	p := r.process()
	old := p.claim(2)
	r.must(p.advance(step(old[0], 10), step(old[1], 20)))
	r.exec(`insert into oncesink.offsets (sink_group, topic, partition, next_offset, first_offset, topic_id) values ('other', 'orders', 0, 4, 0, $1)`, r.topicID.String())

	sources := map[int32]bool{old[0].Source: true, old[1].Source: true}
	for generation := int32(1); generation <= 2; generation++ {
		before := p.rows(2)
		r.topicID = offsets.NewToken()
		r.exec(`select oncesink.adopt($1, 'orders', $2)`, group, r.topicID.String())
		for i, row := range p.rows(2) {
			if row.Position.Next != 0 || row.TopicID != r.topicID || row.Generation != generation ||
				row.Fence == before[i].Fence || row.ClaimID != before[i].ClaimID {
				t.Errorf("adopted as %+v", row)
			}
		}
		r.fenced(p.advance(step(at(old[0], 0), 1)), old[0].Partition)
		for _, c := range p.claim(3) { // the third is new in this topic
			if c.Generation != generation || c.Source>>offsets.SourceBits != generation || sources[c.Source] {
				t.Errorf("claimed %+v, want generation %d and a source of its own", c, generation)
			}
			sources[c.Source] = true
			r.must(p.advance(step(c, 5)))
		}
		r.exec(`delete from oncesink.offsets where partition = 2`)
	}
	if got := value[int64](r, `select next_offset from oncesink.offsets where sink_group = 'other'`); got != 4 {
		t.Errorf("the other group stands at %d, want 4", got)
	}
	// The same topic has the same generation in every group.
	r.exec(`select oncesink.adopt('other', 'orders', $1)`, r.topicID.String())
	if got := value[int32](r, `select generation from oncesink.offsets where sink_group = 'other'`); got != 2 {
		t.Errorf("the other group has generation %d, want 2", got)
	}
}

// Rules 8 and 12: a generation is never used again, not for a topic that nobody
// had claimed, and not where the brokers' older topic comes back.
func TestRule8AdoptAlwaysRaises(t *testing.T) {
	r := newRig(t)
	p := r.process()
	older, newer := r.topicID, offsets.NewToken()
	r.must(p.Begin(t.Context(), []offsets.First{{Partition: partitions(1)[0], TopicID: older, Offset: 3}}))
	for i, id := range []offsets.Token{newer, older, newer} {
		r.exec(`select oncesink.adopt($1, 'orders', $2)`, group, id.String())
		want := int32(i + 1)
		if row := p.rows(1)[0]; row.Generation != want || row.Position.Next != 0 || row.TopicID != id {
			t.Errorf("adopted as %+v, want generation %d", row, want)
		}
		r.topicID = id
		if c := p.claim(1)[0]; c.Source>>offsets.SourceBits != want {
			t.Errorf("claimed %+v, want generation %d", c, want)
		}
	}
}
