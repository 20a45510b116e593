package offsets

import (
	"fmt"
	"strings"
)

// Command is an operator's statement as messages print it, ready to be run: names
// are SQL literals. The arguments that follow the topic are numbers, or what prints as
// the text of a value.
func Command(function, group, topic string, args ...any) string {
	all := []string{quote(group), quote(topic)}
	for _, a := range args {
		switch a := a.(type) {
		case int32, int64:
			all = append(all, fmt.Sprint(a))
		default:
			all = append(all, quote(fmt.Sprint(a)))
		}
	}
	return "select oncesink." + function + "(" + strings.Join(all, ", ") + ")"
}

// Remedy is [Command], and the same by the command line beside it: for messages that a person reads.
func Remedy(function, group, topic string, args ...any) string {
	words := []string{"oncesink", strings.ReplaceAll(function, "_", "-"), topic}
	for _, a := range args {
		switch a.(type) {
		case int32: // the partition
			words[2] += fmt.Sprintf("/%d", a)
		default:
			words = append(words, flagOf(Action(function)), fmt.Sprint(a))
		}
	}
	return Command(function, group, topic, args...) + ", or `" + strings.Join(words, " ") + "`"
}

// flagOf is how the command line calls what follows the partition.
func flagOf(a Action) string {
	switch a {
	case AcceptDeadLetters:
		return "--below"
	case Adopt:
		return "--id"
	}
	return "--to"
}
