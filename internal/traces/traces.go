// Package traces tells OpenTelemetry of transactions: one span each, linked to the traces of the records that it wrote. Nothing is done
// unless an exporter is set, by the variables of the environment that OpenTelemetry has for that.
package traces

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/oncesink/oncesink/sink"
)

// maxLinks bounds the links of a span, as the specification of OpenTelemetry does.
const maxLinks = 128

// maxPlaces bounds how many partitions a span names.
const maxPlaces = 32

// Options say what spans have.
type Options struct {
	Group, Version string
	// Failed is told of spans that could not be sent, by goroutines of the exporter. It is not nil.
	Failed func(error)
}

// Tracer makes spans. It is safe for concurrent use. A nil Tracer makes none.
type Tracer struct {
	group    string
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
}

// Wanted reports whether the environment sets an exporter: OTEL_EXPORTER_OTLP_ENDPOINT or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, and not OTEL_SDK_DISABLED
// or OTEL_TRACES_EXPORTER=none.
func Wanted() bool {
	return (os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") != "") &&
		os.Getenv("OTEL_SDK_DISABLED") != "true" && os.Getenv("OTEL_TRACES_EXPORTER") != "none"
}

// New returns a tracer that sends spans by OTLP over HTTP, as the environment says; nil if it sets no exporter. It connects to nothing. What
// OpenTelemetry has to complain of in this process goes to o.Failed from then on, instead of to stderr: so it is for programs, not for libraries.
func New(ctx context.Context, o Options) (*Tracer, error) {
	if !Wanted() {
		return nil, nil
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return nil, fmt.Errorf("set up the export of traces: %w", err)
	}
	otel.SetErrorHandler(otel.ErrorHandlerFunc(o.Failed))
	// OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES count before these.
	r, err := resource.New(context.Background(), resource.WithAttributes(attribute.String("service.name", "oncesink"), attribute.String("service.version", o.Version)),
		resource.WithTelemetrySDK(), resource.WithHost(), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("set up the export of traces: %w", err)
	}
	p := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(r))
	return &Tracer{o.Group, p, p.Tracer("github.com/oncesink/oncesink", trace.WithInstrumentationVersion(o.Version))}, nil
}

// Observer makes a span of each transaction, and notes its trace in sink.Transaction.TraceID, for those that are told after it. Of a nil Tracer
// it is nil.
func (t *Tracer) Observer() *sink.Observer {
	if t == nil {
		return nil
	}
	return &sink.Observer{Transaction: t.transaction}
}

// transaction makes the span of what has just ended.
func (t *Tracer) transaction(x *sink.Transaction) {
	end := x.Began.Add(x.Duration)
	ctx, span := t.tracer.Start(context.Background(), "oncesink commit", trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(x.Began),
		trace.WithLinks(links(x)...))
	defer span.End(trace.WithTimestamp(end))
	if !span.IsRecording() {
		return
	}
	x.TraceID = span.SpanContext().TraceID().String()
	span.SetAttributes(t.attributes(x)...)
	for i := range x.Tables {
		span.AddEvent("written", trace.WithTimestamp(end), trace.WithAttributes(table(&x.Tables[i])...))
	}
	switch x.Outcome {
	case sink.Committed, sink.Cancelled:
	default:
		span.SetStatus(codes.Error, x.Reason)
	}
	if x.Commit > 0 {
		_, commit := t.tracer.Start(ctx, "COMMIT", trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(end.Add(-x.Commit)),
			trace.WithAttributes(attribute.String("db.system.name", "postgresql"), attribute.String("db.operation.name", "COMMIT")))
		commit.End(trace.WithTimestamp(end))
	}
}

// links are the traces of records that their producer sampled.
func links(x *sink.Transaction) (out []trace.Link) {
	for header := range x.Header("traceparent") {
		ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": string(header)})
		if c := trace.SpanContextFromContext(ctx); c.IsValid() && c.IsSampled() {
			if out = append(out, trace.Link{SpanContext: c}); len(out) == maxLinks {
				break
			}
		}
	}
	return out
}

func (t *Tracer) attributes(x *sink.Transaction) []attribute.KeyValue {
	var places []string
	topic := ""
	for i := range x.Parts {
		p := &x.Parts[i]
		if len(places) < maxPlaces {
			places = append(places, fmt.Sprintf("%s/%d", p.Topic, p.Partition))
		}
		if i == 0 {
			topic = p.Topic
		} else if topic != p.Topic {
			topic = ""
		}
	}
	out := []attribute.KeyValue{
		attribute.String("messaging.system", "kafka"), attribute.String("messaging.operation.type", "process"), attribute.String("messaging.operation.name", "commit"),
		attribute.String("messaging.consumer.group.name", t.group), attribute.Int("messaging.batch.message_count", x.Records),
		attribute.String("oncesink.outcome", string(x.Outcome)), attribute.StringSlice("oncesink.partitions", places), attribute.Int("oncesink.bytes", x.Bytes),
		attribute.Int("oncesink.dead_letters", x.DeadLetters),
	}
	if topic != "" {
		out = append(out, attribute.String("messaging.destination.name", topic))
	}
	if x.SQLState != "" {
		out = append(out, attribute.String("db.response.status_code", x.SQLState), attribute.String("error.type", x.SQLState))
	}
	return out
}

func table(t *sink.TableStats) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.String("db.collection.name", t.Table), attribute.Int64("oncesink.copied", t.Copied), attribute.Int64("oncesink.upserted", t.Upserted),
		attribute.Int64("oncesink.tombstones", t.Tombstones),
	}
}

// flushTimeout bounds how long a program that ends waits for its last spans.
const flushTimeout = 2 * time.Second

// Flush sends what was not sent yet, within two seconds, also where ctx has ended, and ends the tracer.
func (t *Tracer) Flush(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	return t.provider.Shutdown(ctx)
}
