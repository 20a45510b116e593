package registry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/sr"
	"github.com/twmb/franz-go/pkg/sr/srfake"

	"github.com/oncesink/oncesink/internal/event"
	"github.com/oncesink/oncesink/sink"
)

const (
	address  = `{"type":"record","name":"Address","namespace":"com.acme","fields":[{"name":"street","type":"string"}]}`
	customer = `{"type":"record","name":"Customer","namespace":"com.acme","fields":[{"name":"home","type":"Address"}]}`
	order    = `{"type":"record","name":"Order","namespace":"com.acme","fields":[{"name":"by","type":"Customer"},{"name":"to","type":"Address"}]}`
	secret   = "hunter2-hunter2"
)

// fake is a registry with a few schemas, of which one refers to two others.
func fake(t *testing.T, o ...srfake.Option) *srfake.Registry {
	g := srfake.New(o...)
	t.Cleanup(g.Close)
	g.SeedSchema("address", 1, 1, sr.Schema{Schema: address})
	g.SeedSchema("customer", 1, 2, sr.Schema{Schema: customer, References: []sr.SchemaReference{{Name: "com.acme.Address", Subject: "address", Version: 1}}})
	g.SeedSchema("orders-value", 1, 7, sr.Schema{Schema: order, References: []sr.SchemaReference{
		{Name: "com.acme.Customer", Subject: "customer", Version: 1}, {Name: "com.acme.Address", Subject: "address", Version: 1},
	}})
	g.SeedSchema("proto-value", 1, 8, sr.Schema{Schema: `syntax = "proto3";`, Type: sr.TypeProtobuf})
	return g
}

func id(n int) event.SchemaRef { return event.SchemaRef{Space: "id", ID: fmt.Sprint(n)} }

