package page

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/docs"
	"github.com/oncesink/oncesink/internal/verify"
	"github.com/oncesink/oncesink/internal/wiring"
	"github.com/oncesink/oncesink/offsets"
)

// maxNeeds is how many are told one by one.
const maxNeeds = 12

// need is something that a person has to look at.
type need struct {
	// Level is "act" where nothing goes on by itself, "look" where it may.
	Level string `json:"level"`
	Title string `json:"title"`
	// Text says what is wrong, Do what becomes of it.
	Text string `json:"text,omitempty"`
	Do   string `json:"do,omitempty"`
	// Commands and SQL are ways out, ready to be copied.
	Commands []string `json:"commands,omitempty"`
	// Runbook is a page that says more.
	Runbook string     `json:"runbook,omitempty"`
	Since   *time.Time `json:"since,omitempty"`
	// Resume is a partition that may be resumed.
	Resume *offsets.Partition `json:"-"`
	Link   string             `json:"-"` // to more on this page
}

// do says in a sentence what a person does about a halt.
var do = map[consumer.Reason]string{
	consumer.ReasonGap:             "Restore the records, or go on behind them: then they are lost for the tables.",
	consumer.ReasonTruncated:       "Rows of records that the log has lost are in the tables. Find out what was lost, then go back to the log's end.",
	consumer.ReasonRecreated:       "Create the topic again if it is gone. Adopt counts the new topic from its beginning, ranked above the old one.",
	consumer.ReasonCluster:         "Correct kafka.brokers, or use another group. If this cluster is meant: adopt.",
	consumer.ReasonNoRow:           "Until then its records wait in Kafka: mind how long the topic keeps them.",
	consumer.ReasonDeadLetterLimit: "Correct the mapping and restart, or the table, and resume; or let them become dead letters, which are kept whole.",
	consumer.ReasonArchive:         "Put a copy of the damaged file in its place, then resume the partition.",
	consumer.ReasonError:           "Correct the cause, then resume the partition.",
}

// needs are what a person has to look at, the worst first, and how many more there are.
func (p *Page) needs(v *View, all []partition) (out []need, more int) {
	out = []need{}
	for i := range all {
		if all[i].State == string(consumer.Halted) {
			out = append(out, p.halted(&all[i]))
		}
	}
	if more = len(out) - maxNeeds; more > 0 {
		out = out[:maxNeeds]
	}
	out = append(out, mismatched(v.Verified)...)
	out = append(out, p.waiting(all)...)
	out = append(out, p.without(all)...)
	for _, c := range v.Checks {
		if !c.OK {
			out = append(out, need{Level: "look", Title: "Not ready: " + c.Name, Text: c.Says, Runbook: unreadySteps(c.Name)})
		}
	}
	if v.Problem != "" {
		out = append(out, need{Level: "look", Title: "The database does not answer this page", Text: v.Problem, Do: "Partitions of other processes and dead letters are as old as the last answer.",
			Runbook: docs.Runbook("the-database-is-away")})
	}
	return out, max(0, more)
}

// unreadySteps are those of the runbook for a check of readiness.
func unreadySteps(check string) string {
	switch check {
	case "postgres":
		return docs.Runbook("the-database-is-away")
	case "kafka":
		return docs.Runbook("kafka-is-away")
	}
	return docs.Runbook("oncesinknotready")
}

func (p *Page) halted(x *partition) need {
	n := need{Level: "act", Title: x.at().String() + " has halted", Since: x.Since, Do: do[consumer.Reason(x.Reason)], Runbook: docs.Runbook("why-a-partition-halts")}
	if x.Reason != "" {
		n.Runbook = docs.Runbook(x.Reason)
	}
	n.Text, n.Commands = wayOut(x.Error)
	if !slices.ContainsFunc(n.Commands, func(c string) bool { return strings.HasPrefix(c, "oncesink ") }) && x.Reason != string(consumer.ReasonNoRow) {
		n.Commands = append(n.Commands, "oncesink resume "+x.at().String(), offsets.Command("resume", p.cfg.Group, x.Topic, x.Partition))
	}
	switch consumer.Reason(x.Reason) {
	case "", consumer.ReasonError, consumer.ReasonDeadLetterLimit: // others halt again at the same
		at := x.at()
		n.Resume = &at
	}
	return n
}

