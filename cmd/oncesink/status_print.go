package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
)

func (r *statusReport) print(w io.Writer) {
	r.printWith(w, positions{of: r.Partitions})
}

// positions are what a table shows.
type positions struct {
	of     []partitionStatus
	topics bool                          // each is a topic, whose number is how many partitions it has
	rates  map[offsets.Partition]float64 // records per second; nil: no such column
}

func (r *statusReport) printWith(w io.Writer, at positions) {
	fmt.Fprintf(w, "group %s\n", r.Group)
	if len(r.Partitions) > 0 {
		at.print(w)
		r.printOwners(w)
	} else {
		fmt.Fprintln(w, "no positions yet: nothing has run for this group")
	}
	for _, n := range r.notes(notesTold) {
		printWrapped(w, "", n)
	}
	r.printLetters(w)
	for i := range r.NewFields {
		printWrapped(w, "", r.NewFields[i].String())
	}
	for i := range r.Verified {
		if v := &r.Verified[i]; v.Sum() > 0 {
			printWrapped(w, "", fmt.Sprintf("%s has %d mismatch(es) with its topics (%s): `oncesink verify TABLE --sample 1 --show-keys` names some, and `oncesink rebuild TABLE` corrects them", v.Table, v.Sum(), v.Kinds()))
		}
	}
	for _, h := range r.History {
		printWrapped(w, "", fmt.Sprintf("%s lacks the events of %s/%d before offset %d", h.Table, h.Topic, h.Partition, h.Since))
	}
}

// print writes them as a table. The topics' names take what the numbers leave of the screen's width.
func (at positions) print(w io.Writer) {
	head := []string{"topic", "part.", "position", "lag", "age", "state"}
	if at.topics {
		head = slices.Delete(head, 2, 3)
	}
	if at.rates != nil {
		head = slices.Insert(head, len(head)-1, "per s")
	}
	rows := [][]string{head}
	for i := range at.of {
		p := &at.of[i]
		lag, behind, state := "?", "?", p.State
		if p.Lag != nil {
			lag = fmt.Sprint(*p.Lag)
		}
		if p.LagSeconds != nil {
			behind = age(*p.LagSeconds)
		}
		if state == stateHalted || state == stateStuck {
			state = strings.ToUpper(state)
		}
		row := []string{p.Topic, fmt.Sprint(p.Partition)}
		if !at.topics {
			row = append(row, fmt.Sprint(p.Position))
		}
		row = append(row, lag, behind)
		if at.rates != nil {
			row = append(row, thousands(int64(at.rates[p.at()]+0.5)))
		}
		rows = append(rows, append(row, state))
	}
	left := screen - 1
	for i := range rows[0] {
		left -= 3 // a line and two blanks
		if i > 0 {
			left -= len(slices.MaxFunc(rows, func(a, b []string) int { return cmp.Compare(len(a[i]), len(b[i])) })[i])
		}
	}
	t := table.NewWriter()
	t.SetOutputMirror(w)
	t.SetStyle(table.StyleLight)
	columns := []table.ColumnConfig{{Number: 1, WidthMax: max(8, left)}}
	for n := 2; n < len(head); n++ {
		columns = append(columns, table.ColumnConfig{Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	shortenRepeats(rows, max(8, left))
	for i, cells := range rows {
		row := table.Row{}
		for _, c := range cells {
			row = append(row, c)
		}
		if i == 0 {
			t.AppendHeader(row)
		} else {
			t.AppendRow(row)
		}
	}
	t.Render()
}

// shortenRepeats leaves a name that takes several lines to the first of the rows that have it.
func shortenRepeats(rows [][]string, width int) {
	last := ""
	for _, row := range rows[1:] {
		if row[0] == last && len(last) > width {
			row[0] = ""
			continue
		}
		last = row[0]
	}
}

// printOwners says which process has which partitions.
func (r *statusReport) printOwners(w io.Writer) {
	var owners []string
	has, stopped := map[string][]string{}, map[string]bool{}
	for i := range r.Partitions {
		p := &r.Partitions[i]
		if p.Owner == "" {
			continue
		}
		if has[p.Owner] == nil {
			owners = append(owners, p.Owner)
		}
		stopped[p.Owner] = !p.OwnerAlive
		has[p.Owner] = append(has[p.Owner], fmt.Sprintf("%s/%d", p.Topic, p.Partition))
	}
	for _, o := range owners {
		of := strings.Join(has[o], ", ")
		if n := len(has[o]); n > maxTold {
			of = fmt.Sprintf("%d partitions", n)
		}
		verb := " has "
		if stopped[o] {
			verb = " had "
		}
		printWrapped(w, "", o+verb+of)
	}
}

// notesTold bounds how many partitions of a topic a person is told why they stand still: it is mostly the same.
const notesTold = 4

// openFor is how long a transaction of a producer may be open without anybody being told: Kafka ends one after that, unless the producer asked for longer.
const openFor = time.Minute

// notes are what is to be said of partitions beside their numbers, of so many of a topic that stand still at most. Those come first.
func (r *statusReport) notes(most int) (notes []string) {
	standing := map[string]int{}
	var open, runbooks []string
	for i, p := range r.Partitions {
		at := p.at()
		if p.Open != nil && *p.Open > 0 && p.OpenSeconds != nil && *p.OpenSeconds >= openFor.Seconds() {
			open = append(open, fmt.Sprintf("%s: %d more offset(s) can't be read before a transaction ends that has been open for %s: if it hangs, kafka-transactions.sh finds and aborts it", at, *p.Open, age(*p.OpenSeconds)))
		}
		if p.State == stateHalted || p.State == stateStuck {
			standing[p.Topic]++
		}
		last := i == len(r.Partitions)-1 || r.Partitions[i+1].Topic != p.Topic
		if n := standing[p.Topic]; n > most {
			if last {
				notes = append(notes, fmt.Sprintf("%s: %d more partition(s) stand still: `oncesink status --json` says why", p.Topic, n-most))
			}
			continue
		}
		switch p.State {
		case stateHalted:
			notes = append(notes, fmt.Sprintf("%s halted: %s", at, wiring.Reason(at, stateHalted, p.Halted)))
		case stateStuck:
			notes = append(notes, fmt.Sprintf("%s stuck: %s", at, wiring.Reason(at, stateStuck, p.Stuck)))
		}
		if p.Runbook != "" && !slices.Contains(runbooks, p.Runbook) {
			runbooks = append(runbooks, p.Runbook)
		}
	}
	for _, steps := range runbooks {
		notes = append(notes, stepByStep+steps)
	}
	return append(notes, open...)
}

// printLetters shows the dead letters, the most frequent kinds of them.
func (r *statusReport) printLetters(w io.Writer) {
	if len(r.Letters) == 0 {
		return
	}
	fmt.Fprintln(w, "dead letters (`oncesink dead-letters stats`):")
	for i, x := range r.Letters {
		if i == maxTold {
			fmt.Fprintf(w, "  and %d more kinds\n", len(r.Letters)-maxTold)
			break
		}
		printWrapped(w, "  ", fmt.Sprintf("%s, the last %s", x.refusedReport, x.Last.UTC().Format(time.RFC3339)))
	}
}
