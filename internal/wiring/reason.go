package wiring

import (
	"strings"

	"github.com/oncesink/oncesink/offsets"
)

// Reason is why a partition is in a state ("halted"), for a sentence that begins with both: the reason may name them already, and
// more than once.
func Reason(p offsets.Partition, state, reason string) string {
	for {
		rest := reason
		for _, said := range []string{state + ": ", p.String() + ": ", p.String() + " " + state + ": "} {
			rest = strings.TrimPrefix(rest, said)
		}
		if rest == reason {
			return reason
		}
		reason = rest
	}
}
