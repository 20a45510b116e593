package page

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// spark is one line over a quarter of an hour.
type spark struct {
	Name string `json:"name"`
	// Now is the last value that is known, Most the highest; null: nothing is known.
	Now  *float64 `json:"now"`
	Most *float64 `json:"most"`
	// Values of slots of 5 s, the oldest first; null: not known.
	Values []*float64 `json:"values"`

	NowText  string `json:"-"`
	MostText string `json:"-"`
	Unit     string `json:"-"`
	Line     string `json:"-"` // of a path in a box of sparkWidth x sparkHeight
	Area     string `json:"-"`
}

const (
	sparkWidth  = 360
	sparkHeight = 48
)

func (p *Page) sparks(now time.Time) []spark {
	since := p.began
	return []spark{
		newSpark("Records", "per second", p.history.series(now, since, func(s *slot) float64 { return float64(s.records) / slotWidth.Seconds() }), rate, true),
		newSpark("Behind", "the oldest record that waits", p.history.series(now, since, func(s *slot) float64 {
			if !s.lagKnown {
				return math.NaN()
			}
			return s.lag
		}), seconds, false),
		newSpark("Transaction", "99 of 100 are quicker", p.history.series(now, since, func(s *slot) float64 { return s.percentile(0.99) }), seconds, false),
	}
}

// newSpark draws values. Where a value holds until the next one, it is not; gaps of one slot and more are left blank.
func newSpark(name, unit string, values []float64, text func(float64) string, fromZero bool) spark {
	s := spark{Name: name, Unit: unit, NowText: "–", MostText: "–"}
	most, last := math.NaN(), math.NaN()
	for i, v := range values {
		if math.IsNaN(v) {
			s.Values = append(s.Values, nil)
			continue
		}
		s.Values = append(s.Values, &values[i])
		if !(v <= most) {
			most = v
		}
		if i >= len(values)-3 {
			last = v
		}
	}
	if !math.IsNaN(most) {
		s.Most, s.MostText = &most, text(most)
	}
	if !math.IsNaN(last) {
		s.Now, s.NowText = &last, text(last)
	}
	var line, area strings.Builder
	scale := max(most, math.SmallestNonzeroFloat64)
	x := func(i int) float64 { return float64(i) * sparkWidth / float64(max(1, len(values)-1)) }
	for i := 0; i < len(values); {
		if math.IsNaN(values[i]) {
			i++
			continue
		}
		from := i
		for ; i < len(values) && !math.IsNaN(values[i]); i++ {
			y := sparkHeight - 2 - values[i]/scale*(sparkHeight-4)
			fmt.Fprintf(&line, "%s%.1f %.1f", either(i == from, "M", "L"), x(i), y)
			fmt.Fprintf(&area, "%s%.1f %.1f", either(i == from, fmt.Sprintf("M%.1f %dL", x(i), sparkHeight), "L"), x(i), y)
		}
		if i == from+1 { // a point of its own
			fmt.Fprintf(&line, "h1.5")
		}
		fmt.Fprintf(&area, "L%.1f %dZ", x(i-1), sparkHeight)
	}
	s.Line, s.Area = line.String(), area.String()
	return s
}
