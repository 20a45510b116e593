package demo

import (
	"fmt"
	"path/filepath"
	"strings"
)

// hints says what to try while everything is up.
func (d *demo) hints() {
	d.plain("\n" + d.fitted(fmt.Sprintf("Everything stays up until you press ctrl-C: PostgreSQL, the broker at %s, and both workers, with their logs in %s. Each has a page; open one in a browser:",
		d.servers.brokers[0], d.dir)))
	d.plain(fmt.Sprintf(`
  %[9]s
  %[10]s

Try, in another terminal:

  export DATABASE_URL='%[3]s'
  psql "$DATABASE_URL" -c 'select status, count(*) from orders group by 1'
  psql "$DATABASE_URL" -c 'select * from oncesink.status'
  psql "$DATABASE_URL" -c "select oncesink.rewind('%[4]s', '%[5]s', null, 0)"
  %[6]s status -c %[2]s/%[7]s
  %[6]s generate --brokers %[1]s --topic %[5]s --seed %[8]d
`, d.servers.brokers[0], d.dir, strings.TrimSuffix(d.servers.url, "?sslmode=disable"), group, topic, d.Program, filepath.Base(d.config), d.Seed, d.workers[0].page, d.workers[1].page))
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
