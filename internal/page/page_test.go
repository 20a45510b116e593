package page_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/page"
	"github.com/oncesink/oncesink/internal/testpage"
	"github.com/oncesink/oncesink/internal/testpg"
)

func TestMain(m *testing.M) { os.Exit(testpg.Main(m)) }

// ask sends a request, with a header perhaps, and returns the answer's code and body.
func ask(t *testing.T, client *http.Client, method, at string, form url.Values, header ...string) (int, string, http.Header) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, at, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(body), answer.Header
}

func wants(t *testing.T, body string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(body, text) {
			t.Errorf("it lacks %q:\n%s", text, body)
		}
	}
}

func lacks(t *testing.T, body string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if strings.Contains(body, text) {
			t.Errorf("it has %q", text)
		}
	}
}

// The page names what needs somebody, with the ways out, partitions of all processes, and dead letters without anything of their records.
func TestShows(t *testing.T) {
	t.Parallel()
	s := testpage.New(t, page.Config{Configuration: "kafka:\n  group: orders-sink\n", Checks: func() []page.Check { return []page.Check{{Name: "kafka", Says: "no answer yet"}} }}, 6, "")
	code, body, header := ask(t, http.DefaultClient, "GET", s.URL, nil)
	if code != 200 {
		t.Fatalf("%d: %s", code, body)
	}
	wants(t, body, "orders/2 has halted", "removed them before they were read. If they can be done without:</p>", "<code>oncesink accept-gap orders/2 --to 120503</code>",
		"<code>select oncesink.accept_gap(&#39;orders-sink&#39;, &#39;orders&#39;, 2, 120503)</code>", "docs/runbook.md#gap", "No process reads payments/2–3", "Not ready: kafka",
		"this process", "sink-1, pid 7", "22P02", "orders/0@100", "public.orders.amount", "orders/0–5</b> claimed", "group: orders-sink",
		"copy where keys are new, upsert where they exist", "public.refunds", "upsert only: it has a row-level trigger", "public.orders_by_day", "3 d ago",
		"1 finding of check", "name a version [key-order]")
	lacks(t, body, "hidden-", "hidden&#34;", "<form", "style=")
	for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-store"} {
		if header.Get(name) != want {
			t.Errorf("%s: %q", name, header.Get(name))
		}
	}
	wants(t, header.Get("Content-Security-Policy"), "default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'")
	lacks(t, header.Get("Content-Security-Policy"), "unsafe")

	for _, link := range []string{"assets/page.css", "assets/page.js", "assets/icon.svg"} {
		if code, _, _ := ask(t, http.DefaultClient, "GET", s.URL+link, nil); code != 200 {
			t.Errorf("%s: %d", link, code)
		}
	}
	_, body, _ = ask(t, http.DefaultClient, "GET", s.URL+"letters?topic=orders&code=22P02&table=public.orders", nil)
	wants(t, body, "orders/0@100", "oncesink dead-letters list --topic orders --code 22P02 --table public.orders", "9 of 9")
	lacks(t, body, "hidden-", "hidden&#34;", "<form")
	if code, body, _ := ask(t, http.DefaultClient, "POST", s.URL+"actions/pause", url.Values{"topic": {"orders"}}); code != 404 {
		t.Errorf("an action without being allowed: %d %s", code, body)
	}
}

// A section is JSON, too, sorted and whole.
func TestJSON(t *testing.T) {
	t.Parallel()
	s := testpage.New(t, page.Config{}, 60, "")
	var v struct {
		Group      string
		Partitions []struct {
			Topic, State, Owner, Reason string
			Partition                   int32
			Lag                         *int64
			Here                        bool
		}
		Needs []struct{ Level, Title string }
	}
	_, body, _ := ask(t, http.DefaultClient, "GET", s.URL+"?format=json&section=partitions&sort=lag&order=desc", nil)
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatal(err)
	}
	p := v.Partitions
	if len(p) != 64 || p[0].Partition != 2 || *p[0].Lag != 3210 || p[0].Reason != "gap" || *p[1].Lag != 999 || p[63].Lag != nil || p[63].Here || v.Needs != nil {
		t.Errorf("%+v", v)
	}
	if code, _, _ := ask(t, http.DefaultClient, "GET", s.URL+"?format=json&section=nothing", nil); code != 404 {
		t.Errorf("an unknown section: %d", code)
	}
	_, body, _ = ask(t, http.DefaultClient, "GET", s.URL, nil)
	wants(t, body, `id="f-orders"`, "60 partitions", "59 running")
	lacks(t, body, `id="p-orders/1"`)
	_, body, _ = ask(t, http.DefaultClient, "GET", s.URL+"?topic=orders&sort=lag&order=desc", nil)
	wants(t, body, `id="p-orders/1"`, `aria-sort="descending"`)
	if first, second := strings.Index(body, `id="p-orders/2"`), strings.Index(body, `id="p-orders/27"`); first < 0 || second < first {
		t.Errorf("not sorted by lag: %d, %d", first, second)
	}
}

// What changes is sent while somebody listens, that alone, and Close ends it.
func TestStream(t *testing.T) {
	t.Parallel()
	s := testpage.New(t, page.Config{}, 3, "")
	answer, err := http.Get(s.URL + "events")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	next := func() map[string]string {
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				var changed map[string]string
				if err := json.Unmarshal([]byte(data), &changed); err != nil {
					t.Fatal(err)
				}
				return changed
			}
		}
		t.Fatal("the stream ended")
		return nil
	}
	if first := next(); len(first) != 6 {
		t.Errorf("first come %d sections", len(first))
	}
	s.Set(1, func(p *consumer.PartitionStatus) {
		p.State = consumer.Halted
		p.Err = io.ErrUnexpectedEOF
		p.Reason = consumer.ReasonError
	})
	for {
		changed := next()
		if changed["events"] != "" {
			t.Error("what did not change is sent again")
		}
		if strings.Contains(changed["needs"], "orders/1 has halted") {
			break
		}
	}
	s.Page.Close()
	for lines.Scan() {
	}
	if lines.Err() != nil {
		t.Error(lines.Err())
	}
}

