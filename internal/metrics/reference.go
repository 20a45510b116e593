package metrics

import (
	"fmt"
	"strings"
)

// Reference is docs/reference/metrics.md.
func Reference() string {
	var b strings.Builder
	b.WriteString(`# Metrics

What ` + "`/metrics`" + ` of the admin listener has ([docs/monitoring.md](../monitoring.md)), beside the ` + "`go_*` and `process_*`" + ` metrics of client_golang. This page is made
from the code: ` + "`go test ./internal/metrics -update`" + `.

Every metric has the label ` + "`group`" + ` beside those that are listed. Names and labels change in a minor version only, and are told in CHANGELOG.md.

- Series of a partition come from the process that owns it, and are made when they are asked for: what is given away takes its series with it. Take
  ` + "`max by (group, topic, partition)`" + ` over instances, for a moment in which a partition moves. Above ` + "`metrics.partitions`" + ` (500) partitions of a process it has those of topics
  alone, and of partitions that are halted.
- Counters begin at 0 with the process, and survive that its Kafka client is made anew.
- Histograms are classic and native: Prometheus takes the native ones where it is told to.

| metric | type | labels | |
|---|---|---|---|
`)
	for _, d := range definitions() {
		var labels []string
		for _, l := range d.labels {
			text := "`" + l + "`"
			if values := d.values[l]; len(values) > 0 {
				text += " (" + strings.Join(values, ", ") + ")"
			}
			labels = append(labels, text)
		}
		fmt.Fprintf(&b, "| `%s%s` | %s | %s | %s |\n", Prefix, d.name, d.kind, strings.Join(labels, ", "), d.help)
	}
	return b.String()
}