func open(t *testing.T, cfg Config) *Registry {
	t.Helper()
	r, err := New(cfg, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// failing is a server that answers all alike.
func failing(t *testing.T, status int, body string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return s.URL
}

// TestSchema: by id and by GUID, with all that it refers to; once it is known nobody is asked.
func TestSchema(t *testing.T) {
	g := fake(t)
	var asked atomic.Int32
	g.Intercept(func(http.ResponseWriter, *http.Request) bool { asked.Add(1); return false })
	r := open(t, Config{URLs: []string{g.URL()}})
	a := event.Schema{Type: "AVRO", Text: address}
	want := event.Schema{Type: "AVRO", Text: order, References: []event.Reference{
		{Name: "com.acme.Customer", Schema: event.Schema{Type: "AVRO", Text: customer, References: []event.Reference{{Name: "com.acme.Address", Schema: a}}}},
		{Name: "com.acme.Address", Schema: a},
	}}
	for range 2 {
		got, err := r.Schema(t.Context(), id(7))
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
	}
	if n := asked.Load(); n != 3 { // each of the three once
		t.Errorf("asked %d times, want 3", n)
	}
	if got, err := r.Schema(t.Context(), id(8)); err != nil || got.Type != "PROTOBUF" {
		t.Errorf("got %v, %v", got, err)
	}
	stored, _ := g.GetSchema("address", 1)
	if got, err := r.Schema(t.Context(), event.SchemaRef{Space: "guid", ID: stored.GUID}); err != nil || got.Text != address {
		t.Errorf("by GUID %s: got %v, %v", stored.GUID, got, err)
	}
	if got, want := r.Subjects(t.Context(), id(7)), "orders-value, version 1"; got != want {
		t.Errorf("subjects %q, want %q", got, want)
	}
}

// TestFailures: what passes, what is a person's to mend, and what is said of it. Nothing has a secret.
func TestFailures(t *testing.T) {
	rules := func(kind, rule string) string {
		return `{"schema":"\"int\"","ruleSet":{"` + kind + `":[` + rule + `]}}`
	}
	const cut = "the schema registry's answer is cut off, too long, or none of a registry"
	for _, tt := range []struct {
		name   string
		status int
		body   string
		halts  bool
		want   string
	}{
		{"500", 500, `{"error_code":50001,"message":"the store\n is away"}`, false, "the schema registry answers 500: the store is away"},
		{"503", 503, "", false, "the schema registry answers 503"},
		{"408", 408, "", false, "the schema registry answers 408"},
		{"429", 429, `{"message":"` + strings.Repeat("x", 1000) + `"}`, false, "the schema registry answers 429: " + strings.Repeat("x", 200) + "…"},
		{"401", 401, "", false, "the schema registry does not know the credentials (401): correct them"},
		{"403", 403, "", false, "the schema registry does not let these credentials read schemas (403): have them"},
		{"another 404", 404, "<html>", false, "there is something at the schema registry's address that is none"},
		{"404", 404, `{"error_code":40403,"message":"Schema 7 not found"}`, false, "the schema registry does not know it (404): it is asked for 30s whether it does by then"},
		{"no JSON", 200, "<html>", false, cut},
		{"cut off", 200, `{"schema":"\"in`, false, cut},
		{"too long", 200, `{"schema":"` + strings.Repeat("x", maxAnswer) + `"}`, false, cut},
		{"another answer", 200, `{"hello":"world"}`, false, "the schema registry's answer has no schema in it"},
		{"encrypted", 200, rules("domainRules", `{"name":"pii","kind":"TRANSFORM","mode":"WRITEREAD","type":"ENCRYPT"}`), true, `its rule "pii" encrypts fields (ENCRYPT), which can't be read here`},
		{"encrypted as a whole", 200, rules("encodingRules", `{"name":"all","kind":"TRANSFORM","mode":"WRITEREAD","type":"ENCRYPT_PAYLOAD"}`), true, `its rule "all" encrypts fields (ENCRYPT_PAYLOAD)`},
		{"not encrypted", 200, rules("domainRules", `{"name":"pii","kind":"TRANSFORM","mode":"WRITEREAD","type":"ENCRYPT","disabled":true},{"name":"c","kind":"CONDITION","mode":"WRITE","type":"CEL"}`), false, ""},
	} {
		r := open(t, Config{URLs: []string{failing(t, tt.status, tt.body)}, Username: "sink", Password: secret})
		_, err := r.Schema(t.Context(), id(7))
		var halt *sink.HaltError
		if tt.want == "" && err == nil {
			continue
		}
		if err == nil || !strings.HasPrefix(strings.TrimPrefix(err.Error(), "halted: "), tt.want) || errors.As(err, &halt) != tt.halts {
			t.Errorf("%s: got %T %v, want %s", tt.name, err, err, tt.want)
		}
	}
	for name, ref := range map[string]event.SchemaRef{"globalId": {Space: "globalId", ID: "7"}, "contentId": {Space: "contentId", ID: "7"}} {
		var halt *sink.HaltError
		if _, err := open(t, Config{URLs: []string{fake(t).URL()}}).Schema(t.Context(), ref); !errors.As(err, &halt) || !strings.Contains(err.Error(), "by") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	// A reference that was deleted.
	g := srfake.New()
	t.Cleanup(g.Close)
	g.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/schemas/ids/7" {
			return false
		}
		return json.NewEncoder(w).Encode(sr.Schema{Schema: customer, References: []sr.SchemaReference{{Name: "com.acme.Address", Subject: "address", Version: 3}}}) == nil
	})
	var halt *sink.HaltError
	if _, err := open(t, Config{URLs: []string{g.URL()}}).Schema(t.Context(), id(7)); !errors.As(err, &halt) || !strings.HasPrefix(err.Error(), "halted: it refers to com.acme.Address, version 3 of subject address, which the registry does not have any more") {
		t.Errorf("a missing reference: got %v", err)
	}
	// References in a circle.
	g.ClearInterceptors()
	g.Intercept(func(w http.ResponseWriter, _ *http.Request) bool {
		return json.NewEncoder(w).Encode(sr.Schema{Schema: customer, References: []sr.SchemaReference{{Name: "a", Subject: "a", Version: 1}}}) == nil
	})
	if _, err := open(t, Config{URLs: []string{g.URL()}}).Schema(t.Context(), id(7)); !errors.As(err, &halt) || !strings.Contains(err.Error(), "in a circle") {
		t.Errorf("a circle: got %v", err)
	}
}

