package consumer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// claimTimeout bounds one call of claim.
const claimTimeout = 30 * time.Second

// resolveTimeout bounds the resolution of first positions, so that a topic without a leader leaves time
// for the lanes that are claimed with it.
func resolveTimeout(patient bool) time.Duration {
	if patient {
		return claimTimeout / 2
	}
	return 3 * time.Second
}

// attempt is one call of claim.
type attempt struct {
	m       *member
	patient bool
	open    []*request    // still to be claimed
	rows    []offsets.Row // as they were when it began
	row     map[offsets.Partition]*offsets.Row
	ids     map[string]offsets.Token
	firsts  map[offsets.Partition]first // that were made
	failed  []failure
	later   []*request // left to the patient claimer, which asks the group first
}

type failure struct {
	*request
	err error
}

// claim claims lanes with one look at the ledger, one request for the ids of their topics and one call
// that claims, however many they are, and hands those that were won to whoever lets them run. Those that
// were not are tried again, all at once. A failure that concerns one topic or lane leaves the others alone.
func (m *member) claim(requests []*request, patient bool) {
	ctx, cancel := context.WithTimeout(m.work, claimTimeout)
	defer cancel()
	a := &attempt{m: m, patient: patient, open: requests, row: map[offsets.Partition]*offsets.Row{}}
	if err := a.steps(ctx); err != nil {
		a.keep(func(*request) error { return err })
	}
	a.again()
}

func (a *attempt) steps(ctx context.Context) error {
	if err := a.look(ctx); err != nil {
		return err
	}
	a.askWhetherWeMay(ctx)
	if err := a.lookUpTopics(ctx); err != nil {
		return err
	}
	if err := a.makeFirstPositions(ctx); err != nil {
		return err
	}
	return a.take(ctx)
}

// keep drops those requests for which f has an error: they are tried again later.
func (a *attempt) keep(f func(*request) error) {
	kept := a.open[:0]
	for _, r := range a.open {
		if err := f(r); err != nil {
			a.failed = append(a.failed, failure{r, err})
		} else {
			kept = append(kept, r)
		}
	}
	a.open = kept
}

// look reads the lanes' rows; of the whole group where a first position may have to be made, which
// depends on what is known of the topic.
func (a *attempt) look(ctx context.Context) (err error) {
	var at []offsets.Partition
	for _, r := range a.open {
		if !a.m.wasHeld(r.lane.Partition) {
			at = nil
			break
		}
		at = append(at, r.lane.Partition)
	}
	if a.rows, err = a.m.ledger.Rows(ctx, at...); err != nil {
		return err
	}
	a.m.signs.note(&a.m.signs.postgres)
	said := changes{}
	for i := range a.rows {
		a.row[a.rows[i].Partition] = &a.rows[i]
	}
	for _, r := range a.open {
		was, row := r.lane.view().known(), a.row[r.lane.Partition]
		if row != nil && !was.none && (row.Fence != was.claim.Fence || row.TopicID != was.claim.TopicID) {
			said.add(a.m, r.lane, was, row)
		}
	}
	said.log(a.m.log)
	return nil
}

func (a *attempt) lookUpTopics(ctx context.Context) error {
	if len(a.open) == 0 {
		return nil
	}
	ids, err := a.m.topicIDs(ctx, topicsOf(a.open))
	if err != nil {
		return err
	}
	a.ids = ids
	a.m.mu.Lock()
	for topic, id := range ids {
		if a.m.topics[topic].IsZero() {
			a.m.topics[topic] = id
		}
	}
	a.m.mu.Unlock()
	a.keep(func(r *request) error {
		switch id, exists := ids[r.lane.Topic]; {
		case !exists:
			return fmt.Errorf("topic %q does not exist", r.lane.Topic)
		case id.IsZero():
			return fmt.Errorf("topic %q has no id: %s", r.lane.Topic, wiring.NoTopicIDs)
		}
		return nil
	})
	return nil
}

