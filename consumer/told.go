package consumer

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/oncesink/oncesink/offsets"
)

// maxListed bounds how many partitions one line of the log names.
const maxListed = 5

// beginning is a partition that was claimed for the first time since it was assigned.
type beginning struct {
	offsets.Claim
	why string
}

// beginning says why a claim stands where it stands.
func (a *attempt) beginning(c offsets.Claim) beginning {
	if f, ok := a.firsts[c.Partition]; ok && a.row[c.Partition] == nil && f.Offset == c.Position.Next {
		return beginning{c, f.why}
	}
	return beginning{c, "the ledger's position"}
}

// tellOfBeginnings says from which offset partitions are read, and why: in a line for each topic and reason.
func tellOfBeginnings(log *slog.Logger, all []beginning) {
	type group struct{ topic, why string }
	groups := map[group][]beginning{}
	for _, b := range all {
		g := group{b.Topic, b.why}
		groups[g] = append(groups[g], b)
	}
	for _, g := range slices.SortedFunc(maps.Keys(groups), func(a, b group) int {
		return cmp.Or(strings.Compare(a.topic, b.topic), strings.Compare(a.why, b.why))
	}) {
		of := groups[g]
		slices.SortFunc(of, func(a, b beginning) int { return cmp.Compare(a.Partition.Partition, b.Partition.Partition) })
		var each []string
		paused, least, most := 0, of[0].Position.Next, of[0].Position.Next
		for _, b := range of {
			at := b.Position.Next
			each = append(each, fmt.Sprintf("%d from %d", b.Partition.Partition, at))
			least, most = min(least, at), max(most, at)
			if b.Paused {
				paused++
			}
		}
		attrs := []any{"topic", g.topic, "partitions", strings.Join(each, ", "), "because", g.why}
		if len(of) > maxListed {
			attrs = []any{"topic", g.topic, "partitions", len(of), "from", offsetsFrom(least, most), "because", g.why}
			log.Debug("reading", "topic", g.topic, "partitions", strings.Join(each, ", "))
		}
		if paused > 0 {
			attrs = append(attrs, "paused", paused)
		}
		log.Info("reading", attrs...)
	}
}

// offsetsFrom are the least and the greatest of several offsets.
func offsetsFrom(least, most int64) string {
	if least == most {
		return fmt.Sprint(least)
	}
	return fmt.Sprintf("%d to %d", least, most)
}

// missingByTopic counts the first positions that should be committed ones, and are not.
func missingByTopic(firsts []first) map[string]int {
	missing := map[string]int{}
	for _, f := range firsts {
		if f.missing {
			missing[f.Topic]++
		}
	}
	return missing
}

// tellOfMissing says what `start: committed` did where nothing was committed.
func (m *member) tellOfMissing(firsts []first) {
	missing := missingByTopic(firsts)
	for _, topic := range slices.Sorted(maps.Keys(missing)) {
		m.log.Warn("start: committed: the group has committed nothing for these partitions: they begin at their beginning. See that the group's name is right",
			"group", m.cfg.Group, "topic", topic, "partitions", missing[topic])
	}
}

// known is what a lane knows of its row.
type known struct {
	claim  offsets.Claim // as it was when the lane last held it, or looked at it
	halted bool
	none   bool // nothing is known
}

func (v view) known() known {
	row := v.sight.row
	if v.state != halted || !v.sight.known || row == nil {
		return known{v.claim, v.state == halted, v.claim.ID.IsZero()}
	}
	return knownOf(row, true)
}

// knownOf is what a lane knows that looked at its row.
func knownOf(row *offsets.Row, halted bool) known {
	return known{claim: offsets.Claim{Partition: row.Partition, ID: row.ClaimID, Fence: row.Fence, Position: row.Position, TopicID: row.TopicID,
		Generation: row.Generation, Paused: row.Paused}, halted: halted}
}

// changes are what became of rows that somebody changed, an operator mostly: the partitions, by what it is.
type changes map[string][]string

// What may have become of a row.
const (
	isPaused = "paused"
	resumed  = "resumed"
	rewound  = "rewound"
	movedOn  = "moved forward: what lies between is not read"
	adopted  = "the topic of the name was adopted"
	claimed  = "claimed by another process"
	anew     = "a new fence alone: paused and resumed, or changed by hand"
)

