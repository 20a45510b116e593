package engine

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/oncesink/oncesink/internal/testenv"
	"github.com/oncesink/oncesink/sink"
)

// distribute lets the tables of an engine be written by the statements of distributed ones, by a server that has all rows itself.
func (e *engine) distribute() {
	for _, t := range e.tables {
		t.Distributed = true
	}
}

// Rules 11, 13 and 16 hold of tables that Citus distributes: their statements leave what the others leave. What Citus makes of them is tried by
// docs/citus.md's example.
func TestDistributedHistories(t *testing.T) {
	for _, h := range historyTables {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			r := newHistoryRig(t, h.notNull, h.follow, h.table)
			r.e.distribute()
			r.e.tables[0].learn.ordered.Store(h.ordered)
			for n := range max(2, *histories/4) {
				if problem := r.run(*seed+uint64(n), h.partitions); problem != "" {
					t.Fatalf("go test -seed %d -histories 1: %s", *seed+uint64(n), problem)
				}
			}
			t.Logf("seed %d", *seed)
		})
	}
}

// So do those of children. A replay locks the rows that it finds, and writes none.
func TestDistributedSets(t *testing.T) {
	setsComeOut(t, testenv.Times(1, 5), strings.ReplaceAll(shopPhysical, ", xmax", ", 0"), (*engine).distribute)
}

// Rules 17 and 18 hold of them as well: what is refused is found, and nobody is blamed whom the tables would not have refused in its turn. Citus can't
// plan a statement whose values it doesn't know, as a generic plan is.
func TestDistributedPoison(t *testing.T) {
	for i, x := range poisonTables {
		if x.name != "guarded, with children and a delete memory" && x.name != "appended" {
			continue // Citus has no triggers, nor keys to tables elsewhere
		}
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			batches, single := openPoison(t, i), openPoison(t, i)
			batches.distribute()
			for n := range *poisoned {
				seed := *seed + uint64(n)
				r, from := rand.New(rand.NewPCG(seed, uint64(17+i))), 10_000*n
				for range testenv.Times(2, 24) {
					log := poisonedLog(r, 20+r.IntN(30), from, distributedPoison)
					from += len(log)
					batches.writeRecords(log...)
					for _, rec := range log {
						single.writeRecords(rec)
					}
					if problem := differences(batches, single); problem != "" {
						t.Fatalf("go test -run TestDistributedPoison -seed %d -poisoned 1: %s", seed, problem)
					}
				}
			}
			if mode := batches.plan().planOften(); mode != "force_custom_plan" {
				t.Errorf("plan_cache_mode is %s", mode)
			}
			t.Logf("seed %d", *seed)
		})
	}
}

// Those who are refused are found at once, and no batch is halved for them: each half takes statements on all nodes. A node's error comes without what
// tells whose fault it is, for records that are tried alone as well. Those of which it matters what they meet of their keys are found without the others.
func TestDistributedSuspects(t *testing.T) {
	db := newDatabase(t, `create function planned() returns bool language plpgsql as $$ begin
			if current_setting('plan_cache_mode') = 'force_generic_plan' then raise feature_not_supported using message = 'could not create distributed plan'; end if;
			return true; end $$`,
		"create table q (id int primary key, v int, qty int, constraint a check (planned()), constraint positive check (qty > 0))")
	e := db.open(sink.Config{DeadLetters: sink.DeadLetters{MaxRatio: 1, MaxConsecutive: -1}, Tables: []sink.TableConfig{
		{Name: "q", Topics: []string{"o"}, Key: []string{"id"}, Version: "v", RecordKey: map[string]string{"id": "$key"}}}},
		func(c *pgxpool.Config) {
			c.ConnConfig.BuildFrontend = func(r io.Reader, w io.Writer) *pgproto3.Frontend {
				return pgproto3.NewFrontend(&passedOn{from: r}, w)
			}
		})
	e.distribute()
	var records []sink.Record
	for i := range 40 {
		id, v, qty := i, i, i%4
		if i > 30 { // of one key, each older than the one before
			id, v, qty = 100, -i, 0
		}
		records = append(records, incoming("o", int64(i), fmt.Sprint(id), fmt.Sprintf(`{"id":%d,"v":%d,"qty":%d}`, id, v, qty)))
	}
	e.writeRecords(records[:36]...)
	db.Want("23", "select count(*) from q")
	db.Want("13|23514|positive|positive", "select count(*), min(code), min(constraint_name), max(constraint_name) from oncesink.dead_letters")
	if n := e.Stats().Bisections; n != 0 {
		t.Errorf("%d batches were halved", n)
	}
}

// passedOn are a server's messages in which the errors of constraints are as Citus passes on those of its nodes.
type passedOn struct {
	from io.Reader
	next bytes.Buffer
}

func (p *passedOn) Read(into []byte) (int, error) {
	for p.next.Len() == 0 {
		head := make([]byte, 5)
		if _, err := io.ReadFull(p.from, head); err != nil {
			return 0, err
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(p.from, body); err != nil {
			return 0, err
		}
		message := append(head, body...)
		var e pgproto3.ErrorResponse
		if head[0] == 'E' {
			if err := e.Decode(body); err != nil {
				return 0, err
			}
		}
		if e.Code == "23514" {
			e.Code, e.Routine, e.SchemaName, e.TableName, e.ConstraintName, e.Detail = "XX000", "ReportCopyError", "", "", "", ""
			e.Message = strings.ReplaceAll(e.Message, `"q"`, `"q_102008"`)
			var err error
			if message, err = e.Encode(nil); err != nil {
				return 0, err
			}
		}
		p.next.Write(message)
	}
	return p.next.Read(into)
}