// Actions do what the commands do, are logged with who asked, and are not to be had from another site, or by GET.
func TestActions(t *testing.T) {
	t.Parallel()
	var log testpage.Log
	s := testpage.New(t, page.Config{Actions: true, Payloads: true, Logger: log.Logger()}, 3, "sesame")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	if code, body, _ := ask(t, client, "GET", s.URL, nil, "Accept", "text/html"); code != 401 || !strings.Contains(body, `action="login"`) {
		t.Fatalf("a browser is asked for the token: %d %s", code, body)
	}
	if code, _, _ := ask(t, client, "POST", s.URL+"login", url.Values{"token": {"other"}}); code != 401 {
		t.Fatalf("the wrong token: %d", code)
	}
	if code, body, _ := ask(t, client, "POST", s.URL+"login", url.Values{"token": {"sesame"}, "name": {"ada\n"}}); code != 200 || !strings.Contains(body, "orders/2 has halted") {
		t.Fatalf("the token: %d %s", code, body)
	}
	pause := url.Values{"topic": {"orders"}, "partition": {"1"}}
	if code, _, _ := ask(t, client, "POST", s.URL+"actions/pause", pause, "Origin", "https://evil.example"); code != 403 {
		t.Errorf("from another site: %d", code)
	}
	if code, _, _ := ask(t, http.DefaultClient, "POST", s.URL+"actions/pause", pause); code != 401 {
		t.Errorf("without the token: %d", code)
	}
	if code, _, _ := ask(t, client, "GET", s.URL+"actions/pause?topic=orders&partition=1", nil); code != 405 {
		t.Errorf("by GET: %d", code)
	}
	const paused = `select coalesce(string_agg(topic || partition, ' ' order by topic, partition), '') from oncesink.offsets where paused`
	if got := s.One(paused); got != "" {
		t.Fatalf("paused: %s", got)
	}
	code, body, _ := ask(t, client, "POST", s.URL+"actions/pause", pause)
	if got := s.One(paused); code != 200 || got != "orders1" {
		t.Fatalf("%d, paused: %q", code, got)
	}
	wants(t, body, "Done: paused orders/1 at 120,001, by ada at 127.0.0.1")
	wants(t, log.String(), "action=pause", "topic=orders", "partition=1", `by="ada at 127.0.0.1"`)
	ask(t, client, "POST", s.URL+"actions/resume", url.Values{"topic": {"orders"}})
	if got := s.One(paused); got != "" {
		t.Errorf("after resume there is paused: %s", got)
	}
	for _, form := range []url.Values{{"topic": {"none"}}, {"topic": {"orders"}, "partition": {"77"}}} {
		if code, body, _ := ask(t, client, "POST", s.URL+"actions/pause", form); code != 409 || !strings.Contains(body, `href="../assets/page.css"`) {
			t.Errorf("%v: %d %s", form, code, body)
		}
	}
	for _, form := range []url.Values{{}, {"topic": {"orders"}, "partition": {"x"}}} {
		if code, _, _ := ask(t, client, "POST", s.URL+"actions/pause", form); code != 400 {
			t.Errorf("%v: %d", form, code)
		}
	}
	_, body, _ = ask(t, client, "GET", s.URL+"letters?topic=orders&code=23514", nil)
	wants(t, body, "Retry all 3", "hidden-9")
	const letters = `select string_agg(n, ' ' order by n) from (select code || ' ' || status || ' ' || count(*) as n from oncesink.dead_letters group by code, status) x`
	ask(t, client, "POST", s.URL+"actions/discard", url.Values{"topic": {"orders"}, "code": {"23514"}})
	ask(t, client, "POST", s.URL+"actions/retry", url.Values{"topic": {"orders"}, "code": {"22P02"}, "table": {"public.orders"}})
	if got := s.One(letters); got != "22P02 retry 9 23514 discarded 3" {
		t.Errorf("letters: %s", got)
	}
	if code, _, _ := ask(t, client, "POST", s.URL+"actions/retry", url.Values{}); code != 400 {
		t.Errorf("all letters of the group: %d", code)
	}
}

// A cookie that somebody made up, changed or kept from another token is none.
func TestCookie(t *testing.T) {
	t.Parallel()
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	h := page.Login("sesame", ok)
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/login", strings.NewReader("token=sesame&name=ada"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	h.ServeHTTP(w, r)
	cookies := w.Result().Cookies()
	if len(cookies) != 1 || !cookies[0].HttpOnly || cookies[0].SameSite != http.SameSiteStrictMode {
		t.Fatalf("cookies %+v", cookies)
	}
	good := cookies[0].Value
	text, mac, _ := strings.Cut(good, ".")
	later := base64.RawURLEncoding.EncodeToString([]byte("99999999999 ada"))
	for value, want := range map[string]int{good: 204, text: 401, later + "." + mac: 401, later + ".": 401, "": 401, "." + mac: 401} {
		for token, want := range map[string]int{"sesame": want, "poppy": 401} {
			w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)
			r.AddCookie(&http.Cookie{Name: cookies[0].Name, Value: value})
			page.Login(token, ok).ServeHTTP(w, r)
			if w.Code != want {
				t.Errorf("%q of sesame for %s: %d, want %d", value, token, w.Code, want)
			}
		}
	}
}