// add notes what was changed in the row of a lane, unless that was told already.
func (c changes) add(m *member, l *lane, was known, row *offsets.Row) {
	if row == nil {
		return
	}
	was, news := l.tells(was, row)
	if !news {
		return
	}
	m.tellFences(was, row)
	c.list(l, whatChanged(was, row), was, row)
}

// addClaimed notes what was changed between the look at a row and its claim.
func (c changes) addClaimed(l *lane, looked *offsets.Row, claim offsets.Claim) {
	row := *looked
	row.Position, row.Paused, row.TopicID, row.Generation = claim.Position, claim.Paused, claim.TopicID, claim.Generation
	was := knownOf(looked, false)
	c.list(l, slices.DeleteFunc(whatChanged(was, &row), func(what string) bool { return what == anew }), was, &row)
}

func (c changes) list(l *lane, kinds []string, was known, row *offsets.Row) {
	from, to := was.claim.Position.Next, row.Position.Next
	for _, what := range kinds {
		at := l.Partition.String()
		switch what {
		case rewound, movedOn:
			at = fmt.Sprintf("%s from %d to %d", at, from, to)
		case adopted:
			at = fmt.Sprintf("%s from generation %d to %d, from %d to %d", at, was.claim.Generation, row.Generation, from, to)
		case claimed:
			at += " by " + row.Owner
		}
		c[what] = append(c[what], at)
	}
}

// whatChanged compares a row with what its owner knew of it. The position of a row that another claim has moved says nothing
// about operators.
func whatChanged(was known, row *offsets.Row) (what []string) {
	ours := row.ClaimID == was.claim.ID
	from, to := was.claim.Position.Next, row.Position.Next
	switch {
	case row.TopicID != was.claim.TopicID && row.Generation != was.claim.Generation:
		what = append(what, adopted)
	case to < from:
		what = append(what, rewound)
	case to > from && ours:
		what = append(what, movedOn)
	}
	switch {
	case row.Paused && !was.claim.Paused:
		what = append(what, isPaused)
	case !row.Paused && was.claim.Paused, ours && was.halted && row.Fence != was.claim.Fence && len(what) == 0:
		what = append(what, resumed)
	}
	switch {
	case !ours:
		what = append(what, claimed)
	case len(what) == 0:
		what = append(what, anew)
	}
	return what
}

// log tells of the changes, in a line for each kind.
func (c changes) log(log *slog.Logger) {
	for _, kind := range slices.Sorted(maps.Keys(c)) {
		all := c[kind]
		slices.Sort(all)
		text := strings.Join(all[:min(len(all), maxListed)], "; ")
		if more := len(all) - maxListed; more > 0 {
			text += fmt.Sprintf("; and %d more", more)
		}
		log.Info("the ledger was changed", "what", kind, "partitions", text)
	}
}

// change is by what one change of a row is told from another.
type change struct{ fence, claim, topic offsets.Token }

// tells reports whether a change of the row has not been told of yet, and notes that it is. It returns what the row is compared with:
// what it was when it was told of last, if the lane has not claimed it since.
func (l *lane) tells(was known, row *offsets.Row) (known, bool) {
	c := change{row.Fence, row.ClaimID, row.TopicID}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.told == c {
		return was, false
	}
	if l.toldSince != nil {
		was = *l.toldSince
	}
	now := knownOf(row, was.halted && row.Halted != "")
	l.told, l.toldSince = c, &now
	return was, true
}

// waitingAfter is when a process says that it waits for the group.
const waitingAfter = 3 * time.Second

// tellOfWaiting says what keeps the group from giving this process its partitions: a member that was killed counts as
// alive until its session ends, and the others wait for it.
func (m *member) tellOfWaiting(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(waitingAfter):
	}
	if len(m.all()) > 0 {
		return
	}
	session := "as set on the brokers"
	if m.cfg.Protocol != KIP848 {
		session = m.cfg.SessionTimeout.String()
	}
	if _, generation := m.client.GroupMetadata(); generation < 0 {
		m.log.Info("waiting for the group: a member that was killed counts as alive until its session ends", "group", m.cfg.Group, "session_timeout", session)
		return
	}
	m.log.Info("a member of the group, without partitions so far: the others have them all, or one that was killed counts as alive until its session ends",
		"group", m.cfg.Group, "session_timeout", session)
}