func topicsOf(requests []*request) (topics []string) {
	for _, r := range requests {
		topics = append(topics, r.lane.Topic)
	}
	slices.Sort(topics)
	return slices.Compact(topics)
}

// makeFirstPositions inserts a row for every partition of a topic that the ledger
// does not know yet, where the topic's start policy says (rule 7).
func (a *attempt) makeFirstPositions(ctx context.Context) error {
	at := make([]offsets.Partition, len(a.open))
	for i, r := range a.open {
		at[i] = r.lane.Partition
	}
	resolve, cancel := context.WithTimeout(ctx, resolveTimeout(a.patient))
	defer cancel()
	var (
		resolving sync.WaitGroup
		mu        sync.Mutex
		firsts    []first
		failed    = map[string]error{}
	)
	for _, topic := range a.m.unplaced(at, a.rows) {
		resolving.Go(func() { // side by side: one that has no leader takes all the time that there is
			found, err := a.m.firsts(resolve, topic, a.ids[topic], a.rows)
			mu.Lock()
			defer mu.Unlock()
			firsts = append(firsts, found...)
			if err != nil {
				failed[topic] = err
			}
		})
	}
	resolving.Wait()
	a.keep(func(r *request) error {
		if a.row[r.lane.Partition] != nil || a.m.wasHeld(r.lane.Partition) {
			return nil
		}
		return failed[r.lane.Topic]
	})
	if len(firsts) == 0 {
		return nil
	}
	begin := make([]offsets.First, len(firsts))
	for i, f := range firsts {
		begin[i] = f.First
	}
	if err := a.m.ledger.Begin(ctx, begin); err != nil {
		return err
	}
	a.firsts = byPartition(firsts)
	a.m.tellOfMissing(firsts)
	return nil
}

// take asks the ledger for what is still open.
func (a *attempt) take(ctx context.Context) error {
	var wants []offsets.Want
	open := a.open[:0]
	for _, r := range a.open {
		if r.over() { // revoked meanwhile: its next owner must not be fenced
			continue
		}
		open = append(open, r)
		wants = append(wants, offsets.Want{Partition: r.lane.Partition, TopicID: a.ids[r.lane.Topic]})
	}
	a.open = open
	if len(wants) == 0 {
		return nil
	}
	claimed, err := a.m.ledger.Claim(ctx, wants)
	if err != nil {
		return err
	}
	var won []win
	var begun []beginning
	said := changes{}
	for i, r := range a.open {
		last := r.lane.view().claim.ID
		ours, err := a.judge(r.lane, claimed[i])
		ours = ours && !a.m.outlived(claimed[i].Claim)
		if err != nil {
			a.failed = append(a.failed, failure{r, err})
		}
		switch looked := a.row[r.lane.Partition]; {
		case ours && last.IsZero():
			begun = append(begun, a.beginning(claimed[i].Claim))
		case ours && looked != nil && looked.ClaimID == last: // nobody else has moved it meanwhile
			said.addClaimed(r.lane, looked, claimed[i].Claim)
		}
		if !r.answer(claimed[i].Claim, ours) && ours {
			won = append(won, win{r.lane, claimed[i].Claim})
		}
	}
	a.open = nil
	said.log(a.m.log)
	tellOfBeginnings(a.m.log, begun)
	if len(won) > 0 {
		sound, cut := a.compare(ctx, won)
		a.m.control(func() {
			a.m.begin(sound)
			a.m.haltCut(cut)
		})
	}
	return nil
}

// cutWin is a claim whose position the log does not lead to.
type cutWin struct {
	win
	cause error
}

