package sinktest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"

	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// input is the case's records by partition.
type input struct {
	partitions []offsets.Partition // sorted
	records    map[offsets.Partition][]sink.Record
	listed     []target // for each record as listed, the position after it
}

// target is a position to be reached in a partition.
type target struct {
	offsets.Partition
	to int64
}

// transaction is the positions that one moves to: one for each partition, in the
// order in which the partitions are handed over.
type transaction []target

// plan is the transactions of a run.
type plan []transaction

func (t transaction) String() string {
	var b strings.Builder
	for i, target := range t {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%s up to offset %d", target.Partition, target.to-1)
	}
	return b.String()
}

// newInput sorts the records by partition, and numbers them where they have no offsets.
func newInput(records []sink.Record) (*input, error) {
	in := &input{records: map[offsets.Partition][]sink.Record{}}
	numbered := map[offsets.Partition]bool{}
	for _, r := range records {
		p := offsets.Partition{Topic: r.Topic, Partition: r.Partition}
		if r.Offset != 0 {
			numbered[p] = true
		}
	}
	for i, r := range records {
		p := offsets.Partition{Topic: r.Topic, Partition: r.Partition}
		before := in.records[p]
		if !numbered[p] {
			r.Offset = int64(len(before))
		}
		if n := len(before); r.Offset < 0 || n > 0 && before[n-1].Offset >= r.Offset {
			return nil, fmt.Errorf("record %d: offset %d of %s does not ascend", i, r.Offset, p)
		}
		if before == nil {
			in.partitions = append(in.partitions, p)
		}
		in.records[p] = append(before, r)
		in.listed = append(in.listed, target{p, r.Offset + 1})
	}
	slices.SortFunc(in.partitions, func(a, b offsets.Partition) int {
		return cmp.Or(strings.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
	})
	return in, nil
}

// find returns the index of the first record at or above the offset.
func find(records []sink.Record, offset int64) int {
	return sort.Search(len(records), func(i int) bool { return records[i].Offset >= offset })
}

// span is the transaction of the records from lo up to hi, as listed.
func (in *input) span(lo, hi int) transaction {
	var t transaction
	for _, next := range in.listed[lo:hi] {
		i := slices.IndexFunc(t, func(x target) bool { return x.Partition == next.Partition })
		if i < 0 {
			t = append(t, next)
		} else {
			t[i].to = next.to
		}
	}
	return t
}

// inOrder is the records as listed, size() of them in a transaction.
func (in *input) inOrder(size func() int) plan {
	var out plan
	for lo, hi := 0, 0; lo < len(in.listed); lo = hi {
		hi = min(len(in.listed), lo+size())
		out = append(out, in.span(lo, hi))
	}
	return out
}

// thirds is the records as listed, in three transactions with random borders, or as many as
// there are records.
func (in *input) thirds(rng *rand.Rand) plan {
	n := len(in.listed)
	if n < 4 {
		return in.inOrder(func() int { return 1 })
	}
	a := 1 + rng.IntN(n-2)
	b := a + 1 + rng.IntN(n-a-1)
	return plan{in.span(0, a), in.span(a, b), in.span(b, n)}
}

// apart is one partition after the other, the last one first.
func (in *input) apart(batch int) plan {
	var out plan
	for _, p := range slices.Backward(in.partitions) {
		records := in.records[p]
		for i := 0; i < len(records); i += batch {
			out = append(out, transaction{{p, records[min(len(records), i+batch)-1].Offset + 1}})
		}
	}
	return out
}

// shuffled is a random interleaving of the partitions. A transaction brings up to batch
// records of each of some partitions.
func (in *input) shuffled(rng *rand.Rand, batch int) plan {
	var out plan
	at := make([]int, len(in.partitions)) // how many records of each are in the plan
	for left := len(in.listed); left > 0; {
		var t transaction
		for _, i := range rng.Perm(len(in.partitions))[:1+rng.IntN(min(3, len(in.partitions)))] {
			p := in.partitions[i]
			records := in.records[p]
			n := min(len(records)-at[i], 1+rng.IntN(batch))
			if n <= 0 {
				continue
			}
			at[i] += n
			left -= n
			t = append(t, target{p, records[at[i]-1].Offset + 1})
		}
		if len(t) > 0 {
			out = append(out, t)
		}
	}
	return out
}

// all is one transaction of everything.
func (in *input) all() transaction { return in.span(0, len(in.listed)) }
