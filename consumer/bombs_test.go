package consumer

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/sink"
)

// What nobody would send on purpose is a dead letter or a row, and its neighbours are written.
func TestBombs(t *testing.T) {
	t.Parallel()
	const huge = 2_000_000 // bytes, of one record
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.exec(`create table bombs (id bigint primary key, v text, n int, num numeric, doc jsonb, flag boolean)`)
	r.exec(`create table parts (id bigint, k int, primary key (id, k))`)
	change := func(c *Config, s *sink.Config) {
		s.Handlers = nil
		s.DeadLetters = sink.DeadLetters{MaxRatio: 1, MaxConsecutive: -1}
		s.Tables = []sink.TableConfig{
			{Name: "bombs", Topics: []string{r.topic}, Key: []string{"id"}, Columns: map[string]sink.ColumnConfig{"doc": {From: "doc"}}},
			{Name: "parts", Strategy: sink.Children, Parent: "bombs", Each: "parts", Key: []string{"id", "k"}},
		}
		c.UntilEnd = true
	}
	r.initWith(change)
	names := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"k%d":%d,`, i, i)
		}
		return b.String()
	}
	parts := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `{"k":%d},`, i)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	bombs := []struct{ name, value, code string }{ // "": written
		{"a long text", `"v":"` + strings.Repeat("x", huge) + `"`, ""},
		{"a long text of escapes", `"v":"` + strings.Repeat(`\u0041`, huge/6) + `"`, ""},
		{"a deep document", `"doc":` + strings.Repeat("[", 12_000) + strings.Repeat("]", 12_000), "54001"},
		{"a deep document that nobody takes", `"more":` + strings.Repeat(`{"a":`, 12_000) + "1" + strings.Repeat("}", 12_000), "54001"},
		{"a document at PostgreSQL's limit", `"doc":` + strings.Repeat("[", 9_000) + strings.Repeat("]", 9_000), ""},
		{"10,000 names", names(10_000) + `"v":"a"`, ""},
		{"10,000 names in a document", `"doc":{` + strings.TrimSuffix(names(10_000), ",") + `}`, ""},
		{"10,000 names, one of them twice", names(10_000) + `"k7":1`, "22030"},
		{"a long number for an integer", `"n":1` + strings.Repeat("0", huge), "22003"},
		{"a long number for a numeric", `"num":1` + strings.Repeat("0", huge), "22003"},
		{"a long exponent", `"num":1e` + strings.Repeat("9", 1000), "22003"},
		{"a number of 100,000 digits", `"num":` + strings.Repeat("7", 100_000), ""},
		{"a NUL", `"v":"a\u0000b"`, "22P05"},
		{"a NUL in a document", `"doc":{"a":"\u0000"}`, "22P05"},
		{"half a surrogate", `"v":"\ud800"`, "22021"},
		{"bytes that are no text", "\"v\":\"\xff\xfe\"", "22021"},
		{"an array for a boolean", `"flag":[` + strings.Repeat("1,", huge/2) + `1]`, "22P02"},
		{"100,000 children", `"parts":[` + parts(100_000) + `]`, ""},
	}
	var recs []*kgo.Record
	add := func(value string) {
		recs = append(recs, &kgo.Record{Topic: r.topic, Value: []byte(value)})
	}
	for i, b := range bombs {
		add(fmt.Sprintf(`{"id":%d,%s}`, 2*i, b.value))
		add(fmt.Sprintf(`{"id":%d,"v":"neighbour"}`, 2*i+1))
	}
	client, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(8<<20))
	r.must(err)
	defer client.Close()
	for _, rec := range recs { // each in a batch of its own: together they are too much for the broker
		r.must(client.ProduceSync(t.Context(), rec).FirstErr())
	}
	r.must(r.start(change).wait(t))
	if n := r.queryInt(`select count(*) from bombs where v = 'neighbour'`); n != int64(len(bombs)) {
		t.Errorf("%d of %d neighbours are written", n, len(bombs))
	}
	for i, b := range bombs {
		var code string
		r.must(r.pool.QueryRow(t.Context(), `select coalesce((select code from oncesink.dead_letters where "offset" = $1), '')`, 2*i).Scan(&code))
		rows := r.queryInt(`select count(*) from bombs where id = $1`, 2*i)
		if code != b.code || (rows == 1) != (b.code == "") {
			t.Errorf("%s: code %q, %d rows; want code %q", b.name, code, rows, b.code)
		}
	}
	if n := r.queryInt(`select count(*) from parts`); n != 100_000 {
		t.Errorf("%d children", n)
	}
}

// A batch that is small in the log and large in memory halts its partition, with what was before it written, and the others go on. The
// printed statement goes past it.
func TestDecompressionBomb(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 2)
	r.produce(0, 0, 5)
	r.produce(1, 100, 5)
	for _, codec := range []kgo.CompressionCodec{kgo.ZstdCompression(), kgo.GzipCompression(), kgo.Lz4Compression(), kgo.SnappyCompression()} {
		client, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(64<<20))
		r.must(err)
		defer client.Close()
		r.must(client.ProduceSync(t.Context(), &kgo.Record{Topic: r.topic, Value: fmt.Appendf(nil, `{"id":1,"v":"%s"}`, strings.Repeat(" ", 4<<20))}).FirstErr())
	}
	r.produce(0, 5, 5)
	p := r.start(func(c *Config, _ *sink.Config) { c.MaxDecompressedBytes = 1 << 20 })
	for offset := range 4 {
		want := fmt.Sprintf("the batch of offsets %d to %d takes more than 1 MiB", 5+offset, 5+offset)
		var why string
		eventually(t, want, func() bool {
			r.must(r.pool.QueryRow(t.Context(), `select coalesce((select halted from oncesink.offsets where partition = 0), '')`).Scan(&why))
			return strings.Contains(why, want)
		})
		_, statement, _ := strings.Cut(why, "done without: ")
		statement, _, _ = strings.Cut(statement, ", or `")
		r.exec(statement)
	}
	r.waitApplied(15)
	r.must(p.end(t))
	if n := r.queryInt(`select count(*) from events`); n != 15 {
		t.Errorf("%d rows", n)
	}
}

