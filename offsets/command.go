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
