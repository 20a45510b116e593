//go:build unix

package archiver

import (
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/archive"
	"github.com/oncesink/oncesink/internal/orders"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
)

// benchRecords is how many records a benchmark archives, in four partitions.
const benchRecords = 1_000_000

// An archive is written from a real Kafka, of records like the ones of `oncesink generate`, and read; beside it stands what the broker has on disk.
func BenchmarkArchive(b *testing.B) {
	for _, codec := range []struct {
		name  string
		codec kgo.CompressionCodec
	}{{"none", kgo.NoCompression()}, {"lz4", kgo.Lz4Compression()}} {
		b.Run(codec.name, func(b *testing.B) {
			kafka := testkafka.Real(b)
			topic := kafka.CreateTopic(b, "bench", 4)
			client := kafka.Client(b, kgo.ProducerBatchCompression(codec.codec), kgo.DefaultProduceTopic(topic), kgo.MaxBufferedRecords(100_000))
			began, events := time.Now(), orders.New(1)
			for i := range benchRecords {
				e := events.Next()
				client.Produce(b.Context(), &kgo.Record{Partition: int32(i % 4), Key: e.Key, Value: e.Value}, func(_ *kgo.Record, err error) {
					if err != nil {
						b.Error(err)
					}
				})
			}
			if err := client.Flush(b.Context()); err != nil {
				b.Fatal(err)
			}
			b.Logf("produced in %v", time.Since(began))
			admin := kadm.NewClient(client)
			dirs, err := admin.DescribeAllLogDirs(b.Context(), nil)
			if err != nil {
				b.Fatal(err)
			}
			var disk int64
			dirs.Each(func(d kadm.DescribedLogDir) {
				for _, p := range d.Topics[topic] {
					disk += p.Size
				}
			})
			b.ResetTimer()
			for b.Loop() {
				a, err := archive.Open(b.Context(), b.TempDir(), archive.Options{})
				if err != nil {
					b.Fatal(err)
				}
				began, begunCPU := time.Now(), cpu()
				done, err := Run(b.Context(), Config{Archive: a, Client: client, Topics: []string{topic}, UntilEnd: true})
				if err != nil {
					b.Fatal(err)
				}
				out, outCPU := time.Since(began), cpu()-begunCPU
				var records, size int64
				for _, d := range done {
					records, size = records+d.Records, size+d.Bytes
				}
				began, begunCPU = time.Now(), cpu()
				read := 0
				for p := range int32(4) {
					err := a.Read(b.Context(), done[0].TopicID, offsets.Partition{Topic: topic, Partition: p}, 0, func(r []*kgo.Record) bool { read += len(r); return true })
					if err != nil {
						b.Fatal(err)
					}
				}
				in, inCPU := time.Since(began), cpu()-begunCPU
				if records != benchRecords || read != benchRecords {
					b.Fatalf("%d records out, %d in", records, read)
				}
				b.ReportMetric(benchRecords/out.Seconds(), "out/s")
				b.ReportMetric(benchRecords/in.Seconds(), "in/s")
				b.ReportMetric(float64(outCPU.Nanoseconds())/benchRecords, "out-cpu-ns/record")
				b.ReportMetric(float64(inCPU.Nanoseconds())/benchRecords, "in-cpu-ns/record")
				b.ReportMetric(float64(size)/benchRecords, "bytes/record")
				b.ReportMetric(float64(disk)/benchRecords, "broker-bytes/record")
			}
		})
	}
}

// cpu is what the process has taken of the processors, which depends less on what else the machine does.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
