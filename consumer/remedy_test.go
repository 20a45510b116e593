package consumer

import (
	"regexp"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// The group's name needs quoting wherever a remedy names it.
const quoted = `it's "our" group`

// remedy is the one statement in a text, as an operator would copy it.
var remedy = regexp.MustCompile(`select oncesink\..*\)`)

func (r *rig) follow(text string) {
	r.t.Helper()
	statement := remedy.FindString(text)
	if statement == "" {
		r.t.Fatalf("no statement in %q", text)
	}
	if _, err := r.pool.Exec(r.t.Context(), statement); err != nil {
		r.t.Fatalf("%s: %v", statement, err)
	}
}

// Rule 8: what a message tells an operator to run, runs as it stands, and mends what the message
// is about, without a restart.
func TestRemediesWorkAsPrinted(t *testing.T) {
	t.Parallel()
	quotedGroup := func(c *Config, _ *sink.Config) { c.Group = quoted }
	recreate := func(r *rig) {
		_, _ = r.admin.DeleteTopic(r.t.Context(), r.topic) // it may be gone already
		eventually(r.t, "the topic is created again", func() bool {
			resp, err := r.admin.CreateTopic(r.t.Context(), 1, 1, nil, r.topic)
			return err == nil && resp.Err == nil
		})
		r.client.PurgeTopicsFromClient(r.topic)
		r.produce(0, 1000, 10)
	}
	for _, test := range []struct {
		name    string
		running bool       // the fault comes while the process runs
		fault   func(*rig) // after ten events were applied
		says    string
		rows    int64 // in the target at the end
	}{
		{"gap", false, func(r *rig) {
			r.produce(0, 10, 30)
			r.deleteRecords(0, 25)
		}, "offsets 10 to 24 are missing", 25},
		{"truncated", false, func(r *rig) {
			r.exec(`update oncesink.offsets set next_offset = 1000, leader_epoch = -1`)
			r.produce(0, 10, 5)
		}, "lies past the log's end 15", 15 - 5},
		{"recreated", false, recreate, "was recreated", 20},
		{"recreated under a running process", true, recreate, "was recreated", 20},
		{"deleted, and created later, under a running process", true, func(r *rig) {
			_, err := r.admin.DeleteTopic(r.t.Context(), r.topic)
			r.must(err)
			eventually(r.t, "the partition halts", func() bool {
				return r.queryInt(`select count(*) from oncesink.status where halted ~ 'the topic is gone'`) == 1
			})
			recreate(r)
		}, "`oncesink check`", 20},
		{"another cluster", false, func(r *rig) {
			r.exec(`update oncesink.offsets set cluster_id = 'other', topic_id = gen_random_uuid()`)
			r.produce(0, 10, 5)
		}, "the brokers are cluster", 15},
		{"another cluster, never claimed", false, func(r *rig) {
			r.exec(`update oncesink.offsets set cluster_id = 'other', topic_id = gen_random_uuid(), claim = null, owner = null, instance = null`)
			r.produce(0, 10, 5)
		}, "the brokers are cluster", 15},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
			r.produce(0, 0, 10)
			p := r.start(quotedGroup)
			r.waitApplied(10)
			if !test.running {
				r.must(p.end(t))
			}
			test.fault(r)
			if !test.running {
				r.start(quotedGroup)
			}
			var why string
			eventually(t, "the status shows the halt", func() bool {
				r.must(r.pool.QueryRow(t.Context(), `select coalesce(halted, '') from oncesink.status where sink_group = $1`, quoted).Scan(&why))
				return why != ""
			})
			if !strings.Contains(why, test.says) && !(test.running && strings.Contains(why, "`oncesink check`")) {
				t.Errorf("halted: %s\nwant %q", why, test.says)
			}
			if strings.Contains(why, "the topic is gone") { // it was noticed before the new one was there
				why = r.look(func(c *Config, _ *offsets.Options) { c.Group = quoted }).Halted[0].Error()
			}
			r.follow(why)
			if test.name == "truncated" {
				r.produce(0, 2000, 5) // behind the end that the message named
				test.rows += 5
			}
			eventually(t, "the remedy works", func() bool {
				return r.queryInt(`select count(*) from events`) == test.rows && r.queryInt(`select count(*) from oncesink.status where halted is null`) == 1
			})
		})
	}
}

// Rule 8: so does what is printed of a paused partition, by a run that ends and by a look before one.
func TestResumeAsPrinted(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.produce(0, 0, 10)
	untilEnd := func(c *Config, _ *sink.Config) { c.Group, c.UntilEnd = quoted, true }
	r.must(r.start(untilEnd).wait(t))
	r.produce(0, 10, 10)
	pause := func() { r.exec(`select oncesink.pause($1, $2)`, quoted, r.topic) }
	paused := func() int64 { return r.queryInt(`select count(*) from oncesink.offsets where paused`) }
	pause()
	err := r.start(untilEnd).wait(t)
	if err == nil || paused() != 1 {
		t.Fatalf("ended with %v", err)
	}
	r.follow(err.Error())
	if paused() != 0 {
		t.Fatalf("still paused after what this says: %v", err)
	}
	pause()
	o := r.look(func(c *Config, _ *offsets.Options) { c.Group = quoted })
	r.follow(strings.Join(o.Warnings, "\n"))
	if paused() != 0 {
		t.Fatalf("still paused after what this says: %v", o.Warnings)
	}
	r.must(r.start(untilEnd).wait(t))
	if got := r.queryInt(`select count(*) from applied where n = 1`); got != 20 {
		t.Errorf("%d events applied once, want 20", got)
	}
}

// What a message prints is what its function takes.
func TestCommandQuotes(t *testing.T) {
	for want, got := range map[string]string{
		`select oncesink.accept_gap('it''s "our" group', 'a''b', 3, 25)`:           offsets.Command("accept_gap", quoted, "a'b", int32(3), int64(25)),
		`select oncesink.pause('g', 't')`:                                          offsets.Command("pause", "g", "t"),
		`select oncesink.adopt('g', 't', '` + offsets.Token{15: 1}.String() + `')`: offsets.Command("adopt", "g", "t", offsets.Token{15: 1}),
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