// Batches that are each within the bound, and together far beyond it, come one after the other: all of them, and never more than the
// bound between two polls.
func TestDecompressionBudget(t *testing.T) {
	const limit, size, bombs = 1 << 20, 700 << 10, 8
	for _, codec := range []kgo.CompressionCodec{kgo.ZstdCompression(), kgo.GzipCompression(), kgo.Lz4Compression(), kgo.SnappyCompression()} {
		r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
		client, err := kgo.NewClient(kgo.SeedBrokers(r.brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(codec), kgo.ProducerBatchMaxBytes(2<<20))
		r.must(err)
		defer client.Close()
		for i := range bombs {
			r.must(client.ProduceSync(t.Context(), &kgo.Record{Topic: r.topic, Value: fmt.Appendf(nil, `{"id":%d,"v":"%s"}`, i, strings.Repeat(" ", size))}).FirstErr())
		}
		r.must(r.start(func(c *Config, _ *sink.Config) { c.MaxDecompressedBytes, c.UntilEnd = limit, true }).wait(t))
		r.verify(map[int32]int64{0: bombs})
	}
}

// What does not fit any more waits for a poll; what never fits is refused.
func TestDecompressor(t *testing.T) {
	d, err := newDecompressor(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	compress := func(n int) []byte {
		c, err := kgo.DefaultCompressor(kgo.ZstdCompression())
		if err != nil {
			t.Fatal(err)
		}
		out, codec := c.Compress(new(bytes.Buffer), make([]byte, n))
		if codec != kgo.CodecZstd {
			t.Fatal(codec)
		}
		return bytes.Clone(out)
	}
	half, most, more := compress(500<<10), compress(1<<20), compress(1<<20+1)
	for i, step := range []struct {
		src  []byte
		want error
		poll bool
	}{
		{src: half}, {src: half}, {src: half, want: errLater}, {src: half, poll: true}, {src: most, want: errLater}, {src: most, poll: true},
		{src: half, want: errLater}, {src: more, want: errLater}, {src: more, want: kgo.ErrMaxDecompress, poll: true},
	} {
		if step.poll {
			d.polled()
		}
		if _, err := d.Decompress(step.src, kgo.CodecZstd); !errors.Is(err, step.want) {
			t.Errorf("step %d: %v, want %v", i, err, step.want)
		}
	}
}
