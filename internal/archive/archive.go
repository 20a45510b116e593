// Package archive keeps the records of topics in files, for as long as the files are there: the way out of a log's retention.
//
// A file holds a range of offsets of one partition. Its name says which, so the listing of a directory says what is held; there is
// no other state. Files appear whole, and never change. docs/archive.md has the format, byte for byte.
package archive

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/offsets"
)

// Options say how a place is reached. A bucket has them.
type Options struct {
	Endpoint string // of a store that speaks S3's protocol; empty: Amazon's
	Region   string // of the bucket; empty: as AWS' own programs find it
}

// Archive is a place with the records of topics. It is safe for concurrent use.
type Archive struct {
	place    place
	location string
	enc      *zstd.Encoder
	dec      *zstd.Decoder
	marks    marks
}

// Source is a partition of a topic of one id: what a file's records are of.
type Source struct {
	Cluster   string // the id of the cluster that they were read from
	TopicID   offsets.Token
	Partition offsets.Partition
}

// Open opens an archive: a directory, as file:///PATH or a path, or a part of a bucket, as s3://BUCKET/PREFIX. It need not be there
// yet: then nothing is held. Nothing is connected to.
func Open(ctx context.Context, location string, o Options) (*Archive, error) {
	scheme, rest, err := parse(location)
	if err != nil {
		return nil, fmt.Errorf("archive location %w", err)
	}
	a := &Archive{place: &directory{root: rest}, location: location}
	if scheme == "s3" {
		if a.place, err = openBucket(ctx, rest, o); err != nil {
			return nil, fmt.Errorf("archive %s: %w", location, err)
		}
	}
	if a.enc, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest)); err != nil {
		return nil, err
	}
	// A block says what it becomes, and becomes no more.
	a.dec, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true))
	return a, err
}

// CheckLocation says what is wrong with a location.
func CheckLocation(location string) error {
	_, _, err := parse(location)
	return err
}

// parse returns what kind of place a location is, file or s3, and where in it.
func parse(location string) (scheme, rest string, err error) {
	scheme, rest, found := strings.Cut(location, "://")
	switch {
	case location == "":
		return "", "", errors.New("is empty: name a directory, or s3://BUCKET/PREFIX")
	case !found:
		return "file", location, nil
	case scheme == "file":
		u, err := url.Parse(location)
		if err != nil || u.Host != "" && u.Host != "localhost" || !path.IsAbs(u.Path) {
			return "", "", fmt.Errorf("%s: write file:///PATH, with an absolute path", location)
		}
		return scheme, u.Path, nil
	case scheme == "s3":
		if bucket, _, _ := strings.Cut(rest, "/"); bucket == "" || strings.ContainsAny(rest, "@:?#") {
			return "", "", errors.New("of a bucket is s3://BUCKET/PREFIX: the endpoint has a key of its own, and credentials come from the environment")
		}
		return scheme, strings.TrimRight(rest, "/"), nil
	}
	return "", "", fmt.Errorf("begins with %s://, which is not known: name a directory, file:///PATH or s3://BUCKET/PREFIX", scheme)
}

// String is the location.
func (a *Archive) String() string { return a.location }

// Span says which offsets of a partition the archive holds without a gap: first <= offset < end. Records that were of aborted
// transactions, or that compaction had removed when the files were made, lack; control records count as held. Of several stretches with gaps between them it is
// the last. ok is false if there is none.
func (a *Archive) Span(ctx context.Context, topicID offsets.Token, p offsets.Partition) (first, end int64, ok bool, err error) {
	files, err := a.Files(ctx, topicID, p)
	if err != nil || len(files) == 0 {
		return 0, 0, false, err
	}
	spans := Spans(files)
	last := spans[len(spans)-1]
	return last.First, last.End, true, nil
}

// Read yields the records from an offset on in order, in batches of bounded size, until the end of the stretch that is held
// without a gap, the context's end, whose error it returns, or yield returns false. The records are yield's to keep. An offset that is not held is a *NotHeldError; at the end of the last stretch
// there is nothing to yield, and no error. A file that is damaged is a *DamagedError, never a record that is skipped.
func (a *Archive) Read(ctx context.Context, topicID offsets.Token, p offsets.Partition, from int64, yield func([]*kgo.Record) bool) error {
	files, err := a.Files(ctx, topicID, p)
	if err != nil {
		return err
	}
	next := from
	for {
		f, ok := covering(files, next)
		if !ok {
			break
		}
		more, err := a.readFile(ctx, f, next, yield)
		if err != nil || !more {
			return err
		}
		next = f.End
	}
	if spans := Spans(files); next > from || len(spans) > 0 && from == spans[len(spans)-1].End {
		return nil
	}
	return &NotHeldError{Archive: a.location, Partition: p, TopicID: topicID, Offset: from, Spans: Spans(files)}
}

// covering is the file with an offset that goes on furthest.
func covering(files []File, offset int64) (best File, ok bool) {
	for _, f := range files {
		if f.First > offset {
			break
		}
		if f.End > offset && (!ok || f.End > best.End) {
			best, ok = f, true
		}
	}
	return best, ok
}