// TestServers: the next one is asked after any answer that is none, and one that answered comes first.
func TestServers(t *testing.T) {
	good := fake(t)
	dead := httptest.NewServer(nil)
	dead.Close()
	for name, bad := range map[string]string{"dead": dead.URL, "500": failing(t, 500, ""), "404 of a follower": failing(t, 404, `{"error_code":40403}`), "no registry": failing(t, 404, "")} {
		r := open(t, Config{URLs: []string{bad, good.URL()}})
		if got, err := r.Schema(t.Context(), id(7)); err != nil || got.Text != order {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
		if r.servers.last.Load() != 1 {
			t.Errorf("%s: the one that answered does not come first", name)
		}
		// That a schema is unknown all have to say.
		r.servers.last.Store(0)
		_, err := r.Schema(t.Context(), id(99))
		if unknown := strings.Contains(err.Error(), "does not know it (404)"); unknown != (name == "404 of a follower") {
			t.Errorf("%s: of an unknown one it says %v", name, err)
		}
	}
	// Nothing passes a server that hangs but its time, and a caller's.
	stop := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-stop:
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(func() { close(stop); hangs.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := open(t, Config{URLs: []string{hangs.URL}}).Schema(ctx, id(7)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// TestUnknown: a schema that the registry does not know is waited for, and then it is nobody's.
func TestUnknown(t *testing.T) {
	g := fake(t)
	r := open(t, Config{URLs: []string{g.URL()}, UnknownSchemaWait: time.Minute})
	now := time.Unix(0, 0)
	r.now = func() time.Time { return now }
	var no *event.NoSchema
	for range 3 {
		if _, err := r.Schema(t.Context(), id(9)); err == nil || errors.As(err, &no) {
			t.Fatalf("got %v", err)
		}
		now = now.Add(19 * time.Second)
	}
	now = now.Add(4 * time.Second)
	if _, err := r.Schema(t.Context(), id(9)); !errors.As(err, &no) || no.Ref != id(9) || err.Error() != "the schema registry does not know schema id 9, and was asked for it for 1m0s" {
		t.Fatalf("got %v", err)
	}
	g.SeedSchema("late", 1, 9, sr.Schema{Schema: `"int"`}) // better late than never
	if got, err := r.Schema(t.Context(), id(9)); err != nil || got.Text != `"int"` {
		t.Fatalf("got %v, %v", got, err)
	}
	if len(r.unknown) != 0 {
		t.Error("it is still taken for unknown")
	}
}

// TestOneFlight: however many ask for a schema, the registry is asked once; who gives up does not end it for the others; and
// other schemas don't wait.
func TestOneFlight(t *testing.T) {
	g := fake(t)
	var asked atomic.Int32
	entered, leave := make(chan struct{}), make(chan struct{})
	g.Intercept(func(_ http.ResponseWriter, req *http.Request) bool {
		if req.URL.Path == "/schemas/ids/1" {
			if asked.Add(1) == 1 {
				close(entered)
			}
			<-leave
		}
		return false
	})
	r := open(t, Config{URLs: []string{g.URL()}})
	ctx, cancel := context.WithCancel(t.Context())
	gone := make(chan error)
	go func() {
		_, err := r.Schema(ctx, id(1))
		gone <- err
	}()
	<-entered
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if got, err := r.Schema(t.Context(), id(1)); err != nil || got.Text != address {
				t.Errorf("got %v, %v", got, err)
			}
		})
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		r.mu.Lock()
		n := r.flights[id(1)].waiting
		r.mu.Unlock()
		if n == 21 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d wait", n)
		}
	}
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if _, err := r.Schema(t.Context(), id(8)); err != nil { // nobody waits for id 1 here
		t.Error(err)
	}
	close(leave)
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

// TestBounded: neither what is known nor what is unknown grows for ever.
func TestBounded(t *testing.T) {
	r := open(t, Config{URLs: []string{failing(t, 200, `{"schema":"\"int\""}`)}})
	for i := range maxCached + 10 {
		if _, err := r.Schema(t.Context(), id(i)); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.known) != maxCached || len(r.flights) != 0 {
		t.Errorf("%d schemas and %d flights", len(r.known), len(r.flights))
	}
}

// TestAuth: each way to be let in, and the words for those who are not.
func TestAuth(t *testing.T) {
	var tokens atomic.Int32
	wanted := "Bearer t1"
	oauth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, pass, _ := r.BasicAuth()
		if user != "client" || pass != "s%3Acret" || r.FormValue("grant_type") != "client_credentials" || r.FormValue("scope") != "read" {
			w.WriteHeader(401)
			return
		}
		_, _ = fmt.Fprintf(w, `{"access_token":"t%d","expires_in":3600}`, tokens.Add(1))
	}))
	t.Cleanup(oauth.Close)
	basic := fake(t, srfake.WithAuth("Basic c2luazpodW50ZXIyLWh1bnRlcjI="))
	bearer := fake(t, srfake.WithAuth("Bearer "+secret))
	both := fake(t)
	both.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == wanted {
			return false
		}
		w.WriteHeader(401)
		return true
	})
	o := &OAuth{TokenURL: oauth.URL, ClientID: "client", ClientSecret: "s:cret", Scope: "read"}
	for name, cfg := range map[string]Config{
		"basic":  {URLs: []string{basic.URL()}, Username: "sink", Password: secret},
		"bearer": {URLs: []string{bearer.URL()}, Token: secret},
		"oauth":  {URLs: []string{both.URL()}, OAuth: o},
	} {
		r := open(t, cfg)
		for _, n := range []int{1, 2} {
			if _, err := r.Schema(t.Context(), id(n)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := r.Check(t.Context()); err != nil && !strings.Contains(err.Error(), "404") { // the fake does not know the question
			t.Errorf("%s: check: %v", name, err)
		}
		if name == "oauth" {
			if n := tokens.Load(); n != 1 {
				t.Errorf("%d tokens, want one", n)
			}
			wanted = "Bearer t2" // the first one is revoked: the next question gets another one
			if _, err := r.Schema(t.Context(), id(7)); err == nil {
				t.Error("let in with a token that was revoked")
			}
			if _, err := r.Schema(t.Context(), id(7)); err != nil {
				t.Error(err)
			}
		}
	}
	for name, cfg := range map[string]Config{
		"basic":  {URLs: []string{basic.URL()}, Username: "sink", Password: secret + "x"},
		"none":   {URLs: []string{basic.URL()}},
		"bearer": {URLs: []string{bearer.URL()}, Token: secret + "x"},
	} {
		err := open(t, cfg).Check(t.Context())
		var config *sink.ConfigError
		if !errors.As(err, &config) || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "(40") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	o.ClientSecret = secret
	if _, err := open(t, Config{URLs: []string{both.URL()}, OAuth: o}).Schema(t.Context(), id(7)); err == nil || strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "token_url answers 401") {
		t.Errorf("a wrong client: got %v", err)
	}
}

