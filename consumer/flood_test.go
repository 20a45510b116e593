package consumer

import (
	"strings"
	"testing"

	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/sink"
)

// A topic that nothing can be written of halts with few letters, before the flood, and says what it looks like; the other partition goes on.
// Once the table is mended and the printed statement run, all is written.
func TestFloodHalts(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
	r.exec(`alter table events alter v type varchar(4)`)
	flood := testenv.Times(20_000, 1_000_000)
	for n := 0; n < flood; n += 20_000 {
		r.produceLong(0, n, 20_000)
	}
	r.produce(1, flood, 100)
	err := r.start(func(c *Config, _ *sink.Config) { c.UntilEnd = true }).wait(t)
	if err == nil || !strings.Contains(err.Error(), "too many dead letters") {
		t.Fatalf("ended with %v", err)
	}
	why := r.halted(0)
	for _, said := range []string{"at offset 0", "22001 in public.events, column v"} {
		if !strings.Contains(why, said) {
			t.Errorf("said %q, not %q", why, said)
		}
	}
	if n := r.letters("new"); n > 1000 {
		t.Errorf("%d letters", n)
	} else {
		t.Logf("%d letters of %d records", n, flood)
	}
	if got := r.position(1); got != 100 {
		t.Errorf("the other partition stands at %d", got)
	}

	p := r.start()
	r.halted(0)
	r.exec(`alter table events alter v type text`)
	_, statement, _ := strings.Cut(why, "and then: ")
	statement, _, _ = strings.Cut(statement, ", or `")
	r.exec(statement)
	r.waitApplied(int64(flood + 100))
	r.verify(map[int32]int64{0: int64(flood), 1: 100})
	if n := r.letters("new"); n != 0 {
		t.Errorf("%d letters are open", n)
	}
	r.must(p.end(t))
}
