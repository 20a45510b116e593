package demo

import (
	"fmt"
	"strings"
)

// hints says what to try while everything is up.
func (d *demo) hints() {
	at := func(format string, args ...any) string { return "    " + fmt.Sprintf(format, args...) + "\n" }
	d.plain("\nEverything stays up until you press ctrl-C: the broker at " + strings.Join(d.servers.brokers, ",") + ",\n" +
		"PostgreSQL at " + d.servers.url + ", both workers. Try, in another terminal:\n\n" +
		at("psql '%s' -c 'select status, count(*), sum(amount) from orders group by 1'", d.servers.url) +
		at("psql '%s' -c 'select * from oncesink.status'", d.servers.url) +
		at("%s status -c %s", d.Program, d.config) +
		at("%s generate --brokers %s --topic %s --seed %d --rate 200 --count 2000", d.Program, d.servers.brokers[0], topic, d.Seed) +
		at("psql '%s' -c \"select oncesink.rewind('%s', '%s', null, 0)\"", d.servers.url, group, topic) +
		"\nLogs of the workers: " + d.workers[0].log + ", " + d.workers[1].log)
}

// tails shows the ends of the workers' logs, after a failure.
func (d *demo) tails() {
	for _, w := range d.workers {
		lines, err := w.logged(0)
		if err != nil {
			lines = []string{err.Error()}
		}
		d.plain("\nThe end of the log of " + w.name + ":")
		for _, line := range lines[max(0, len(lines)-15):] {
			d.plain("  " + line)
		}
	}
}
