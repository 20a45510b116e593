package archive

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/oncesink/oncesink/offsets"
)

// At calls take for the records at offsets of a partition, which ascend, as far as there are any: what is not held is left out. Of a file it reads
// the blocks with these offsets, and once what lies before them. It returns how many records it has read to that end. A damaged file is a *DamagedError.
func (a *Archive) At(ctx context.Context, topicID offsets.Token, p offsets.Partition, at []int64, take func(*kgo.Record)) (read int64, err error) {
	if len(at) == 0 {
		return 0, nil
	}
	files, err := a.Files(ctx, topicID, p)
	if err != nil {
		return 0, err
	}
	for len(at) > 0 {
		f, ok := covering(files, at[0])
		if !ok {
			at = at[1:]
			continue
		}
		for len(at) > 0 && at[0] < f.End { // once for each stretch of blocks without a mark that leads further
			read, at, err = a.atIn(ctx, f, at, read, take)
			if err != nil {
				return read, err
			}
		}
	}
	return read, nil
}

// atIn is At for a file, from the block with the first offset on, as long as the next one is where the reading has come to.
func (a *Archive) atIn(ctx context.Context, f File, at []int64, read int64, take func(*kgo.Record)) (int64, []int64, error) {
	err := a.blocks(ctx, f, at[0], func(r *fileReader) (bool, error) {
		records, more, err := r.block(at[0])
		if err != nil {
			return false, err
		}
		read += int64(len(records))
		for _, rec := range records {
			if n, ok := slices.BinarySearch(at, rec.Offset); ok {
				take(rec)
				at = at[n+1:]
				if len(at) == 0 {
					break
				}
			}
		}
		end := r.next
		if !more {
			end = f.End
		}
		for len(at) > 0 && at[0] < end { // of which there is no record
			at = at[1:]
		}
		return more && len(at) > 0 && at[0] < f.End && a.marks.before(f, at[0]).offset <= r.next, nil
	})
	return read, at, err
}

// mark is where a block begins.
type mark struct{ offset, byte int64 }

// marks remember where blocks of files begin that were read, so that the next reader need not begin with the file. They are safe for concurrent use.
type marks struct {
	mu sync.Mutex
	of map[File][]mark // ascending
}

// maxMarked is of how many files: of each, some hundred marks.
const maxMarked = 1000

// add notes where a block begins. Blocks that follow each other are noted in their order; a gap between them costs time, and nothing else.
func (m *marks) add(f File, at mark) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = map[File][]mark{}
	}
	list, known := m.of[f]
	if !known && len(m.of) >= maxMarked {
		for other := range m.of {
			delete(m.of, other)
			break
		}
	}
	if n := len(list); n == 0 || list[n-1].offset < at.offset {
		m.of[f] = append(list, at)
	}
}

// before is the last block that is known to begin at or below an offset; the beginning of the file if there is none.
func (m *marks) before(f File, offset int64) mark {
	m.mu.Lock()
	defer m.mu.Unlock()
	list := m.of[f]
	n, found := slices.BinarySearchFunc(list, offset, func(k mark, o int64) int { return cmp.Compare(k.offset, o) })
	if !found {
		n--
	}
	if n <= 0 { // the first block: the head is read with it
		return mark{f.First, 0}
	}
	return list[n]
}

func (m *marks) forget(f File) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.of, f)
}
