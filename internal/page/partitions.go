package page

import (
	"cmp"
	"net/url"
	"slices"
	"time"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/offsets"
)

// foldAbove so many partitions they are folded by topic.
const foldAbove = 50

// The states of partitions that other processes have, or nobody; those of this process are consumer's.
const (
	stuck   = "stuck"   // its owner fails at the same again and again
	stopped = "stopped" // its owner has no session in the database
	unowned = "unowned" // nobody has claimed it yet
)

// states in the order of how much they need a person, the worst first.
var states = []string{string(consumer.Halted), stuck, stopped, unowned, string(consumer.Waiting), string(consumer.Claiming), string(consumer.Paused), string(consumer.Running)}

// partition is one of the group. Lags are null where they are not known: of other processes, which know them themselves.
type partition struct {
	Topic     string     `json:"topic"`
	Partition int32      `json:"partition"`
	State     string     `json:"state"`
	Since     *time.Time `json:"since,omitempty"` // in this state, of partitions of this process
	Reason    string     `json:"reason,omitempty"`
	Error     string     `json:"error,omitempty"`
	Position  int64      `json:"position"`
	Lag       *int64     `json:"lag"`
	Behind    *float64   `json:"lag_seconds"`
	Owner     string     `json:"owner"`
	Here      bool       `json:"here"` // this process has it
	Committed *time.Time `json:"committed"`
}

func (p *partition) at() offsets.Partition {
	return offsets.Partition{Topic: p.Topic, Partition: p.Partition}
}

// partitions are those of the group by the ledger, with what this process knows of its own, which is newer.
func (p *Page) partitions(ledger *ledgerAnswer) []partition {
	all, index := []partition{}, map[offsets.Partition]int{}
	if ledger != nil {
		for i := range ledger.rows {
			r := &ledger.rows[i]
			index[r.Partition] = len(all)
			all = append(all, partitionOf(r, ledger.alive[r.Instance]))
		}
	}
	for _, s := range p.status() {
		at := offsets.Partition{Topic: s.Topic, Partition: s.Partition}
		i, known := index[at]
		if !known {
			i = len(all)
			all = append(all, partition{Topic: s.Topic, Partition: s.Partition})
		}
		all[i].know(s)
	}
	return all
}

// partitionOf is a row of the ledger.
func partitionOf(r *offsets.Row, alive bool) partition {
	x := partition{Topic: r.Topic, Partition: r.Partition.Partition, Position: r.Position.Next, Owner: r.Owner}
	if !r.MovedAt.IsZero() {
		x.Committed = &r.MovedAt
	}
	switch {
	case r.Halted != "":
		x.State, x.Error = string(consumer.Halted), trimState(r.Partition, r.Halted)
	case r.Paused:
		x.State = string(consumer.Paused)
	case r.Owner == "":
		x.State = unowned
	case !alive:
		x.State = stopped
	case r.Stuck != "":
		x.State, x.Error = stuck, r.Stuck
	default:
		x.State = string(consumer.Running)
	}
	return x
}

// know adds what this process knows of its own partition.
func (x *partition) know(s consumer.PartitionStatus) {
	x.Here, x.State, x.Reason, x.Since = true, string(s.State), string(s.Reason), &s.Since
	switch {
	case s.Err == nil:
		x.Error = ""
	default:
		x.Error = trimState(x.at(), pgerr.Text(s.Err))
	}
	if s.Position >= 0 {
		x.Position = s.Position
	}
	if s.Lag >= 0 {
		x.Lag = &s.Lag
	}
	if s.Behind >= 0 {
		behind := s.Behind.Seconds()
		x.Behind = &behind
	}
	if !s.Committed.IsZero() {
		x.Committed = &s.Committed
	}
}

// topicFold is a topic with its partitions, which are shown if it is open.
type topicFold struct {
	Topic      string       `json:"topic"`
	Count      int          `json:"partitions"`
	States     []stateCount `json:"states"`
	Lag        *int64       `json:"lag"`         // of all that is known
	Behind     *float64     `json:"lag_seconds"` // the most
	Open       bool         `json:"-"`
	Toggle     string       `json:"-"`
	Partitions []partition  `json:"-"`
}

