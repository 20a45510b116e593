//go:build synctests

package consumer

import (
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/oncesink/oncesink/internal/testenv"
)

var (
	replayed   = flag.String("schedule", "", "a schedule that TestGroupOnVirtualTime has printed: play it, and print what the processes log")
	virtualGo  = flag.Int("schedules", 0, "how many schedules TestGroupOnVirtualTime plays of each protocol; 0: as many as make test does")
	virtualDie = flag.Uint64("schedule-seed", 0, "the first schedule's seed; 0: a random one")
)

// Processes of a group come, go, die and freeze, brokers and the database are slow, away, or lose their answers, operators move
// positions, and partitions are added: hours of it, on a clock that jumps to whatever is next. Whatever happens, each partition's records
// are written in order, each once, under the last fence; and minutes after the last happening each partition is read
// to its end, by one process, and nobody claims any more. What happens is drawn from a seed. A schedule that fails is made shorter for as long as it
// fails, and printed.
//
// The ledger and the sink are in memory here: that PostgreSQL keeps the fence, other tests show.
func TestGroupOnVirtualTime(t *testing.T) {
	if *replayed != "" {
		s, err := parseSchedule(*replayed)
		if err != nil {
			t.Fatal(err)
		}
		out := s.play(t)
		t.Logf("%s", out.logs)
		for _, b := range out.broken {
			t.Error(b)
		}
		return
	}
	first := *virtualDie
	if first == 0 {
		first = rand.Uint64()
	}
	count := *virtualGo
	if count == 0 {
		count = testenv.Times(1, 60)
	}
	for _, protocol := range []Protocol{Cooperative, Eager, KIP848} {
		t.Run(string(protocol), func(t *testing.T) {
			began := time.Now()
			var virtual time.Duration
			var commits int
			var fences int64
			for i := range count {
				s := draw(protocol, first+uint64(i))
				out := s.play(t)
				virtual, commits, fences = virtual+out.virtual, commits+out.commits, fences+out.fences
				if len(out.broken) > 0 {
					t.Logf("schedule %d of seed %d, after %v", i+1, first+uint64(i), time.Since(began).Round(time.Millisecond))
					short, why := s.shrink(t, out.broken)
					t.Fatalf("%q\nwith %d happenings of %d. To play it: go test -tags synctests ./consumer -run '^TestGroupOnVirtualTime$' -v -schedule '%v'", why, len(short.all), len(s.all), short)
				}
			}
			t.Logf("seed %d: %d schedules, %v of virtual time in %v: %d commits, %d claims and orders", first, count, virtual, time.Since(began).Round(time.Millisecond), commits, fences)
		})
	}
}

// shrink leaves happenings out for as long as it breaks something, and returns what is left with what it breaks. What goroutines do at one moment of virtual time, they
// do in any order: so a schedule that is not red is played once more.
func (s schedule) shrink(t *testing.T, why []string) (schedule, []string) {
	began := time.Now()
	red := func(s schedule) []string {
		for range 2 {
			if out := s.play(t); len(out.broken) > 0 {
				return out.broken
			}
		}
		return nil
	}
	for n := (len(s.all) + 1) / 2; n > 0; {
		left := false
		for from := 0; from < len(s.all) && time.Since(began) < time.Minute; {
			shorter := s
			shorter.all = slices.Concat(s.all[:from], s.all[min(from+n, len(s.all)):])
			if broken := red(shorter); broken != nil {
				s, why, left = shorter, broken, true
			} else {
				from += n
			}
		}
		if n == 1 && !left || time.Since(began) >= time.Minute {
			break
		}
		n = max(1, n/2)
	}
	return s, why
}

// A schedule that was printed is read as what it was.
func TestSchedulesAreReadAsPrinted(t *testing.T) {
	s := draw(Eager, 7)
	again, err := parseSchedule(s.String())
	if err != nil || again.protocol != s.protocol || again.seed != s.seed || !slices.Equal(again.all, s.all) {
		t.Errorf("%v\nis read as\n%v, %v", s, again, err)
	}
	if _, err := parseSchedule("eager 7; 1s dance 0"); err == nil {
		t.Error("nothing is wrong with a word that nobody knows")
	}
}
