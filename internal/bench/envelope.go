package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// envelopes is the plan of -envelopes: the same loads as Debezium's connector sends them, with the schema in each record as Kafka Connect
// writes it unless it is told otherwise, into oncesink and into Debezium's own sink.
func (p plan) envelopes(b *bench) []step {
	loads := []load{fresh(0, p.records)}
	loads = append(loads, updates(loads[0], 1))
	topics := func(ctx context.Context) (out []topic, err error) {
		for _, l := range loads {
			l.envelope = true
			t, err := b.fill(ctx, "envelopes-"+l.name, 6, narrow, l)
			if err != nil {
				return nil, err
			}
			out = append(out, t)
		}
		return out, nil
	}
	out := []step{{name: "oncesink, " + enveloped, run: func(ctx context.Context) ([]result, error) {
		made, err := topics(ctx)
		if err != nil {
			return nil, err
		}
		return b.oncesink(ctx, enveloped, options{limits: p.limits}, true, made...)
	}}}
	for _, unnest := range []bool{false, true} {
		for _, tasks := range []int{1, 2} {
			out = append(out, step{name: fmt.Sprintf("Debezium JDBC, %s, unnest %v, %d task(s)", enveloped, unnest, tasks), run: func(ctx context.Context) ([]result, error) {
				made, err := topics(ctx)
				if err != nil {
					return nil, err
				}
				return b.debezium(ctx, unnest, tasks, made...)
			}})
		}
	}
	return out
}

const enveloped = "Debezium's envelopes"

// debezium is the event as Debezium's connector for PostgreSQL and Kafka Connect's converter write it: key and value.
func (e event) debezium(s shape, v []string) (key, value []byte) {
	op := "c"
	if e.version > 0 {
		op = "u"
	}
	at := e.updated().UnixNano()
	lsn := e.id*1000 + int64(e.version)
	w := append([]byte(nil), `{"schema":`...)
	w = append(w, envelopeSchema...)
	w = append(w, `,"payload":{"before":null,"after":`...)
	v[3] = decimal(v[3])
	w = e.json(s, w, v)
	w = fmt.Appendf(w, `,"source":{"version":"3.5.0.Final","connector":"postgresql","name":"bench","ts_ms":%d,"snapshot":"false","db":"shop","sequence":"[\"%d\",\"%d\"]",`+
		`"ts_us":%d,"ts_ns":%d,"schema":"public","table":"orders","txId":%d,"lsn":%d,"xmin":null,"origin":null,"origin_lsn":null},"transaction":null,"op":"%s","ts_ms":%d,"ts_us":%d,"ts_ns":%d}}`,
		at/1e6, lsn, lsn, at/1e3, at, e.id, lsn, op, at/1e6, at/1e3, at)
	return fmt.Appendf(nil, `{"schema":{"type":"struct","fields":[{"type":"int64","optional":false,"field":"order_id"}],"optional":false,"name":"bench.public.orders.Key"},"payload":{"order_id":%d}}`, e.id), w
}

// decimal writes a number of two digits after its point as Kafka Connect does: base64 of its bytes, quoted.
func decimal(text string) string {
	n, _ := new(big.Int).SetString(strings.Replace(text, ".", "", 1), 10)
	b := n.Bytes()
	if len(b) == 0 || b[0] > 127 {
		b = append([]byte{0}, b...)
	}
	return strconv.Quote(base64.StdEncoding.EncodeToString(b))
}

// envelopeSchema is what comes before each payload.
var envelopeSchema = func() string {
	type field = map[string]any
	leaf := func(name, kind string, optional bool) field {
		return field{"type": kind, "optional": optional, "field": name}
	}
	var row []field
	for _, c := range narrow.columns() {
		f := leaf(c, "string", c == "note")
		switch {
		case strings.HasSuffix(c, "_id"):
			f["type"] = "int64"
		case c == "amount":
			f["type"], f["name"], f["version"] = "bytes", "org.apache.kafka.connect.data.Decimal", 1
			f["parameters"] = map[string]string{"scale": "2", "connect.decimal.precision": "12"}
		case strings.HasSuffix(c, "_at"):
			f["name"], f["version"] = "io.debezium.time.ZonedTimestamp", 1
		}
		row = append(row, f)
	}
	image := func(name string) field {
		return field{"type": "struct", "fields": row, "optional": true, "name": "bench.public.orders.Value", "field": name}
	}
	snapshot := leaf("snapshot", "string", true)
	snapshot["name"], snapshot["version"], snapshot["default"] = "io.debezium.data.Enum", 1, "false"
	snapshot["parameters"] = map[string]string{"allowed": "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental"}
	source := field{"type": "struct", "optional": false, "name": "io.debezium.connector.postgresql.Source", "version": 1, "field": "source", "fields": []field{
		leaf("version", "string", false), leaf("connector", "string", false), leaf("name", "string", false), leaf("ts_ms", "int64", false), snapshot,
		leaf("db", "string", false), leaf("sequence", "string", true), leaf("ts_us", "int64", true), leaf("ts_ns", "int64", true), leaf("schema", "string", false),
		leaf("table", "string", false), leaf("txId", "int64", true), leaf("lsn", "int64", true), leaf("xmin", "int64", true), leaf("origin", "string", true), leaf("origin_lsn", "int64", true),
	}}
	transaction := field{"type": "struct", "optional": true, "name": "event.block", "version": 1, "field": "transaction", "fields": []field{
		leaf("id", "string", false), leaf("total_order", "int64", false), leaf("data_collection_order", "int64", false),
	}}
	text, err := json.Marshal(field{"type": "struct", "optional": false, "name": "bench.public.orders.Envelope", "version": 2, "fields": []field{
		image("before"), image("after"), source, transaction, leaf("op", "string", false), leaf("ts_ms", "int64", true), leaf("ts_us", "int64", true), leaf("ts_ns", "int64", true),
	}})
	if err != nil {
		panic(err) // texts, numbers and booleans
	}
	return string(text)
}()
