package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/testbucket"
	"github.com/oncesink/oncesink/internal/testenv"
)

// A flipped bit anywhere in a file is found, and so is a file that is cut off, one that goes on, and one under another's name.
func TestDamageIsFound(t *testing.T) {
	rng := random(t)
	r := newRig(t, t.TempDir(), Options{})
	f := r.file(100, 1205, r.some(100, 1200)...)
	path := r.local(f)
	whole, err := os.ReadFile(path)
	r.must(err)
	damaged := func(what string, content []byte) {
		t.Helper()
		r.must(os.WriteFile(path, content, 0o644))
		f.Bytes = int64(len(content))
		var damage *DamagedError
		if _, err := r.read(100); !errors.As(err, &damage) || damage.File != path {
			t.Errorf("%s: read says %v", what, err)
		}
		if _, err := r.a.Verify(t.Context(), f); !errors.As(err, &damage) {
			t.Errorf("%s: verify says %v", what, err)
		}
	}
	bits := func(i int) {
		b := bytes.Clone(whole)
		b[i/8] ^= 1 << (i % 8)
		damaged("bit "+strconv.Itoa(i), b)
	}
	for range testenv.Times(200, 10_000) {
		bits(rng.IntN(len(whole) * 8))
		bits(rng.IntN(250 * 8))                  // of the first frames
		bits(len(whole)*8 - 1 - rng.IntN(300*8)) // of the last one
	}
	for range testenv.Times(20, 1000) {
		damaged("cut off", whole[:rng.IntN(len(whole))])
	}
	damaged("going on", append(bytes.Clone(whole), 0))
	damaged("empty", nil)
	other := f
	other.First++
	r.must(os.WriteFile(path, whole, 0o644))
	r.must(os.Rename(path, r.a.path(other)))
	if _, err := r.a.Verify(t.Context(), other); err == nil || !strings.Contains(err.Error(), "another file's name") {
		t.Errorf("under another name: %v", err)
	}
}

// A file whose blocks are whole but not as they were together is found by its SHA-256.
func TestVerifyTakesNothingForGranted(t *testing.T) {
	r := newRig(t, t.TempDir(), Options{})
	f := r.file(0, 10, r.some(0, 10)...)
	path := r.local(f)
	content, err := os.ReadFile(path)
	r.must(err)
	end := len(content)
	size := int(content[end-8]) | int(content[end-7])<<8
	last, err := parseFoot(content[end-size:])
	r.must(err)
	last.SHA256 = strings.Repeat("0", len(last.SHA256))
	frame, err := last.append()
	r.must(err)
	r.must(os.WriteFile(path, append(content[:end-size:end-size], frame...), 0o644))
	if _, err := r.a.Verify(t.Context(), f); err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Errorf("got %v", err)
	}
}

// Gaps and overlaps are told by the listing, overlaps are read once, and behind a gap is another stretch.
func TestGapsAndOverlaps(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		r.file(0, 10, r.some(0, 10)...)
		r.file(5, 8, r.some(5, 8)...)
		r.file(7, 20, r.some(7, 20)...)
		r.file(30, 40, r.some(30, 40)...)
		if got := r.spans(); len(got) != 2 || got[0] != (Span{0, 20}) || got[1] != (Span{30, 40}) {
			t.Fatalf("spans %v", got)
		}
		first, end, ok, err := r.a.Span(t.Context(), r.s.TopicID, r.s.Partition)
		if first != 30 || end != 40 || !ok || err != nil {
			t.Errorf("span %d to %d, %v, %v", first, end, ok, err)
		}
		for from := int64(0); from <= 41; from++ {
			stretch := Span{0, 20}
			if from >= 20 {
				stretch = Span{30, 40}
			}
			got, err := r.read(from)
			var none *NotHeldError
			if held := from >= stretch.First && from <= stretch.End; !held {
				if !errors.As(err, &none) {
					t.Errorf("from %d: %d records, %v", from, len(got), err)
				}
				continue
			}
			r.must(err)
			if len(got) != int(stretch.End-from) {
				t.Errorf("from %d: %d records", from, len(got))
			}
			for i, k := range got {
				if k.Offset != from+int64(i) {
					t.Errorf("from %d: offset %d at %d", from, k.Offset, i)
				}
			}
		}
	})
}

// A file does not replace one, and what is no file of an archive is not taken for one.
func TestNames(t *testing.T) {
	onBoth(t, func(t *testing.T, r *rig) {
		f := r.file(0, 10, r.some(0, 10)...)
		if _, err := r.write(0, 10, r.some(0, 3)...); !errors.Is(err, errExists) {
			t.Errorf("a file is replaced: %v", err)
		}
		if got, err := r.read(0); len(got) != 10 || err != nil {
			t.Errorf("%d records, %v", len(got), err)
		}
		all, err := r.a.All(t.Context(), "")
		if err != nil || len(all) != 1 || all[0].File != f || all[0].Records != 10 {
			t.Errorf("all: %+v, %v", all, err)
		}
	})
	for _, name := range []string{"", "a/b/c/d", "orders/00000000-0000-0000-0000-000000000001/0/00000000000000000000-00000000000000000000.log.zst",
		"orders/00000000-0000-0000-0000-000000000001/0/1-2.log.zst", "orders/00000000-0000-0000-0000-000000000001/0/00000000000000000000-00000000000000000001.log"} {
		if f, ok := parseName(name); ok {
			t.Errorf("%q is %+v", name, f)
		}
	}
}

