package consumer

import (
	"errors"
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/internal/kafka"
)

// A few kilobytes of the log can become gigabytes. The client bounds what one batch becomes, and a fetch brings hundreds of them. So what is
// decompressed between two polls has a bound as well, the same one: a batch that comes too late for it is left for the next
// fetch, which the client makes by itself.

// decompressor decompresses batches within a budget. It is safe for concurrent use.
type decompressor struct {
	bounded []kgo.Decompressor // the client's own, each with a bound
	bounds  []int              // ascending, each twice the one before
	used    atomic.Int64       // since the last poll
}

// errLater is the error of a batch for which there is no room before the next poll.
var errLater = errors.New("decompress it after the next poll")

// newDecompressor makes one that decompresses so many bytes at most, of a batch and between two polls.
func newDecompressor(limit int) (*decompressor, error) {
	d := &decompressor{}
	for bound := limit; bound > 0 && len(d.bounds) < 8; bound /= 2 {
		own, err := kafka.Decompressor(bound)
		if err != nil {
			return nil, err
		}
		d.bounded, d.bounds = append([]kgo.Decompressor{own}, d.bounded...), append([]int{bound}, d.bounds...)
	}
	return d, nil
}

// polled makes room for the whole budget.
func (d *decompressor) polled() { d.used.Store(0) }

// Decompress implements [kgo.Decompressor].
func (d *decompressor) Decompress(src []byte, codec kgo.CompressionCodecType) ([]byte, error) {
	if codec == kgo.CodecNone {
		return src, nil
	}
	used, last := d.used.Load(), len(d.bounds)-1
	i := last
	for i >= 0 && int64(d.bounds[i]) > int64(d.bounds[last])-used {
		i--
	}
	if i < 0 {
		return nil, errLater
	}
	out, err := d.bounded[i].Decompress(src, codec)
	switch {
	case err == nil:
		d.used.Add(int64(len(out)))
	case i < last:
		return nil, errLater // with the whole budget it may be small enough
	}
	return out, err
}
