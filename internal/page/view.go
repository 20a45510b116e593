package page

import (
	"cmp"
	"slices"
	"time"

	"github.com/oncesink/oncesink/internal/letters"
	"github.com/oncesink/oncesink/internal/rollup"
	"github.com/oncesink/oncesink/internal/verify"
	"github.com/oncesink/oncesink/offsets"
)

// View is what the page shows, at one moment. Its JSON is what ?format=json answers; a section of it with &section=NAME.
type View struct {
	Group    string    `json:"group"`
	Version  string    `json:"version"`
	Cluster  string    `json:"cluster"`
	Database string    `json:"database"`
	Now      time.Time `json:"now"`
	Started  time.Time `json:"started"`
	Ready    bool      `json:"ready"`
	Checks   []Check   `json:"checks"`
	// Records and Letters were committed by this process.
	Records int64 `json:"records"`
	Letters int64 `json:"dead_letters_made"`
	// Problem says why the database's answers are old.
	Problem string  `json:"problem,omitempty"`
	Sparks  []spark `json:"sparklines"`

	Needs     []need `json:"needs"`
	MoreNeeds int    `json:"more_halted"` // that are not in Needs

	Partitions []partition  `json:"partitions"`
	States     []stateCount `json:"states"`
	Folds      []topicFold  `json:"topics,omitempty"` // where there are many partitions

	Kinds  []kind     `json:"dead_letters"`
	Open   int64      `json:"dead_letters_open"`
	Tables []tableRow `json:"tables"`
	// Findings are how many `oncesink check` has of the tables.
	Findings int `json:"findings"`
	// Rollups are those of the database.
	Rollups []rollup.Built `json:"rollups"`
	Events  []event        `json:"events"`
	// Verified is what `oncesink verify` knows of tables that it looked at a piece at a time.
	Verified      []verify.State `json:"verified,omitempty"`
	Configuration string         `json:"configuration,omitempty"`

	Actions  bool   `json:"-"`
	Payloads bool   `json:"-"`
	Query    query  `json:"-"`
	Done     *event `json:"-"` // an action that was carried out just now
	Named    string `json:"-"` // who looks, if a token was asked for
}

// kind are dead letters that are alike, with some of their places.
type kind struct {
	letters.Kind
	Places []string `json:"places"`
	Target string   `json:"-"`
	Link   string   `json:"-"`
}

const maxPlaces = 3

func (p *Page) view(q query) *View {
	now := time.Now()
	source, a := p.followed()
	v := &View{Kinds: []kind{}, Rollups: []rollup.Built{}, Group: p.cfg.Group, Version: p.cfg.Version, Now: now, Started: p.began, Checks: p.cfg.Checks(), Configuration: p.cfg.Configuration,
		Actions: p.cfg.Actions, Payloads: p.cfg.Payloads, Query: q, Sparks: p.sparks(now), Tables: p.history.tableRows(now, routesBy(source)), Events: p.events.newest()}
	v.Records, v.Letters = p.history.counts()
	v.Ready = !slices.ContainsFunc(v.Checks, func(c Check) bool { return !c.OK })
	var ledger *ledgerAnswer
	if a != nil {
		c := a.pool.Config().ConnConfig
		v.Database = c.Database + " at " + c.Host
		var dead *lettersAnswer
		var problem string
		ledger, _, v.Problem = a.rows.get()
		dead, _, problem = a.letters.get()
		v.Problem = cmp.Or(v.Problem, problem)
		found, _, problem := a.tables.get()
		v.Problem = cmp.Or(v.Problem, problem)
		if found != nil {
			v.Tables, v.Findings = withFindings(v.Tables, found.findings)
		}
		if dead != nil {
			v.Kinds, v.Verified, v.Rollups = kinds(dead), dead.verified, append(v.Rollups, dead.rollups...)
		}
		if ledger != nil && len(ledger.rows) > 0 {
			v.Cluster = ledger.rows[0].ClusterID
		}
	}
	for i := range v.Kinds {
		v.Open += v.Kinds[i].Letters
	}
	all := p.partitions(ledger)
	q.order(all)
	v.Partitions, v.States = all, countStates(all)
	if len(all) > foldAbove {
		v.Folds = q.fold(all)
	}
	byNeed := slices.Clone(all)
	query{sort: "partition"}.order(byNeed)
	v.Needs, v.MoreNeeds = p.needs(v, byNeed)
	return v
}

// kinds are the open dead letters by what they have in common, the most frequent first, new ones and those that are asked for together.
func kinds(a *lettersAnswer) []kind {
	out := []kind{}
	for _, k := range a.kinds {
		k.Status = ""
		i := slices.IndexFunc(out, func(o kind) bool {
			return o.Topic == k.Topic && o.Code == k.Code && o.Table == k.Table && o.Column == k.Column
		})
		if i < 0 {
			out = append(out, kind{Kind: k, Target: letters.Target(k.Table, k.Column), Link: lettersLink(k.Topic, k.Code, k.Table), Places: []string{}})
			continue
		}
		o := &out[i]
		o.Kind.Letters += k.Letters
		o.Attempts = max(o.Attempts, k.Attempts)
		if k.First.Before(o.First) {
			o.First = k.First
		}
		if k.Last.After(o.Last) {
			o.Last = k.Last
		}
	}
	for i := range a.newest {
		l := &a.newest[i]
		for j := range out {
			k := &out[j]
			if len(k.Places) < maxPlaces && k.Topic == l.Topic && k.Code == l.Code && k.Table == l.Table && k.Column == l.Column {
				k.Places = append(k.Places, letters.PlaceOf(l.Topic, l.Partition, l.Offset))
			}
		}
	}
	slices.SortStableFunc(out, func(a, b kind) int { return cmp.Compare(b.Kind.Letters, a.Kind.Letters) })
	return out
}

// resumable reports whether a partition of this state goes on by a command.
func resumable(state string) bool { return state == "paused" || state == "halted" }

func place(topic string, n int32) string {
	return offsets.Partition{Topic: topic, Partition: n}.String()
}