// compare asks where the epochs ended in which the last records before the positions were written (KIP-320). The client asks by
// itself when it is given a partition, and when its leader changes; but it tells once, which is lost on a lane that does not run just then,
// and not at all of a position that it is moved to later.
func (a *attempt) compare(ctx context.Context, won []win) (sound []win, cut []cutWin) {
	rows := make([]offsets.Row, len(won))
	for i, w := range won {
		rows[i] = offsets.Row{Partition: w.claim.Partition, Position: w.claim.Position}
	}
	ends, err := a.m.truncated(ctx, rows)
	if err != nil {
		a.m.log.Debug("compare epochs", "error", err) // the client still does
	}
	for _, w := range won {
		if end, ok := ends[w.claim.Partition]; ok {
			cut = append(cut, cutWin{w, &TruncatedError{Partition: w.claim.Partition, Group: a.m.cfg.Group, Position: w.claim.Position.Next, End: end}})
		} else {
			sound = append(sound, w)
		}
	}
	return sound, cut
}

// haltCut halts what compare has found. It runs in the poll loop, as begin does.
func (m *member) haltCut(cut []cutWin) {
	for _, w := range cut {
		if m.lane(w.lane.Partition) == w.lane { // not revoked meanwhile
			w.lane.start(w.claim)
			m.halt(w.lane, w.cause)
		}
	}
}

// judge looks at one answer: whether the lane is ours. If not, it has halted; an error says that it is to be
// tried again.
func (a *attempt) judge(l *lane, c offsets.Claimed) (ours bool, again error) {
	if c.WaitedFor != "" {
		a.m.log.Warn("ended a stopped session that held a partition", "topic", l.Topic, "partition", l.Partition.Partition, "session", c.WaitedFor)
		a.m.tellEnded(l.Partition, c.WaitedFor)
	}
	var (
		held    *offsets.HeldError
		mapping *offsets.MappingError
	)
	switch {
	case c.Err == nil:
		a.m.setHeld(l.Partition)
		l.hold(c.Claim)
		a.m.tellClaimed(Claimed{Partition: l.Partition, Outcome: sink.ClaimWon, Position: c.Position.Next})
		return true, nil
	case errors.As(c.Err, &held): // again tells of it
		return false, c.Err
	case errors.As(c.Err, &mapping):
		a.m.tellClaimed(Claimed{Partition: l.Partition, Outcome: sink.ClaimRefused, Err: c.Err})
		l.leave(halted, c.Err)
		a.m.fail(refusedMapping(c.Err))
	default: // another topic under the name, or a row that vanished
		a.m.tellClaimed(Claimed{Partition: l.Partition, Outcome: sink.ClaimRefused, Err: c.Err})
		a.m.haltAt(l, c.Err, sight{known: true, row: a.row[l.Partition]})
	}
	return false, nil
}

// outlived reports whether the claim is for another topic than the one that this life met under the
// name: one that was adopted. The client has the old one in mind, so its life ends.
func (m *member) outlived(c offsets.Claim) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.topics[c.Topic] == c.TopicID {
		return false
	}
	m.fail(errRestart)
	return true
}

// again has what failed tried once more: what failed together is tried together.
func (a *attempt) again() {
	waits := map[int]time.Duration{}
	reasons := map[string][]*lane{}
	now := time.Now()
	for _, f := range a.failed {
		f.failures++
		if _, ok := waits[f.failures]; !ok {
			waits[f.failures] = delay(f.failures)
		}
		f.due = now.Add(waits[f.failures])
		f.lane.waits(f.turns, f.err)
		a.tellFailed(f)
		a.later = append(a.later, f.request)
		reasons[f.err.Error()] = append(reasons[f.err.Error()], f.lane)
	}
	for reason, lanes := range reasons {
		if a.m.work.Err() != nil {
			return // what failed is that the work ends
		}
		a.m.log.Warn("claim partitions: trying again in the background", "partitions", listed(lanes), "error", reason, "steps", wiring.WaitSteps(reason))
	}
	for _, r := range a.later {
		r.noAnswer()
	}
	a.m.retries.add(a.later...)
}

// tellFailed tells of a claim that is tried again.
func (a *attempt) tellFailed(f failure) {
	var held *offsets.HeldError
	outcome := sink.ClaimFailed
	if errors.As(f.err, &held) {
		outcome = sink.ClaimHeld
	}
	a.m.tellClaimed(Claimed{Partition: f.lane.Partition, Outcome: outcome, Err: f.err})
}