// mismatched are tables that are not what their topics say.
func mismatched(states []verify.State) (out []need) {
	for i := range states {
		s := &states[i]
		if s.Sum() == 0 {
			continue
		}
		out = append(out, need{Level: "act", Title: fmt.Sprintf("%s is otherwise than its topics say", s.Table), Text: "Found: " + s.Kinds() + ".", Since: s.Looked,
			Do:       "Look at some of the rows, with their keys, then have them corrected from the topics.",
			Commands: []string{"oncesink verify " + s.Table + " --sample 1 --show-keys", "oncesink rebuild " + s.Table + " --dry-run"}, Runbook: docs.Runbook("oncesinkmismatch")})
	}
	return out
}

// waiting are partitions that go on when what they wait for is there, told once for all that wait for the same.
func (p *Page) waiting(all []partition) (out []need) {
	by := map[string][]*partition{}
	var order []string
	for i := range all {
		x := &all[i]
		if (x.State != string(consumer.Waiting) && x.State != stuck) || x.Error == "" {
			continue
		}
		key := x.Topic + "\x00" + x.Error
		if by[key] == nil {
			order = append(order, key)
		}
		by[key] = append(by[key], x)
	}
	for i, key := range order {
		if i == maxNeeds {
			break
		}
		of := by[key]
		var numbers []int32
		for _, x := range of {
			numbers = append(numbers, x.Partition)
		}
		n := need{Level: "look", Title: whereOf(of[0].Topic, numbers) + either(of[0].State == stuck, " fails at the same again and again", " waits"), Since: of[0].Since,
			Do: "It is tried again and again, and goes on by itself when that is mended.", Runbook: wiring.WaitSteps(of[0].Error)}
		if of[0].State == stuck {
			n.Runbook = wiring.StuckSteps(of[0].Error)
		}
		n.Text, n.Commands = wayOut(of[0].Error)
		out = append(out, n)
	}
	return out
}

// without are partitions that no process reads.
func (p *Page) without(all []partition) (out []need) {
	by := map[string][]int32{}
	var topics []string
	for i := range all {
		if x := &all[i]; x.State == stopped || x.State == unowned {
			if by[x.Topic] == nil {
				topics = append(topics, x.Topic)
			}
			by[x.Topic] = append(by[x.Topic], x.Partition)
		}
	}
	for _, t := range topics {
		out = append(out, need{Level: "look", Title: fmt.Sprintf("No process reads %s", whereOf(t, by[t])), Runbook: docs.Runbook("oncesinkpartitionunowned"),
			Do: "The group gives them to a process soon; if it does not, start one more: oncesink run."})
	}
	return out
}

var (
	statement = regexp.MustCompile(`select oncesink\.\w+\((?:'(?:[^']|'')*'|[^'()])*\)`)
	command   = regexp.MustCompile("`(oncesink [^`]+)`")
	// remedy is what an error ends with: statement, and command.
	remedy = regexp.MustCompile(`[:,]?\s*(?:` + statement.String() + "(?:, or `oncesink [^`]+`)?)[.]?\\s*$")
)

// wayOut takes from an error the commands and statements that it names; what it ends with is not said twice.
func wayOut(text string) (says string, commands []string) {
	for _, m := range command.FindAllStringSubmatch(text, -1) {
		commands = append(commands, m[1])
	}
	commands = append(commands, statement.FindAllString(text, -1)...)
	if at := remedy.FindStringIndex(text); at != nil {
		text = text[:at[0]] + ":"
	}
	slices.SortStableFunc(commands, func(a, b string) int {
		return either(strings.HasPrefix(a, "oncesink "), 0, 1) - either(strings.HasPrefix(b, "oncesink "), 0, 1)
	})
	return text, slices.Compact(commands)
}
