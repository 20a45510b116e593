package admin

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/sink"
)

// fake is a consumer that says what it is told to.
type fake struct {
	status []consumer.PartitionStatus
	health consumer.Health
}

func (f *fake) Status() []consumer.PartitionStatus { return f.status }
func (f *fake) Stats() sink.Stats                  { return sink.Stats{Records: 7} }
func (f *fake) Health() consumer.Health            { return f.health }

// get asks a handler, by an IP address unless the request is changed.
func get(h http.Handler, path string, change ...func(*http.Request)) (code int, body string) {
	r := httptest.NewRequest("GET", path, nil)
	r.Host = "10.0.0.7:9187"
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

// The probes go by the time since things were last seen to be well, and by nothing that once was.
func TestProbes(t *testing.T) {
	t.Parallel()
	now := time.Now()
	h := New(Config{Group: "g"})
	h.now = func() time.Time { return now }
	want := func(what string, live, ready int, failing ...string) {
		t.Helper()
		if code, body := get(h, "/livez"); code != live {
			t.Errorf("%s: /livez %d %q, want %d", what, code, body, live)
		}
		if code, _ := get(h, "/healthz"); code != live {
			t.Errorf("%s: /healthz %d, want %d", what, code, live)
		}
		code, body := get(h, "/readyz")
		if code != ready || strings.Count(body, "[-]") != len(failing) || h.Ready() != (ready == 200) {
			t.Errorf("%s: /readyz %d %q, want %d, failing %q", what, code, body, ready, failing)
		}
		for _, name := range failing {
			if !strings.Contains(body, "[-] "+name+": ") {
				t.Errorf("%s: /readyz says %q, want %s to fail", what, body, name)
			}
		}
	}
	after := func(d time.Duration) { now = now.Add(d) }
	want("starting", 200, 503, "started", "joined", "postgres", "kafka")
	after(time.Hour) // a start may take its time
	want("still starting", 200, 503, "started", "joined", "postgres", "kafka")

	f := &fake{}
	h.follow(f, nil)
	want("begun", 200, 503, "joined", "postgres", "kafka")
	after(61 * time.Second)
	want("begun, and never turned", 503, 503, "joined", "postgres", "kafka")

	well := func() { f.health.Polled, f.health.Watched, f.health.Postgres, f.health.Kafka = now, now, now, now }
	well()
	want("not joined yet", 200, 503, "joined")
	f.health.Joined = true
	want("well", 200, 200)
	after(29 * time.Second)
	want("nothing for 29 s", 200, 200)
	after(2 * time.Second)
	want("nothing for 31 s", 200, 503, "postgres", "kafka")
	f.health.Kafka = now
	want("the broker answers again", 200, 503, "postgres")
	f.health.Postgres = now
	want("the database answers again", 200, 200)
	after(30 * time.Second)
	f.health.Postgres, f.health.Kafka = now, now
	want("both loops stand for 61 s", 503, 200)
	f.health.Watched = now
	want("one loop stands for 61 s", 503, 200)
	well()
	f.status = []consumer.PartitionStatus{{Topic: "o", State: consumer.Halted, Err: errors.New("x")}}
	want("a partition that halted is for an alert", 200, 200)

	// Another consumer of the process follows: it was a member once.
	next := &fake{}
	h.follow(next, nil)
	want("the next one begins", 200, 503, "postgres", "kafka")
	f = next
	well()
	want("the next one is well", 200, 200)
	f.health.Draining = true
	want("its run was told to end", 200, 503, "draining")
	f.health.Draining = false
	h.Drain()
	after(time.Minute) // the loops have ended
	f.health.Postgres, f.health.Kafka = now, now
	want("the process was told to end", 200, 503, "draining")
	if _, body := get(h, "/readyz?verbose"); strings.Count(body, "[+]") != 4 || !strings.Contains(body, "[+] postgres: answered 0s ago; at most 30s\n") {
		t.Errorf("verbose: %s", body)
	}
}

// A page of the web, another site and whoever has no token are kept out; probes and metrics need no token.
func TestStrangers(t *testing.T) {
	t.Parallel()
	h := New(Config{Group: "g", Token: "sesame", Hosts: []string{"Sink.example"}, Page: true, Actions: true, Pprof: true})
	t.Cleanup(h.Close)
	host := func(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }
	header := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	post := func(r *http.Request) { r.Method = "POST" }
	bearer := header("Authorization", "Bearer sesame")
	basic := func(r *http.Request) { r.SetBasicAuth("anyone", "sesame") }
	for _, tt := range []struct {
		path   string
		change []func(*http.Request)
		want   int
	}{
		{"/livez", nil, 200},
		{"/livez", []func(*http.Request){host("localhost:9187")}, 200},
		{"/livez", []func(*http.Request){host("[::1]:9187")}, 200},
		{"/livez", []func(*http.Request){host("sink.example")}, 200},
		{"/livez", []func(*http.Request){host("evil.example")}, 403},
		{"/metrics", []func(*http.Request){host("evil.example:9187")}, 403},
		{"/metrics", nil, 200},
		{"/readyz", nil, 503},
		{"/status.json", nil, 401},
		{"/status.json", []func(*http.Request){header("Authorization", "Bearer other")}, 401},
		{"/status.json", []func(*http.Request){bearer}, 200},
		{"/status.json", []func(*http.Request){bearer, host("evil.example")}, 403},
		{"/debug/pprof/", nil, 401},
		{"/debug/pprof/", []func(*http.Request){basic}, 200},
		{"/debug/pprof/goroutine?debug=1", []func(*http.Request){basic}, 200},
		{"/debug/pprof/nothing", []func(*http.Request){basic}, 404},
		{"/", nil, 401},
		{"/", []func(*http.Request){basic}, 200},
		{"/actions/pause", []func(*http.Request){basic, post}, 503}, // there is no database yet
		{"/actions/pause", []func(*http.Request){post}, 401},
		{"/actions/pause", []func(*http.Request){basic, post, header("Sec-Fetch-Site", "cross-site")}, 403},
		{"/actions/pause", []func(*http.Request){basic, post, header("Origin", "https://evil.example")}, 403},
		{"/actions/pause", []func(*http.Request){basic}, 405},
		{"/metrics", []func(*http.Request){post, basic}, 404}, // to the page, which does not know it
	} {
		if code, body := get(h, tt.path, tt.change...); code != tt.want {
			t.Errorf("%s: %d %q, want %d", tt.path, code, body, tt.want)
		}
	}
	bare := New(Config{Group: "g"})
	for path, want := range map[string]int{"/": 200, "/other": 404, "/debug/pprof/": 404, "/status.json": 200} {
		if code, _ := get(bare, path); code != want {
			t.Errorf("%s: %d, want %d", path, code, want)
		}
	}
}

// The state is told as JSON, with null for what is not known.
func TestStatus(t *testing.T) {
	t.Parallel()
	h := New(Config{Group: "g", Version: "v1"})
	h.follow(&fake{status: []consumer.PartitionStatus{
		{Topic: "o", State: consumer.Running, Position: 3, Lag: 4, Behind: time.Second},
		{Topic: "o", Partition: 1, State: consumer.Halted, Reason: consumer.ReasonGap, Err: errors.New("gone"), Lag: -1, Behind: -1},
	}}, nil)
	code, body := get(h, "/status.json")
	var r statusReport
	if err := json.Unmarshal([]byte(body), &r); err != nil || code != 200 {
		t.Fatalf("%d %v:\n%s", code, err, body)
	}
	p := r.Partitions
	if r.Group != "g" || r.Ready || r.Records != 7 || len(r.Checks) != 7 || len(p) != 2 || *p[0].Lag != 4 || *p[0].LagSeconds != 1 || p[1].Lag != nil || p[1].LagSeconds != nil ||
		p[1].Reason != "gap" || p[1].Error != "gone" || p[1].Committed != nil {
		t.Errorf("told %s", body)
	}
	if code, body := get(h, "/metrics"); code != 200 || !strings.Contains(body, `oncesink_partition_halted{group="g",partition="1",reason="gap",topic="o"} 1`) || !strings.Contains(body, "go_goroutines") ||
		!strings.Contains(body, `oncesink_build_info{goversion="go`) || !strings.Contains(body, `oncesink_ready{group="g"} 0`) {
		t.Errorf("%d %s", code, body)
	}
}
