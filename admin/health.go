package admin

import (
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/oncesink/oncesink/consumer"
)

const (
	// turnWithin is how old the last turn of a loop may be that turns each second.
	turnWithin = 60 * time.Second
	// contactWithin is how old the last answer of a server may be that is asked every few seconds.
	contactWithin = 30 * time.Second
)

// check is one of the things that a probe looks at.
type check struct {
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Age in seconds of what is looked at, if it has one.
	Age *float64 `json:"age_seconds,omitempty"`
	// Says is what it looks like, for a person.
	Says string `json:"says"`
}

// state is what the handler knows at a moment.
type state struct {
	now      time.Time
	followed bool
	since    time.Time
	health   consumer.Health
	within   time.Duration // of contacts
	joined   bool
	draining bool
}

func (h *Handler) state() state {
	h.mu.Lock()
	defer h.mu.Unlock()
	s := state{now: h.now(), followed: h.consumer != nil, since: h.since, within: h.contactWithin}
	if s.followed {
		s.health = h.consumer.Health()
	}
	h.joined = h.joined || s.health.Joined
	s.joined, s.draining = h.joined, h.draining || s.health.Draining
	return s
}

// alive are the checks of /livez: whether the loops turn. It asks after no server: a restart mends none. A start may take its time, and
// so may an end, which is bounded by itself.
func (s *state) alive() []check {
	if !s.followed || s.draining {
		return nil
	}
	return []check{s.turned("poll", s.health.Polled), s.turned("watch", s.health.Watched)}
}

func (s *state) turned(name string, at time.Time) check {
	if at.Before(s.since) { // not yet: then since when it should
		at = s.since
	}
	age := s.now.Sub(at)
	return aged(name, age, turnWithin, "turned "+ago(age))
}

// ready are the checks of /readyz.
func (s *state) ready() []check {
	checks := []check{
		{Name: "started", OK: s.followed, Says: either(s.followed, "the start is done", "starting")},
		{Name: "joined", OK: s.joined, Says: either(s.joined, "a member of the group", "not taken as a member of the group yet")},
		s.contact("postgres", s.health.Postgres),
		s.contact("kafka", s.health.Kafka),
		{Name: "draining", OK: !s.draining, Says: either(!s.draining, "not told to end", "told to end")},
	}
	return checks
}

func (s *state) contact(name string, at time.Time) check {
	if at.IsZero() {
		return check{Name: name, Says: "no answer yet"}
	}
	age := s.now.Sub(at)
	return aged(name, age, s.within, "answered "+ago(age))
}

func aged(name string, age, within time.Duration, says string) check {
	seconds := max(0, age.Seconds())
	return check{Name: name, OK: age < within, Age: &seconds, Says: fmt.Sprintf("%s; at most %s", says, within)}
}

func ago(d time.Duration) string {
	return max(0, d).Round(100*time.Millisecond).String() + " ago"
}

func either(is bool, yes, no string) string {
	if is {
		return yes
	}
	return no
}

func allOK(checks []check) bool {
	for _, c := range checks {
		if !c.OK {
			return false
		}
	}
	return true
}

// Ready reports what /readyz does.
func (h *Handler) Ready() bool {
	s := h.state()
	return allOK(s.ready())
}

func (h *Handler) livez(w http.ResponseWriter, r *http.Request) {
	s := h.state()
	answer(w, r, s.alive())
}

func (h *Handler) readyz(w http.ResponseWriter, r *http.Request) {
	s := h.state()
	answer(w, r, s.ready())
}

// answer says ok, or which checks are not, each in a line; all of them with ?verbose.
func answer(w http.ResponseWriter, r *http.Request, checks []check) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	ok := allOK(checks)
	if !ok {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, verbose := r.URL.Query()["verbose"]
	for _, c := range checks {
		if verbose || !c.OK {
			fmt.Fprintf(w, "%s %s: %s\n", either(c.OK, "[+]", "[-]"), c.Name, c.Says)
		}
	}
	if ok {
		_, _ = io.WriteString(w, "ok\n") // who asked may be gone
	}
}
