package main

import (
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
)

// draw writes a bar chart of rows per second, fresh and updates side by side for each
// program and way; the file's extension says in which format.
func draw(file string, rs []result) error {
	p := plot.New()
	p.Title.Text = "rows per second into PostgreSQL, orders of about 270 bytes of JSON"
	p.X.Label.Text = "thousand rows per second"
	p.X.Min = 0
	p.Legend.Top, p.Legend.Left = false, false
	var names []string
	bars := map[string]plotter.Values{}
	loads := []string{"updates", "fresh"}
	for _, r := range slices.Backward(rs) {
		name := r.Who + ", " + r.Variant
		if !slices.Contains(loads, r.Load) || slices.Contains(names, name) {
			continue
		}
		names = append(names, name)
		for _, load := range loads {
			v := 0.0
			for _, x := range rs {
				if x.Who == r.Who && x.Variant == r.Variant && x.Load == load {
					v = x.rate() / 1000
				}
			}
			bars[load] = append(bars[load], v)
		}
	}
	const width = 8
	colors := map[string]color.Color{"fresh": color.RGBA{0x1f, 0x77, 0xb4, 0xff}, "updates": color.RGBA{0xff, 0x7f, 0x0e, 0xff}}
	for i, load := range loads {
		chart, err := plotter.NewBarChart(bars[load], vg.Points(width))
		if err != nil {
			return err
		}
		chart.Horizontal = true
		chart.Color = colors[load]
		chart.LineStyle.Width = 0
		chart.Offset = vg.Points(float64(i)*width - width/2)
		p.Add(chart)
		p.Legend.Add(load, chart)
	}
	p.NominalY(names...)
	p.X.Max *= 1.05
	return p.Save(9*vg.Inch, vg.Length(1+0.32*float64(len(names)))*vg.Inch, file)
}
