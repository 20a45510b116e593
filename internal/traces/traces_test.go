package traces

import (
	"compress/gzip"
	"errors"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/oncesink/oncesink/sink"
)

// collect is a collector for one test: it hands over the spans that it is sent.
func collect(t *testing.T) (address string, spans chan *tracepb.Span) {
	spans = make(chan *tracepb.Span, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(r.Body)
			if err != nil {
				t.Error(err)
				return
			}
			body = z
		}
		raw, err := io.ReadAll(body)
		var request collector.ExportTraceServiceRequest
		if err := errors.Join(err, proto.Unmarshal(raw, &request)); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					spans <- s
				}
			}
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, spans
}

// transaction is one of three records, of which two have a traceparent.
func transaction(outcome sink.Outcome, headers ...string) *sink.Transaction {
	return &sink.Transaction{
		Outcome: outcome, Began: time.Unix(1000, 0), Duration: 20 * time.Millisecond, Commit: 5 * time.Millisecond, Records: 3, Bytes: 90,
		Parts:  []sink.TransactionPart{{Topic: "orders", Partition: 1, Records: 2}, {Topic: "orders", Partition: 4, Records: 1}},
		Tables: []sink.TableStats{{Table: "public.orders", Copied: 3}},
		Header: func(name string) iter.Seq[[]byte] {
			return func(yield func([]byte) bool) {
				for _, h := range headers {
					if name == "traceparent" && !yield([]byte(h)) {
						return
					}
				}
			}
		},
	}
}

const (
	sampled   = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	unsampled = "00-1af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
)

// A transaction is one span, with a link to each sampled record, and COMMIT below it.
func TestSpans(t *testing.T) {
	address, spans := collect(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
	tracer, err := New(t.Context(), Options{Group: "shop", Version: "1.2.3", Failed: func(err error) { t.Error(err) }})
	if err != nil {
		t.Fatal(err)
	}
	done := transaction(sink.Committed, sampled, unsampled, "not a traceparent", sampled)
	tracer.Observer().Transaction(done)
	failed := transaction(sink.Retried)
	failed.Commit, failed.Tables, failed.SQLState, failed.Reason = 0, nil, "40P01", "deadlock detected"
	tracer.Observer().Transaction(failed)
	if err := tracer.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	byName := map[string][]*tracepb.Span{}
	for range 3 {
		s := <-spans
		byName[s.Name] = append(byName[s.Name], s)
	}
	commits := byName["oncesink commit"]
	if len(commits) != 2 || len(byName["COMMIT"]) != 1 {
		t.Fatalf("spans %v", byName)
	}
	s, c := commits[0], byName["COMMIT"][0]
	if len(s.Links) != 2 || s.Kind != tracepb.Span_SPAN_KIND_CONSUMER || s.EndTimeUnixNano-s.StartTimeUnixNano != 20e6 || s.StartTimeUnixNano != 1000e9 {
		t.Errorf("the span of a transaction: %v", s)
	}
	if string(c.ParentSpanId) != string(s.SpanId) || c.EndTimeUnixNano != s.EndTimeUnixNano || c.EndTimeUnixNano-c.StartTimeUnixNano != 5e6 {
		t.Errorf("the span of COMMIT: %v", c)
	}
	if len(done.TraceID) != 32 || len(s.Events) != 1 || s.Status.GetCode() != tracepb.Status_STATUS_CODE_UNSET {
		t.Errorf("trace %q, events %v, status %v", done.TraceID, s.Events, s.Status)
	}
	var names []string
	for _, a := range s.Attributes {
		names = append(names, a.Key)
	}
	for _, want := range []string{"messaging.batch.message_count", "messaging.consumer.group.name", "messaging.destination.name", "oncesink.outcome"} {
		if !slices.Contains(names, want) {
			t.Errorf("no attribute %s among %q", want, names)
		}
	}
	if s := commits[1]; s.Status.GetCode() != tracepb.Status_STATUS_CODE_ERROR || s.Status.Message != "deadlock detected" || len(s.Links) > 0 {
		t.Errorf("an attempt that came to nothing: %v", s)
	}
}

// Of many records with a trace a span has as many links as OpenTelemetry allows, and asks for no more.
func TestLinksAreBounded(t *testing.T) {
	asked := 0
	x := transaction(sink.Committed)
	x.Header = func(string) iter.Seq[[]byte] {
		return func(yield func([]byte) bool) {
			for range 10_000 {
				if asked++; !yield([]byte(sampled)) {
					return
				}
			}
		}
	}
	if got := len(links(x)); got != maxLinks || asked != maxLinks {
		t.Errorf("%d links of %d headers", got, asked)
	}
}

// Without an exporter nothing is made, and what can't be sent is told.
func TestOffAndAway(t *testing.T) {
	for _, env := range [][2]string{{"OTEL_SDK_DISABLED", "true"}, {"OTEL_TRACES_EXPORTER", "none"}, {"OTEL_EXPORTER_OTLP_ENDPOINT", ""}} {
		t.Run(env[0], func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
			t.Setenv(env[0], env[1])
			tracer, err := New(t.Context(), Options{})
			if tracer != nil || err != nil || tracer.Observer() != nil || tracer.Flush(t.Context()) != nil {
				t.Errorf("a tracer: %v, %v", tracer, err)
			}
		})
	}
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
	var told atomic.Value
	tracer, err := New(t.Context(), Options{Failed: func(err error) { told.Store(err.Error()) }})
	if err != nil {
		t.Fatal(err)
	}
	tracer.Observer().Transaction(transaction(sink.Committed))
	_ = tracer.Flush(t.Context()) // says the same
	if text, _ := told.Load().(string); !strings.Contains(text, "127.0.0.1:1") {
		t.Errorf("told %q", text)
	}
}

func BenchmarkSpan(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	b.Cleanup(server.Close)
	b.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	tracer, err := New(b.Context(), Options{Failed: func(err error) { b.Error(err) }})
	if err != nil {
		b.Fatal(err)
	}
	observer := tracer.Observer()
	x := transaction(sink.Committed, sampled, sampled, sampled)
	b.ReportAllocs()
	for b.Loop() {
		observer.Transaction(x)
	}
}
