package page

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
)

// number has its thousands apart.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "−", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// anyNumber is number of what a template has.
func anyNumber(n any) string {
	switch n := n.(type) {
	case int:
		return number(int64(n))
	case int32:
		return number(int64(n))
	case int64:
		return number(n)
	case *int64:
		return number(*n)
	}
	return fmt.Sprint(n)
}

// rate is a number per second.
func rate(v float64) string {
	switch {
	case v == 0:
		return "0"
	case v < 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return number(int64(math.Round(v)))
}

// seconds is a duration in the unit that suits it.
func seconds(s float64) string {
	switch {
	case s == 0:
		return "0 s"
	case s < 0.01:
		return fmt.Sprintf("%.1f ms", s*1000)
	case s < 1:
		return fmt.Sprintf("%.0f ms", s*1000)
	case s < 10:
		return fmt.Sprintf("%.1f s", s)
	case s < 120:
		return fmt.Sprintf("%.0f s", s)
	case s < 2*3600:
		return fmt.Sprintf("%.0f min", s/60)
	case s < 48*3600:
		return fmt.Sprintf("%.0f h", s/3600)
	}
	return fmt.Sprintf("%s d", number(int64(s/86400)))
}

// ago is how long a moment is past.
func ago(now, t time.Time) string {
	d := now.Sub(t).Seconds()
	switch {
	case d < 1:
		return "now"
	case d < 120:
		return fmt.Sprintf("%d s ago", int(d))
	}
	return seconds(d) + " ago"
}

// whereOf names partitions of a topic, with ranges, and not too many.
func whereOf(topic string, partitions []int32) string {
	if topic == "" || len(partitions) == 0 {
		return topic
	}
	sorted := slices.Sorted(slices.Values(partitions))
	var parts []string
	for i := 0; i < len(sorted); {
		j := i
		for j+1 < len(sorted) && sorted[j+1] == sorted[j]+1 {
			j++
		}
		switch {
		case j == i:
			parts = append(parts, fmt.Sprint(sorted[i]))
		default:
			parts = append(parts, fmt.Sprintf("%d–%d", sorted[i], sorted[j]))
		}
		i = j + 1
	}
	const most = 6
	if len(parts) > most {
		return fmt.Sprintf("%s, %s partitions", topic, number(int64(len(sorted))))
	}
	return topic + "/" + strings.Join(parts, ", ")
}

func trimState(at offsets.Partition, text string) string { return wiring.Reason(at, "halted", text) }