// A connection to a store that breaks is made again, at the byte where it broke; one that breaks for good is no damage.
func TestConnectionsBreak(t *testing.T) {
	after := 100 << 10 // bytes
	endpoint := testbucket.Start(t, func(store http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
			if q.Method == http.MethodGet && strings.HasSuffix(q.URL.Path, extension) {
				w = &breaking{w, after}
			}
			store.ServeHTTP(w, q)
		})
	})
	r := newRig(t, "s3://"+testbucket.Bucket, Options{Endpoint: endpoint})
	var records []*kgo.Record
	rng := random(t)
	for o := range int64(40) {
		value := make([]byte, 20<<10)
		for i := range value {
			value[i] = byte(rng.Uint32())
		}
		records = append(records, &kgo.Record{Topic: "orders", Partition: 3, Offset: o, Value: value})
	}
	r.file(0, 40, records...)
	if got, err := r.read(0); len(got) != 40 || err != nil {
		t.Errorf("%d records, %v", len(got), err)
	}
	after = 0
	var damage *DamagedError
	if _, err := r.read(0); err == nil || errors.As(err, &damage) {
		t.Errorf("without a connection: %v", err)
	}
}

// breaking breaks the connection after some bytes.
type breaking struct {
	http.ResponseWriter
	left int
}

func (b *breaking) Write(p []byte) (int, error) {
	if b.left < len(p) {
		_, _ = b.ResponseWriter.Write(p[:b.left])
		_ = http.NewResponseController(b.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	b.left -= len(p)
	return b.ResponseWriter.Write(p)
}

// Whatever a file has in it, reading it ends, with an error or with what was written.
func FuzzFile(f *testing.F) {
	dir := f.TempDir()
	a, err := Open(f.Context(), dir, Options{})
	if err != nil {
		f.Fatal(err)
	}
	s := Source{Cluster: "c", TopicID: [16]byte{1}}
	s.Partition.Topic = "t"
	w, err := a.Begin(f.Context(), s, 0)
	if err != nil {
		f.Fatal(err)
	}
	if err := w.Records([]*kgo.Record{{Offset: 0, Key: []byte("k")}, {Offset: 2, Headers: []kgo.RecordHeader{{Key: "h"}}}}, 3); err != nil {
		f.Fatal(err)
	}
	made, err := w.Finish(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(a.path(made))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, content []byte) {
		r := newFileReader(bytes.NewReader(content), a.dec, File{TopicID: s.TopicID, Partition: s.Partition, End: 3, Bytes: int64(len(content))})
		n := 0
		err := r.head()
		for more := true; err == nil && more; {
			var records []*kgo.Record
			records, more, err = r.block(0)
			n += len(records)
		}
		if err == nil && n != 2 {
			t.Errorf("%d records without an error", n)
		}
		// What is behind the checksums, as if they were right.
		if records, err := r.decode(content, block{raw: 1 << 20, end: 3, records: 2}, 0); err == nil && len(records) > 2 {
			t.Errorf("%d records of a block with 2", len(records))
		}
		_, _ = parseFoot(seal(content))
		_, _ = parseHead(seal(content))
		_, _ = parseBlock(seal(content))
	})
}

// Each bit of a small file, of whatever it is a part, is found when it is flipped, by who reads the records alone. That does not hang on the checksum that
// Zstandard puts into its own frames, which a file may be without.
func TestEachBitIsFound(t *testing.T) {
	for name, own := range map[string]bool{"with Zstandard's checksums": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, t.TempDir(), Options{})
			enc, err := zstd.NewWriter(nil, zstd.WithEncoderCRC(own))
			r.must(err)
			r.a.enc = enc
			var records []*kgo.Record
			for o := range int64(3) {
				records = append(records, &kgo.Record{Topic: "orders", Partition: 3, Offset: o, Key: fmt.Append(nil, "key", o), Value: fmt.Append(nil, "a value like no other: ", o*7919)})
			}
			f := r.file(0, 5, records...)
			whole, err := os.ReadFile(r.local(f))
			r.must(err)
			read := func(content []byte) (n int, err error) {
				in := newFileReader(bytes.NewReader(content), r.a.dec, f)
				err = in.head()
				for more := true; err == nil && more; {
					var records []*kgo.Record
					records, more, err = in.block(0)
					n += len(records)
				}
				return n, err
			}
			if n, err := read(whole); n != 3 || err != nil {
				t.Fatalf("%d records, %v", n, err)
			}
			parts := map[string]int{} // how many bits were flipped in each
			for i := range len(whole) * 8 {
				flipped := bytes.Clone(whole)
				flipped[i/8] ^= 1 << (i % 8)
				part := partOf(t, whole, i/8)
				parts[part]++
				if n, err := read(flipped); err == nil {
					t.Errorf("bit %d, of %s: %d records, and no error", i, part, n)
				}
			}
			if len(parts) != 10 {
				t.Errorf("the file has bits of %v", parts)
			}
		})
	}
}

// partOf says of what in a file with one block a byte is.
func partOf(t *testing.T, file []byte, at int) string {
	t.Helper()
	frames := []string{"the head", "the block's frame", "the block", "the foot"}
	for begin := 0; begin < len(file) && len(frames) > 0; frames = frames[1:] {
		size := skippable + int(binary.LittleEndian.Uint32(file[begin+4:]))
		if frames[0] == "the block" {
			size = len(file) - begin - int(binary.LittleEndian.Uint32(file[len(file)-8:]))
		}
		end := begin + size
		switch {
		case at >= end:
		case frames[0] == "the block":
			return frames[0]
		case at < begin+skippable:
			return frames[0] + ": magic and length"
		case at >= end-4:
			return frames[0] + ": checksum"
		case frames[0] != "the block's frame":
			return frames[0] + ": what it says"
		default:
			return frames[0] + ": lengths, offsets, counts"
		}
		begin = end
	}
	t.Fatalf("byte %d is of nothing", at)
	return ""
}