// TestTLS: authorities that are named are trusted, no others are.
func TestTLS(t *testing.T) {
	g := httptest.NewTLSServer(fake(t).Handler())
	t.Cleanup(g.Close)
	conf := g.Client().Transport.(*http.Transport).TLSClientConfig
	if _, err := open(t, Config{URLs: []string{g.URL}, TLS: &tls.Config{RootCAs: conf.RootCAs, MinVersion: tls.VersionTLS12}}).Schema(t.Context(), id(7)); err != nil {
		t.Error(err)
	}
	if _, err := open(t, Config{URLs: []string{g.URL}}).Schema(t.Context(), id(7)); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
}

// TestContext: ids count in a context, however it is written.
func TestContext(t *testing.T) {
	for _, name := range []string{".prod", ":.prod:"} {
		var path string
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			path = r.URL.Path
			_, _ = w.Write([]byte(`{"schema":"\"int\""}`))
		}))
		t.Cleanup(s.Close)
		r := open(t, Config{URLs: []string{s.URL + "/base/"}, Context: name})
		if _, err := r.Schema(t.Context(), id(7)); err != nil || path != "/base/contexts/.prod/schemas/ids/7" {
			t.Errorf("%s: asked for %s, %v", name, path, err)
		}
		if got, want := r.servers.names[0], s.URL+"/base .prod"; got != want {
			t.Errorf("kept by %q, want %q", got, want)
		}
	}
}

// TestNewest: the last version of a subject, with all that it refers to, in the context.
func TestNewest(t *testing.T) {
	g := fake(t)
	r := open(t, Config{URLs: []string{g.URL()}})
	got, version, err := r.Newest(t.Context(), "orders-value")
	want, wantErr := r.Schema(t.Context(), id(7))
	if err != nil || wantErr != nil || version != 1 || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got version %d %v, %v, want %v, %v", version, got, err, want, wantErr)
	}
	g.SeedSchema("orders-value", 2, 9, sr.Schema{Schema: address})
	if got, version, err = r.Newest(t.Context(), "orders-value"); err != nil || version != 2 || got.Text != address {
		t.Errorf("got version %d %v, %v", version, got, err)
	}
	if _, _, err = r.Newest(t.Context(), "nobody-value"); !errors.Is(err, ErrNoSubject) {
		t.Errorf("got %v, want %v", err, ErrNoSubject)
	}
	if _, _, err = open(t, Config{URLs: []string{failing(t, 500, "")}}).Newest(t.Context(), "orders-value"); err == nil || errors.Is(err, ErrNoSubject) {
		t.Errorf("of a registry that fails: got %v", err)
	}
}

// TestConfig: what makes no registry, in words without what is written there.
func TestConfig(t *testing.T) {
	for _, cfg := range []Config{
		{}, {URLs: []string{"sr:8081"}}, {URLs: []string{"http://u:" + secret + "@sr"}}, {URLs: []string{"http://u:" + secret + "/@sr:x"}}, {URLs: []string{"https://"}},
		{URLs: []string{"http://sr"}, Token: secret, Username: "u"}, {URLs: []string{"http://sr"}, OAuth: &OAuth{TokenURL: "http://u:" + secret + "@auth"}},
	} {
		_, err := New(cfg, nil, nil)
		var config *sink.ConfigError
		if !errors.As(err, &config) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v", err)
		}
	}
}
