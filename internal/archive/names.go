package archive

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/oncesink/oncesink/offsets"
)

// extension of the files, of which `zstd -d` leaves .log, as Kafka's own segments have it.
const extension = ".log.zst"

// File is what a file's name says: a range of offsets of a partition, First <= offset < End.
type File struct {
	TopicID    offsets.Token
	Partition  offsets.Partition
	First, End int64
	Bytes      int64 // its size
}

// Name is where the file lies in the archive, with slashes.
func (f File) Name() string {
	return path.Join(folder(f.TopicID, f.Partition), fmt.Sprintf("%020d-%020d%s", f.First, f.End, extension))
}

// folder has the files of a partition.
func folder(id offsets.Token, p offsets.Partition) string {
	return path.Join(p.Topic, id.String(), strconv.Itoa(int(p.Partition)))
}

// parseName is the inverse of Name. ok is false for what is no file of an archive.
func parseName(name string) (f File, ok bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 4 {
		return File{}, false
	}
	id, err1 := hex.DecodeString(strings.ReplaceAll(parts[1], "-", ""))
	partition, err2 := strconv.ParseInt(parts[2], 10, 32)
	first, end, found := strings.Cut(strings.TrimSuffix(parts[3], extension), "-")
	f.Partition = offsets.Partition{Topic: parts[0], Partition: int32(partition)}
	copy(f.TopicID[:], id)
	var err3, err4 error
	f.First, err3 = strconv.ParseInt(first, 10, 64)
	f.End, err4 = strconv.ParseInt(end, 10, 64)
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil {
			return File{}, false
		}
	}
	return f, found && f.First >= 0 && f.First < f.End && f.Name() == name
}

// Span is a stretch of offsets that is held without a gap: First <= offset < End.
type Span struct{ First, End int64 }

// Files are those of a partition, by their first offsets.
func (a *Archive) Files(ctx context.Context, topicID offsets.Token, p offsets.Partition) ([]File, error) {
	return a.list(ctx, folder(topicID, p))
}

// list returns the files below a folder, by topic, id, partition and first offset.
func (a *Archive) list(ctx context.Context, below string) ([]File, error) {
	objects, err := a.place.list(ctx, below)
	if err != nil {
		return nil, fmt.Errorf("list the archive %s: %w", a.location, err)
	}
	var out []File
	for _, o := range objects {
		if f, ok := parseName(o.name); ok {
			f.Bytes = o.bytes
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(x, y File) int {
		return cmp.Or(cmp.Compare(x.Partition.Topic, y.Partition.Topic), cmp.Compare(x.TopicID.String(), y.TopicID.String()),
			cmp.Compare(x.Partition.Partition, y.Partition.Partition), cmp.Compare(x.First, y.First), cmp.Compare(x.End, y.End))
	})
	return out, nil
}

// Spans are the stretches that files of one partition hold, in order.
func Spans(files []File) []Span {
	var out []Span
	for _, f := range files {
		if n := len(out); n > 0 && f.First <= out[n-1].End {
			out[n-1].End = max(out[n-1].End, f.End)
			continue
		}
		out = append(out, Span{f.First, f.End})
	}
	return out
}