type stateCount struct {
	State string `json:"state"`
	Count int    `json:"count"`
}

func countStates(all []partition) []stateCount {
	n := map[string]int{}
	for i := range all {
		n[all[i].State]++
	}
	var out []stateCount
	for _, s := range states {
		if n[s] > 0 {
			out = append(out, stateCount{s, n[s]})
		}
	}
	return out
}

// query is what of the page the address asks for.
type query struct {
	sort string
	desc bool
	open []string // topics that are unfolded
}

var sorts = []string{"partition", "state", "position", "lag", "behind", "owner", "committed"}

func readQuery(v url.Values) query {
	q := query{sort: v.Get("sort"), desc: v.Get("order") == "desc", open: v["topic"]}
	if !slices.Contains(sorts, q.sort) {
		q.sort, q.desc = "partition", false
	}
	return q
}

func (q query) String() string {
	v := url.Values{}
	if q.sort != "partition" || q.desc {
		v.Set("sort", q.sort)
	}
	if q.desc {
		v.Set("order", "desc")
	}
	for _, t := range q.open {
		v.Add("topic", t)
	}
	return "?" + v.Encode()
}

// by is the query that sorts by a column: the other way round if it does so already.
func (q query) by(column string) query {
	first := slices.Contains([]string{"lag", "behind", "position"}, column) // the greatest first
	if q.sort == column {
		q.desc = !q.desc
	} else {
		q.sort, q.desc = column, first
	}
	return q
}

// toggled is the query that folds or unfolds a topic.
func (q query) toggled(topic string) query {
	q.open = slices.Clone(q.open)
	if i := slices.Index(q.open, topic); i >= 0 {
		q.open = slices.Delete(q.open, i, i+1)
	} else {
		q.open = append(q.open, topic)
	}
	return q
}

func (q query) order(all []partition) {
	slices.SortStableFunc(all, func(a, b partition) int {
		var c int
		switch q.sort {
		case "state":
			c = cmp.Compare(slices.Index(states, a.State), slices.Index(states, b.State))
		case "position":
			c = cmp.Compare(a.Position, b.Position)
		case "lag":
			c = compareKnown(a.Lag, b.Lag)
		case "behind":
			c = compareKnown(a.Behind, b.Behind)
		case "owner":
			c = cmp.Compare(a.Owner, b.Owner)
		case "committed":
			c = timeOf(a.Committed).Compare(timeOf(b.Committed))
		}
		if q.desc {
			c = -c
		}
		if c != 0 {
			return c
		}
		c = cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
		if q.sort == "partition" && q.desc {
			c = -c
		}
		return c
	})
}

// compareKnown has what is not known below all that is.
func compareKnown[T cmp.Ordered](a, b *T) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	return cmp.Compare(*a, *b)
}

func timeOf(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// fold gathers partitions by topic; those that the query opens have their partitions.
func (q query) fold(all []partition) []topicFold {
	by := map[string][]partition{}
	var names []string
	for _, x := range all {
		if by[x.Topic] == nil {
			names = append(names, x.Topic)
		}
		by[x.Topic] = append(by[x.Topic], x)
	}
	slices.Sort(names)
	var out []topicFold
	for _, name := range names {
		f := topicFold{Topic: name, Count: len(by[name]), States: countStates(by[name]), Open: slices.Contains(q.open, name), Toggle: q.toggled(name).String()}
		for i := range by[name] {
			x := &by[name][i]
			if x.Lag != nil {
				f.Lag = add(f.Lag, *x.Lag)
			}
			if x.Behind != nil && (f.Behind == nil || *x.Behind > *f.Behind) {
				f.Behind = x.Behind
			}
		}
		if f.Open {
			f.Partitions = by[name]
		}
		out = append(out, f)
	}
	return out
}

func add(sum *int64, n int64) *int64 {
	if sum != nil {
		n += *sum
	}
	return &n
}
