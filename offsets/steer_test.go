package offsets_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/offsets"
)

func number(n int32) *int32 { return &n }

// Rule 8: orders do what their SQL functions do, in one transaction, and answer with the rows before and after; tried,
// they answer the same and change nothing.
func TestRule8Steer(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(2)
	r.must(p.advance(step(c[0], 10), step(c[1], 20)))
	other := offsets.NewToken()
	for _, x := range []struct {
		order offsets.Order
		does  func(offsets.Change) bool
		rows  int
	}{
		{offsets.Order{Action: offsets.Pause, Topic: "orders"}, func(c offsets.Change) bool { return !c.Before.Paused && c.After.Paused }, 2},
		{offsets.Order{Action: offsets.Resume, Topic: "orders"}, func(c offsets.Change) bool { return c.Before.Paused && !c.After.Paused }, 2},
		{offsets.Order{Action: offsets.RewindTo, Topic: "orders", Partition: number(1), To: 5}, func(c offsets.Change) bool {
			return c.Before.Position.Next == 20 && c.After.Position.Next == 5 && c.After.Partition.Partition == 1
		}, 1},
		{offsets.Order{Action: offsets.AcceptGap, Topic: "orders", Partition: number(0), To: 15}, func(c offsets.Change) bool {
			return c.Before.Position.Next == 10 && c.After.Position.Next == 15
		}, 1},
		{offsets.Order{Action: offsets.AcceptDeadLetters, Topic: "orders", Partition: number(0), To: 30}, func(c offsets.Change) bool {
			return c.After.Position.Next == 15
		}, 1},
	} {
		before := value[string](r, ledgerText)
		for _, try := range []bool{true, false} {
			done, err := p.Steer(t.Context(), try, x.order)
			r.must(err)
			if len(done) != x.rows {
				t.Fatalf("%s: %d rows, want %d", x.order.Action, len(done), x.rows)
			}
			for _, c := range done {
				if !x.does(c) || c.After.Fence == c.Before.Fence {
					t.Errorf("%s, tried %v: %+v", x.order.Action, try, c)
				}
			}
			if same := value[string](r, ledgerText) == before; same != try {
				t.Errorf("%s, tried %v: the ledger is the same: %v", x.order.Action, try, same)
			}
		}
	}
	before := value[string](r, `select last_value::text from oncesink.source_serial`)
	adopt := offsets.Order{Action: offsets.Adopt, Topic: "orders", TopicID: other}
	_, err := p.Steer(t.Context(), true, adopt)
	r.must(err)
	if after := value[string](r, `select last_value::text from oncesink.source_serial`); after != before {
		t.Errorf("a try took the sources %s to %s", before, after)
	}
	done, err := p.Steer(t.Context(), false, adopt)
	r.must(err)
	if len(done) != 2 || done[0].After.TopicID != other || done[0].After.Generation != 1 || done[0].After.Position.Next != 0 {
		t.Errorf("adopt: %+v", done)
	}
}

// What can't be meant changes nothing, and neither do the orders beside it.
func TestRule8SteerRefuses(t *testing.T) {
	r := newRig(t)
	p := r.process()
	c := p.claim(1)
	r.must(p.advance(step(c[0], 10)))
	before := value[string](r, ledgerText)
	for want, order := range map[string]offsets.Order{
		"group orders-sink has no topic order":                                         {Action: offsets.Pause, Topic: "order"},
		"group orders-sink has no partition orders/7":                                  {Action: offsets.Resume, Topic: "orders", Partition: number(7)},
		"stands at 10: a rewind never moves forward. To skip records":                  {Action: offsets.RewindTo, Topic: "orders", To: 11},
		"accept_gap needs a partition":                                                 {Action: offsets.AcceptGap, Topic: "orders", To: 11},
		"stands at 10: what lies below is read already":                                {Action: offsets.AcceptDeadLetters, Topic: "orders", Partition: number(0), To: 10},
		"adopt needs the id of the new topic":                                          {Action: offsets.Adopt, Topic: "orders"},
		"accept_gap only moves forward. To read records again: select oncesink.rewind": {Action: offsets.AcceptGap, Topic: "orders", Partition: number(0), To: 10},
	} {
		_, err := p.Steer(t.Context(), false, offsets.Order{Action: offsets.Pause, Topic: "orders"}, order)
		if refused := (*offsets.RefusedError)(nil); !errors.As(err, &refused) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	if after := value[string](r, ledgerText); after != before {
		t.Errorf("the ledger changed from\n%s\nto\n%s", before, after)
	}
	r.exec(`drop schema oncesink cascade`)
	if _, err := p.Steer(t.Context(), true, offsets.Order{Action: offsets.Pause, Topic: "orders"}); !errors.Is(err, offsets.ErrNoLedger) {
		t.Errorf("without a ledger: %v", err)
	}
}

// What a message prints of an action, both ways.
func TestRemedy(t *testing.T) {
	for want, got := range map[string]string{
		"select oncesink.resume('g', 't', 3), or `oncesink resume t/3`":                                                                            offsets.Remedy("resume", "g", "t", int32(3)),
		"select oncesink.accept_gap('g', 't', 3, 25), or `oncesink accept-gap t/3 --to 25`":                                                        offsets.Remedy("accept_gap", "g", "t", int32(3), int64(25)),
		"select oncesink.accept_dead_letters('g', 't', 0, 9), or `oncesink accept-dead-letters t/0 --below 9`":                                     offsets.Remedy("accept_dead_letters", "g", "t", int32(0), int64(9)),
		"select oncesink.adopt('g', 't', '01020304-0000-0000-0000-000000000000'), or `oncesink adopt t --id 01020304-0000-0000-0000-000000000000`": offsets.Remedy("adopt", "g", "t", offsets.Token{1, 2, 3, 4}),
	} {
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}
