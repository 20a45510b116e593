package archive

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testbucket"
	"github.com/oncesink/oncesink/offsets"
)

var seed = flag.Uint64("seed", 0, "of the random tests; 0 draws one")

// random prints the seed of what it draws.
func random(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("-seed %d", s)
	return rand.New(rand.NewPCG(s, 1))
}

// onBoth runs a test with a directory, and with a bucket.
func onBoth(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Run("directory", func(t *testing.T) { test(t, newRig(t, filepath.Join(t.TempDir(), "a", "b"), Options{})) })
	t.Run("bucket", func(t *testing.T) {
		endpoint := testbucket.Start(t, nil)
		test(t, newRig(t, "s3://"+testbucket.Bucket+"/a/b", Options{Endpoint: endpoint}))
	})
}

// rig is an archive and a partition.
type rig struct {
	*testing.T
	a *Archive
	s Source
}

func newRig(t *testing.T, location string, o Options) *rig {
	t.Helper()
	a, err := Open(t.Context(), location, o)
	if err != nil {
		t.Fatal(err)
	}
	return &rig{t, a, Source{Cluster: "c", TopicID: offsets.NewToken(), Partition: offsets.Partition{Topic: "orders", Partition: 3}}}
}

func (r *rig) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// file writes one.
func (r *rig) file(first, end int64, records ...*kgo.Record) File {
	r.Helper()
	f, err := r.write(first, end, records...)
	r.must(err)
	return f
}

func (r *rig) write(first, end int64, records ...*kgo.Record) (File, error) {
	w, err := r.a.Begin(r.Context(), r.s, first)
	if err != nil {
		return File{}, err
	}
	defer w.Abort()
	if err := w.Records(records, end); err != nil {
		return File{}, err
	}
	return w.Finish(r.Context())
}

// read returns what the archive yields from an offset on.
func (r *rig) read(from int64) (out []*kgo.Record, err error) {
	err = r.a.Read(r.Context(), r.s.TopicID, r.s.Partition, from, func(records []*kgo.Record) bool {
		out = append(out, records...)
		return true
	})
	return out, err
}

// spans are what the listing says.
func (r *rig) spans() []Span {
	r.Helper()
	files, err := r.a.Files(r.Context(), r.s.TopicID, r.s.Partition)
	r.must(err)
	return Spans(files)
}

// some are records of the partition, one at each offset.
func (r *rig) some(first, end int64) (out []*kgo.Record) {
	for o := first; o < end; o++ {
		out = append(out, &kgo.Record{Topic: r.s.Partition.Topic, Partition: r.s.Partition.Partition, Offset: o, LeaderEpoch: 1, Timestamp: time.UnixMilli(1700000000000 + o),
			Key: []byte("key"), Value: []byte(strings.Repeat("value", int(o%7)))})
	}
	return out
}

// local is the path of a file in a directory, which may then be changed.
func (r *rig) local(f File) string {
	r.Helper()
	path := r.a.path(f)
	r.must(os.Chmod(path, 0o644))
	return path
}
