package page

import (
	"fmt"
	"strings"
	"time"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/pgerr"
	"github.com/oncesink/oncesink/offsets"
	"github.com/oncesink/oncesink/sink"
)

// SinkObserver tells the page of transactions.
func (p *Page) SinkObserver() *sink.Observer {
	return &sink.Observer{Transaction: p.transaction, Resolved: func(committed bool, took time.Duration) {
		p.events.add(event{Kind: "unknown", Text: fmt.Sprintf("the COMMIT whose answer was lost was %s, as the ledger told after %s", either(committed, "carried out", "not carried out"), took.Round(time.Millisecond))})
	}}
}

// Observer tells the page what becomes of partitions.
func (p *Page) Observer() *consumer.Observer {
	return &consumer.Observer{
		Claimed: func(c consumer.Claimed) {
			e := event{Kind: "claim", Topic: c.Topic, partitions: []int32{c.Partition.Partition}}
			switch c.Outcome {
			case sink.ClaimWon:
				e.Text = "claimed"
			case sink.ClaimHeld:
				e.Text = "not claimed yet: another session holds the row"
			default:
				e.Kind, e.Text = "refused", "not claimed: "+reason(c.Partition, c.Err)
			}
			p.events.add(e)
		},
		Rebalanced: func(r consumer.Rebalance) {
			says := map[string]string{sink.Assigned: "assigned by the group", sink.Revoked: "revoked by the group", sink.Lost: "lost: the group went on without this process"}
			kind := either(r.Kind == sink.Lost, "fence", "group")
			for _, at := range r.Partitions {
				p.events.add(event{Kind: kind, Topic: at.Topic, partitions: []int32{at.Partition}, Text: says[r.Kind]})
			}
		},
		Fenced: func(f consumer.Fence) {
			says := map[string]string{sink.FencedByOperator: "taken back by a command", sink.FencedByClaim: "fenced: another claim has it", sink.FencedByLock: "given up: its row could not be locked in time"}
			p.events.add(event{Kind: "fence", Topic: f.Topic, partitions: []int32{f.Partition.Partition}, Text: says[f.Cause]})
		},
		SessionEnded: func(at offsets.Partition, _ string) {
			p.events.add(event{Kind: "fence", Topic: at.Topic, partitions: []int32{at.Partition}, Text: "a session that had stopped was ended, since it held the row"})
		},
	}
}

// Halted tells the page of a partition that has halted.
func (p *Page) Halted(s consumer.PartitionStatus) {
	at := offsets.Partition{Topic: s.Topic, Partition: s.Partition}
	p.events.add(event{Kind: "halt", Topic: s.Topic, partitions: []int32{s.Partition}, Text: "halted (" + string(s.Reason) + "): " + firstSentence(reason(at, s.Err))})
}

// transaction is called after each attempt to write: it has to be quick.
func (p *Page) transaction(t *sink.Transaction) {
	switch t.Outcome {
	case sink.Committed:
		p.history.committed(time.Now(), t)
		return
	case sink.Retried:
		p.events.add(event{Kind: "retry", Topic: topicOf(t), Text: "tried again: " + firstSentence(t.Reason)})
	case sink.Unknown:
		p.events.add(event{Kind: "unknown", Topic: topicOf(t), Text: "no answer to COMMIT: the ledger is asked what became of it"})
	}
}

// topicOf is the topic of a transaction that has one.
func topicOf(t *sink.Transaction) string {
	topic := ""
	for i := range t.Parts {
		if i > 0 && t.Parts[i].Topic != topic {
			return ""
		}
		topic = t.Parts[i].Topic
	}
	return topic
}

// reason is an error for a person, without values of records.
func reason(at offsets.Partition, err error) string {
	if err == nil {
		return ""
	}
	return trimState(at, pgerr.Text(err))
}

// firstSentence is what an event says of a text that needs has in whole.
func firstSentence(text string) string {
	if head, _, more := strings.Cut(text, ". "); more {
		text = head
	}
	const most = 240
	if r := []rune(text); len(r) > most {
		text = string(r[:most]) + "…"
	}
	return text
}

func either[T any](is bool, yes, no T) T {
	if is {
		return yes
	}
	return no
}
