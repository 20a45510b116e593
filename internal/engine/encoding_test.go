package engine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/oncesink/oncesink/sink"
)

// Rule 15: events are UTF-8, whatever the database's encoding is, and whatever clients it expects. A character that
// the database lacks makes a dead letter.
func TestEncodings(t *testing.T) {
	for _, tt := range []struct {
		name, create, set string
		lacks             int // records with a character that is not in it
	}{
		{"LATIN1", "create database %s encoding 'LATIN1' locale 'C' template template0", "", 1},
		{"clients in LATIN1", "create database %s", "alter database %s set client_encoding = 'LATIN1'", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			admin := newDatabase(t)
			name := admin.Lines("select current_database() || '_other'")
			admin.Do(fmt.Sprintf(tt.create, name))
			if tt.set != "" {
				admin.Do(fmt.Sprintf(tt.set, name))
			}
			db := databaseAt(t, strings.Replace(admin.URL, admin.Lines("select current_database()"), name, 1), "set client_encoding = 'UTF8'",
				`create table q (id text primary key, "größe" text)`)
			e := db.upsert("q", sink.TableConfig{Key: []string{"id"}})
			const n = 200
			var evs []ev
			for i := range n {
				evs = append(evs, ev{offset: int64(i), cols: fmt.Sprintf("id=é%d größe=äöü", i)})
			}
			evs[7].cols = "id=€7 größe=äöü"
			e.write(e.part("o", 0, evs...))
			db.Want(fmt.Sprintf("%d|%d", n-tt.lacks, 3*(n-tt.lacks)), `select count(*), sum(length("größe")) from q`)
			db.Want(fmt.Sprint(n-1), "select count(*) from q where left(id, 1) = 'é'")
			db.Want(fmt.Sprint(tt.lacks), "select count(*) from oncesink.dead_letters where code = '22P05'")
		})
	}
}
