package orders

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"
)

func TestSameSeedSameEvents(t *testing.T) {
	a, b, other := New(7), New(7), New(8)
	differ := 0
	for i := range 5_000 {
		x, y, z := a.Next(), b.Next(), other.Next()
		if x.Kind != y.Kind || !bytes.Equal(x.Key, y.Key) || !bytes.Equal(x.Value, y.Value) {
			t.Fatalf("event %d: %s %s, then %s %s", i, x.Key, x.Value, y.Key, y.Value)
		}
		if !bytes.Equal(x.Value, z.Value) {
			differ++
		}
	}
	if differ == 0 {
		t.Error("another seed makes the same events")
	}
}

// What the demo promises to send is there, and is what its name says: judged by
// the versions on the wire, not by what the generator believes.
func TestEveryKindIsWhatItSays(t *testing.T) {
	const n = 20_000
	type known struct {
		newest  time.Time // version
		value   []byte    // of the newest version
		deleted bool
	}
	seen := map[string]*known{}
	counts := map[Kind]int{}
	lateAfterCancel := 0
	g := New(1)
	for i := range n {
		e := g.Next()
		counts[e.Kind]++
		k := seen[string(e.Key)]
		if (k == nil) != (e.Kind == Placed) {
			t.Fatalf("event %d: order %s is %s, known before: %v", i, e.Key, e.Kind, k != nil)
		}
		if (e.Value == nil) != (e.Kind == Cancelled) {
			t.Fatalf("event %d: %s with the value %q", i, e.Kind, e.Value)
		}
		if e.Kind == Cancelled {
			if k.deleted {
				t.Errorf("event %d: order %s is cancelled twice", i, e.Key)
			}
			k.deleted = true
			continue
		}
		o := decode(t, e)
		if k == nil {
			k = &known{}
			seen[string(e.Key)] = k
		}
		switch e.Kind {
		case Placed, Updated, Reordered:
			if !o.UpdatedAt.After(k.newest) || k.deleted != (e.Kind == Reordered) {
				t.Errorf("event %d: %s at %v after %v, deleted: %v", i, e.Kind, o.UpdatedAt, k.newest, k.deleted)
			}
			k.newest, k.value, k.deleted = o.UpdatedAt, e.Value, false
		case Repeated:
			if !bytes.Equal(e.Value, k.value) || k.deleted {
				t.Errorf("event %d: %s is not a repetition of the newest event of order %s", i, e.Value, e.Key)
			}
		case Late:
			if !o.UpdatedAt.Before(k.newest) {
				t.Errorf("event %d: the late version %v of order %s is not older than %v", i, o.UpdatedAt, e.Key, k.newest)
			}
			if k.deleted {
				lateAfterCancel++
			}
		}
	}
	for k := Kind(0); k < kinds; k++ {
		t.Logf("%-10s %6d", k, counts[k])
		if counts[k] < n/100 {
			t.Errorf("%d of %d events are %s", counts[k], n, k)
		}
	}
	if lateAfterCancel == 0 {
		t.Error("no late event meets a tombstone: nothing would try to bring a cancelled order back")
	}
	if len(g.open) > maxOpen || len(g.cancelled) > maxCancelled || len(g.delayed) > 100 {
		t.Errorf("the generator remembers %d open, %d cancelled and %d delayed events", len(g.open), len(g.cancelled), len(g.delayed))
	}
}

// decode reads a value with every field known and the amount equal to its items'.
func decode(t *testing.T, e Event) Order {
	t.Helper()
	var o struct {
		Order
		Amount json.Number `json:"amount"`
		Items  []struct {
			SKU      string      `json:"sku"`
			Quantity int64       `json:"quantity"`
			Price    json.Number `json:"price"`
		} `json:"items"`
	}
	d := json.NewDecoder(bytes.NewReader(e.Value))
	d.DisallowUnknownFields()
	if err := d.Decode(&o); err != nil {
		t.Fatalf("%s: %v", e.Value, err)
	}
	var sum int64
	for _, i := range o.Items {
		sum += i.Quantity * cents(t, i.Price)
	}
	if got := cents(t, o.Amount); got != sum || sum == 0 {
		t.Errorf("%s: the amount is %d cents, its items' %d", e.Value, got, sum)
	}
	return o.Order
}

func cents(t *testing.T, n json.Number) (c int64) {
	t.Helper()
	digits := bytes.ReplaceAll([]byte(n), []byte("."), nil)
	if len(n) < 4 || n[len(n)-3] != '.' {
		t.Fatalf("the amount %s has no two decimals", n)
	}
	for _, d := range digits {
		c = c*10 + int64(d-'0')
	}
	return c
}

func BenchmarkNext(b *testing.B) {
	g := New(1)
	for b.Loop() {
		g.Next()
	}
}
