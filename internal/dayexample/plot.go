//go:build unix

package main

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
	"time"
)

// A panel of the plot.
type curve struct {
	title, unit string
	samples     []sample
	steps       bool
}

const (
	plotWidth, panelHeight = 900, 110
	left, right, gap       = 70, 60, 34
)

// plot draws curves below each other over the same time, with the marks.
func plot(curves []curve, marks []mark, from, to time.Time) string {
	var b strings.Builder
	height := len(curves)*(panelHeight+gap) + 130
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n", plotWidth, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", plotWidth, height)
	span := to.Sub(from).Seconds()
	x := func(t time.Time) float64 { return left + t.Sub(from).Seconds()/span*(plotWidth-left-right) }
	bottom := len(curves)*(panelHeight+gap) + 4
	for _, m := range marks {
		fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="20" y2="%d" stroke="#bbb" stroke-dasharray="3 3"/>`+"\n", x(m.at), x(m.at), bottom)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" fill="#555" font-size="11" transform="rotate(35 %.1f %d)">%s</text>`+"\n", x(m.at), bottom+12, x(m.at), bottom+12, html.EscapeString(m.name))
	}
	for i, c := range curves {
		top := i*(panelHeight+gap) + 26
		high := 0.0
		for _, s := range c.samples {
			high = math.Max(high, s.v)
		}
		if high == 0 {
			high = 1
		}
		y := func(v float64) float64 { return float64(top) + panelHeight*(1-v/high) }
		fmt.Fprintf(&b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", left, top-6, html.EscapeString(c.title))
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text><text x="%d" y="%d" text-anchor="end">0 %s</text>`+"\n", left-6, top+10, plain(high), left-6, top+panelHeight, html.EscapeString(c.unit))
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%d" y2="%d" stroke="#999"/>`+"\n", left, plotWidth-right, top+panelHeight, top+panelHeight)
		var path strings.Builder
		for j, s := range c.samples {
			switch {
			case j == 0 || s.at.Sub(c.samples[j-1].at) > 5*time.Second:
				fmt.Fprintf(&path, "M%.1f %.1f", x(s.at), y(s.v))
			case c.steps:
				fmt.Fprintf(&path, "H%.1fV%.1f", x(s.at), y(s.v))
			default:
				fmt.Fprintf(&path, "L%.1f %.1f", x(s.at), y(s.v))
			}
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="#1f6feb" stroke-width="1.5"/>`+"\n", path.String())
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// plain is a number without an exponent, in three digits, or all that stand before the point.
func plain(v float64) string {
	digits := max(0, 2-int(math.Floor(math.Log10(math.Max(v, 1e-6)))))
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}
