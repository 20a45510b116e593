package metrics

import (
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/oncesink/oncesink/sink"
)

// BenchmarkScrape is one scrape, by partitions of the process.
func BenchmarkScrape(b *testing.B) {
	for _, n := range []int{10, 1000} {
		b.Run(strconv.Itoa(n)+"_partitions", func(b *testing.B) {
			m := New(Options{Group: "orders-sink", Partitions: n})
			m.Follow(many(n), nil, nil)
			registry := prometheus.NewRegistry()
			registry.MustRegister(m)
			h := promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true})
			families, err := registry.Gather()
			if err != nil {
				b.Fatal(err)
			}
			series, bytes := 0, 0
			for _, f := range families {
				series += len(f.Metric)
			}
			for b.Loop() {
				w := httptest.NewRecorder()
				h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
				bytes = w.Body.Len()
			}
			b.ReportMetric(float64(series), "metrics")
			b.ReportMetric(float64(bytes), "bytes")
		})
	}
}

// BenchmarkTransaction is what a transaction of 16 partitions costs more.
func BenchmarkTransaction(b *testing.B) {
	m := New(Options{Group: "orders-sink"})
	t := &sink.Transaction{Outcome: sink.Committed, Began: time.Now(), Duration: time.Second, Records: 1000, Bytes: 100000}
	for i := range 16 {
		t.Parts = append(t.Parts, sink.TransactionPart{Topic: "orders", Partition: int32(i), Records: 60, First: time.Now()})
	}
	tell := m.Observer().Transaction
	for b.Loop() {
		tell(t)
	}
}
