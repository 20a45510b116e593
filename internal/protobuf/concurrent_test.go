package protobuf

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/oncesink/oncesink/internal/event"
)

// TestConcurrent: a plan reads and learns for any number of readers, each of which has its own values.
func TestConcurrent(t *testing.T) {
	p, err := New(Options{}).Plan([]string{"n", "entries.k.n", "", "entries"})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for reader := range 8 {
		wg.Go(func() {
			for n := range 300 {
				id := 1 + (reader+n)%5
				first := n%2 == 0
				doc := framed(id, "\x00", enc(1, n))
				want := fmt.Sprintf(`i%d - {"n":%d} -`, n, n)
				if !first {
					doc = framed(id, "\x02\x02", join(enc(4, n), enc(1, join(enc(1, "k"), enc(2, enc(1, n))))))
					want = fmt.Sprintf(`i%d n%d {"entries":{"k":{"n":%d}},"n":%d} {"k":{"n":%d}}`, n, n, n, n, n)
				}
				got, err := show(t, p, 4, doc, headers{})
				var unknown *event.UnknownSchema
				if errors.As(err, &unknown) {
					if err := p.Learn(unknown.Ref, event.Schema{Text: many}); err != nil {
						t.Error(err)
						return
					}
					got, err = show(t, p, 4, doc, headers{})
				}
				if err != nil || got != want {
					t.Errorf("got %s, %v, want %s", got, err, want)
					return
				}
			}
		})
	}
	wg.Wait()
}
