package torture

import (
	"cmp"
	"slices"
)

// rows are those of the matrix, in order.
func rows() []row {
	all := slices.Concat(kafkaRows, postgresRows)
	slices.SortFunc(all, func(a, b row) int { return cmp.Compare(a.n, b.n) })
	return all
}
