package demo

import (
	"fmt"
	"path/filepath"
)

// hints says what to try while everything is up.
func (d *demo) hints() {
	d.plain(fmt.Sprintf(`
Everything stays up until you press ctrl-C: PostgreSQL, the broker at %[1]s, and
both workers, with their logs in %[2]s. Each has a page; open one in a browser:

  %[9]s
  %[10]s

Try, in another terminal:

  export DATABASE_URL='%[3]s'
  psql "$DATABASE_URL" -c 'select status, count(*), sum(amount) from orders group by 1'
  psql "$DATABASE_URL" -c 'select * from oncesink.status'
  psql "$DATABASE_URL" -c "select oncesink.rewind('%[4]s', '%[5]s', null, 0)"
  %[6]s status -c %[2]s/%[7]s
  %[6]s generate --brokers %[1]s --topic %[5]s --seed %[8]d
`, d.servers.brokers[0], d.dir, d.servers.url, group, topic, d.Program, filepath.Base(d.config), d.Seed, d.workers[0].page, d.workers[1].page))
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
