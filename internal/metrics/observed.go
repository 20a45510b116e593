package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/oncesink/oncesink/sink"
)

// observed are the distributions of transactions.
type observed struct {
	duration, delay               *prometheus.HistogramVec
	byOutcome                     map[sink.Outcome]prometheus.Observer // of duration
	commit, records, bytes, parts prometheus.Histogram
}

// Buckets of the classic histograms; the native ones need none.
var (
	timeBuckets  = []float64{0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
	delayBuckets = []float64{0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600}
)

func newObserved(group string) *observed {
	vec := func(name string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(histogramOpts(group, name, buckets), labels)
	}
	one := func(name string, buckets []float64) prometheus.Histogram {
		return prometheus.NewHistogram(histogramOpts(group, name, buckets))
	}
	o := &observed{
		duration: vec("transaction_duration_seconds", timeBuckets, "outcome"), delay: vec("delivery_delay_seconds", delayBuckets, "topic"),
		commit: one("commit_duration_seconds", timeBuckets), records: one("transaction_records", prometheus.ExponentialBuckets(1, 4, 8)),
		bytes: one("transaction_bytes", prometheus.ExponentialBuckets(256, 4, 9)), parts: one("transaction_partitions", prometheus.ExponentialBuckets(1, 2, 9)),
		byOutcome: map[sink.Outcome]prometheus.Observer{},
	}
	for _, outcome := range sink.Outcomes() {
		o.byOutcome[outcome] = o.duration.WithLabelValues(string(outcome))
	}
	return o
}

// histogramOpts are those of a histogram that is both classic and native, as exporters of Kafka clients have them.
func histogramOpts(group, name string, buckets []float64) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{
		Name: Prefix + name, Help: helps()[name], ConstLabels: prometheus.Labels{"group": group}, Buckets: buckets,
		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 160, NativeHistogramMinResetDuration: time.Hour,
	}
}

func (m *Metrics) histogram(name string) prometheus.Histogram {
	return prometheus.NewHistogram(histogramOpts(m.o.Group, name, timeBuckets))
}

func (o *observed) all() []prometheus.Collector {
	return []prometheus.Collector{o.duration, o.delay, o.commit, o.records, o.bytes, o.parts}
}

// transaction is told of each transaction.
func (o *observed) transaction(t *sink.Transaction) {
	observe(o.byOutcome[t.Outcome], t.Duration.Seconds(), t.TraceID)
	if t.Outcome != sink.Committed {
		return
	}
	o.commit.Observe(t.Commit.Seconds())
	o.records.Observe(float64(t.Records))
	o.bytes.Observe(float64(t.Bytes))
	o.parts.Observe(float64(len(t.Parts)))
	if t.Again {
		return
	}
	end := t.Began.Add(t.Duration)
	for i := range t.Parts {
		p := &t.Parts[i]
		if p.Records > 0 && !p.First.IsZero() {
			observe(o.delay.WithLabelValues(p.Topic), max(0, end.Sub(p.First).Seconds()), t.TraceID)
		}
	}
}

// observe adds a value, with the trace that it is an example of, if there is one.
func observe(o prometheus.Observer, v float64, trace string) {
	if trace != "" {
		if x, ok := o.(prometheus.ExemplarObserver); ok {
			x.ObserveWithExemplar(v, prometheus.Labels{"trace_id": trace})
			return
		}
	}
	o.Observe(v)
}
