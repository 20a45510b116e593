package archiver

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/archive"
	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/internal/testkafka"
	"github.com/oncesink/oncesink/offsets"
)

// produce writes records of partition 0.
func (r *rig) produce(n int) {
	r.Helper()
	for range n {
		k := &kgo.Record{Value: []byte(strings.Repeat("v", 1000))}
		r.must(r.client.ProduceSync(r.Context(), k).FirstErr())
		r.committed[0] = append(r.committed[0], k)
	}
}

// follow archives until stop is called, which returns what was done.
func (r *rig) follow(c Config) (stop func() ([]Done, error), ended <-chan struct{}) {
	ctx, cancel := context.WithCancel(r.Context())
	r.Cleanup(cancel)
	c.UntilEnd = false
	var done []Done
	var err error
	over := make(chan struct{})
	go func() {
		defer close(over)
		done, err = Run(ctx, c)
	}()
	return func() ([]Done, error) {
		cancel()
		<-over
		return done, err
	}, over
}

// held is up to where the archive holds partition 0.
func (r *rig) held(id offsets.Token) int64 {
	r.Helper()
	_, end, _, err := r.archive().Span(r.Context(), id, offsets.Partition{Topic: r.topic})
	r.must(err)
	return end
}

// A run follows the topic; what it has when it is stopped becomes a file, and an old one does before.
func TestFollows(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	c := r.config()
	c.FileBytes, c.FileAge = 1<<30, time.Hour
	r.produce(5)
	stop, _ := r.follow(c)
	testenv.Eventually(t, time.Minute, "a draft", func() bool { return r.written() > 0 })
	r.produce(5)
	done, err := stop()
	r.must(err)
	if r.held(r.id()) < 5 || done[0].Files != 1 {
		t.Errorf("after the stop: %+v", done)
	}
	c.FileAge = time.Millisecond
	stop, _ = r.follow(c)
	testenv.Eventually(t, time.Minute, "all in files", func() bool { return r.held(r.id()) == 10 })
	_, err = stop()
	r.must(err)
	r.compare(map[int32]int64{0: 10})
}

// Two runs at once: one of them ends with an error that says so, or neither had to; what is held is whole, and read once.
func TestTwoAtOnce(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	c := r.config()
	c.FileBytes, c.FileAge = 1<<30, time.Hour
	r.produce(5)
	stop, ended := r.follow(c)
	testenv.Eventually(t, time.Minute, "a draft", func() bool { return r.written() > 0 })
	r.produce(3)
	r.run() // the other one
	if got := r.held(r.id()); got != 8 {
		t.Errorf("the other one holds up to %d", got)
	}
	if _, err := stop(); err == nil || !strings.Contains(err.Error(), "another `oncesink archive run` writes the same partition") {
		t.Errorf("the first one: %v", err)
	}
	<-ended
	r.compare(map[int32]int64{0: 8})
}

// Retention that overtakes a run, and a topic that is created again meanwhile, end what is archived of the partition.
func TestOvertaken(t *testing.T) {
	for name, trouble := range map[string]struct {
		act  func(r *rig)
		says string
		gap  bool
	}{
		"retention": {func(r *rig) {
			r.produce(10)
			var o kadm.Offsets
			o.Add(kadm.Offset{Topic: r.topic, At: 12})
			resp, err := r.admin.DeleteRecords(r.Context(), o)
			r.must(errors.Join(err, resp.Error()))
		}, "the log has lost offsets 5 to 11, which the archive does not hold", true},
		"recreated": {func(r *rig) {
			_, err := r.admin.DeleteTopic(r.Context(), r.topic)
			r.must(err)
			r.create()
		}, "the topic was deleted", false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
			r.produce(5)
			id := r.id()
			r.run()
			// The ends are known from before, as in a run that was slow.
			a, err := newArchiver(r.config())
			r.must(err)
			r.must(a.extend(t.Context()))
			trouble.act(r)
			p := a.parts[offsets.Partition{Topic: r.topic}]
			p.end = 15
			testenv.Eventually(t, time.Minute, "the partition is left", func() bool {
				p.after = time.Time{}
				p.turn(t.Context())
				return p.did.Problem != nil
			})
			if !strings.Contains(p.did.Problem.Error(), trouble.says) || errors.As(p.did.Problem, new(*GapError)) != trouble.gap {
				t.Errorf("got %v", p.did.Problem)
			}
			if got := r.held(id); got != 5 {
				t.Errorf("up to %d is held", got)
			}
		})
	}
}

// A log that ends below what is held is told.
func TestLostEnd(t *testing.T) {
	r := newRig(t, testkafka.Fake(t).ListenAddrs(), "orders", 1)
	r.produce(5)
	w, err := r.archive().Begin(t.Context(), archive.Source{TopicID: r.id(), Partition: offsets.Partition{Topic: r.topic}}, 0)
	r.must(err)
	r.must(w.Records(nil, 7))
	_, err = w.Finish(t.Context())
	r.must(err)
	if _, err := Run(t.Context(), r.config()); err == nil || !strings.Contains(err.Error(), "the archive holds offsets up to 6, and the log ends at 5") {
		t.Errorf("got %v", err)
	}
}

// A file that is decompressed is what Kafka's own program reads, as docs/archive.md says.
func TestKafkaReadsFiles(t *testing.T) {
	kafka := testkafka.Real(t)
	r := newRig(t, kafka.Brokers, kafka.Name("orders"), 1)
	r.must(r.client.ProduceSync(t.Context(), &kgo.Record{Key: []byte("the-key"), Value: []byte("the-value"), Headers: []kgo.RecordHeader{{Key: "the-header", Value: []byte("x")}}}).FirstErr())
	r.produce(20)
	r.settled()
	r.run()
	files, err := r.archive().Topics(t.Context(), "")
	r.must(err)
	file, err := os.Open(filepath.Join(r.location, filepath.FromSlash(files[0].Name())))
	r.must(err)
	defer file.Close()
	plain, err := zstd.NewReader(file)
	r.must(err)
	defer plain.Close()
	text, err := io.ReadAll(plain)
	r.must(err)
	log := filepath.Join(t.TempDir(), "00000000000000000000.log")
	r.must(os.WriteFile(log, text, 0o600))
	out := kafka.Tool(t, "org.apache.kafka.tools.DumpLogSegments", "--print-data-log", "--files", log)
	for _, want := range []string{"key: the-key", "payload: the-value", "the-header", "offset: 20 ", "isvalid: true"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q:\n%s", want, out)
		}
	}
}
