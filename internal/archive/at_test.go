package archive

import (
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

// heavy are records of one partition at the given offsets, of which about fifty fill a block.
func (r *rig) heavy(rng *rand.Rand, at ...int64) (out []*kgo.Record) {
	for _, o := range at {
		value := make([]byte, 20<<10)
		for i := range value {
			value[i] = byte(rng.Uint32())
		}
		out = append(out, &kgo.Record{Topic: "orders", Partition: 3, Offset: o, Value: value})
	}
	return out
}

// The records at any offsets are found, and nothing else, over files, blocks, and stretches without a record; again, too, when it is known where
// blocks begin.
func TestAt(t *testing.T) {
	rng := random(t)
	onBoth(t, func(t *testing.T, r *rig) {
		var there []int64
		for first := int64(0); first < 600; first += 200 {
			var at []int64
			for o := first; o < first+190; o++ { // the last ones of each file have no record
				if rng.IntN(4) > 0 {
					at = append(at, o)
				}
			}
			r.file(first, first+200, r.heavy(rng, at...)...)
			there = append(there, at...)
		}
		for range 12 {
			var want, asked []int64
			most := 1 + rng.IntN(40)
			for o := rng.Int64N(100); o < 700; o += 1 + rng.Int64N(int64(most)) {
				asked = append(asked, o)
				if slices.Contains(there, o) {
					want = append(want, o)
				}
			}
			var got []int64
			read, err := r.a.At(t.Context(), r.s.TopicID, r.s.Partition, asked, func(k *kgo.Record) { got = append(got, k.Offset) })
			r.must(err)
			if !slices.Equal(got, want) || read < int64(len(got)) || read > int64(len(there)) {
				t.Fatalf("of %v got %v, want %v, with %d read", asked, got, want, read)
			}
			from := rng.Int64N(600)
			all, err := r.read(from)
			r.must(err)
			if first, _ := slices.BinarySearch(there, from); len(all) != len(there)-first {
				t.Fatalf("from %d: %d records, want %d", from, len(all), len(there)-first)
			}
		}
		if n := len(r.a.marks.of); n != 3 {
			t.Errorf("it knows where blocks of %d files begin", n)
		}
	})
}

// A file of the same name and size that has its blocks elsewhere is read as it is; one that is damaged is told as such.
func TestMarksOfAnotherFile(t *testing.T) {
	rng := random(t)
	r := newRig(t, t.TempDir(), Options{})
	var at []int64
	for o := range int64(150) {
		at = append(at, o)
	}
	f := r.file(0, 150, r.heavy(rng, at...)...)
	path := r.local(f)
	find := func() (n int, err error) {
		_, err = r.a.At(t.Context(), r.s.TopicID, r.s.Partition, []int64{140}, func(*kgo.Record) { n++ })
		return n, err
	}
	if n, err := find(); n != 1 || err != nil {
		t.Fatalf("%d, %v", n, err)
	}
	list := r.a.marks.of[f]
	if len(list) < 3 {
		t.Fatalf("%d blocks", len(list))
	}
	for i := range list[1:] {
		list[i+1].byte += 100
	}
	if n, err := find(); n != 1 || err != nil {
		t.Errorf("with marks of another file: %d, %v", n, err)
	}
	whole, err := os.ReadFile(path)
	r.must(err)
	whole[r.a.marks.of[f][2].byte+blockSize+1000] ^= 1
	r.must(os.WriteFile(path, whole, 0o644))
	if n, err := find(); n != 0 || err == nil {
		t.Errorf("damaged: %d, %v", n, err)
	}
}
