package testenv

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// failing is a test that Fatalf ends.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.said = fmt.Sprintf(format, args...)
	panic(f)
}

// A condition is seen soon after it comes true, is asked for a bounded number of times, and once more at the end.
func TestEventually(t *testing.T) {
	for _, comes := range []time.Duration{0, 30 * time.Millisecond, time.Second, 30 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			began, asked := time.Now(), 0
			Eventually(t, time.Minute, "it comes", func() bool {
				asked++
				return time.Since(began) >= comes
			})
			if late := time.Since(began) - comes; late > max(soonest, min(comes/5, latest)) {
				t.Errorf("%v late after %v", late, comes)
			}
			if most := 60 + int(comes/latest); asked > most {
				t.Errorf("asked %d times in %v, at most %d", asked, comes, most)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		f := &failing{}
		began := time.Now()
		func() {
			defer func() { _ = recover() }()
			Eventually(f, 2*time.Second, "it comes", func() bool { return false })
		}()
		if want := "not within 2s: it comes"; f.said != want || time.Since(began) < 2*time.Second {
			t.Errorf("said %q after %v, want %q", f.said, time.Since(began), want)
		}
	})
}
