package metrics

import (
	"maps"

	"github.com/oncesink/oncesink/sink"
)

// plus adds what two consumers of a process counted, one after the other.
func plus(a, b sink.Stats) sink.Stats {
	a.Commits += b.Commits
	a.TransactionTime += b.TransactionTime
	a.CommitTime += b.CommitTime
	a.Records += b.Records
	a.DeadLetters += b.DeadLetters
	a.Resolved += b.Resolved
	a.Unmatched += b.Unmatched
	a.Bisections += b.Bisections
	a.UnknownCommits += b.UnknownCommits
	a.UnknownCommitted += b.UnknownCommitted
	a.UnknownRolledBack += b.UnknownRolledBack
	a.UnknownPending += b.UnknownPending
	a.StuckSessions += b.StuckSessions
	for _, m := range []struct {
		sum *map[string]int64
		add map[string]int64
	}{{&a.Retries, b.Retries}, {&a.RetriedStates, b.RetriedStates}, {&a.Fenced, b.Fenced}, {&a.Claims, b.Claims}, {&a.Rebalances, b.Rebalances}} {
		*m.sum = sums(*m.sum, m.add)
	}
	a.Refused = join(a.Refused, b.Refused, func(x sink.RefusedStats) sink.Refusal { return x.Refusal },
		func(x *sink.RefusedStats, y sink.RefusedStats) { x.DeadLetters += y.DeadLetters })
	a.Topics = join(a.Topics, b.Topics, func(x sink.TopicStats) string { return x.Topic },
		func(x *sink.TopicStats, y sink.TopicStats) { x.Records += y.Records; x.Bytes += y.Bytes })
	a.Tables = join(a.Tables, b.Tables, func(x sink.TableStats) string { return x.Table },
		func(x *sink.TableStats, y sink.TableStats) {
			x.Copied += y.Copied
			x.Upserted += y.Upserted
			x.UnchangedByLook += y.UnchangedByLook
			x.UnchangedByStatement += y.UnchangedByStatement
			x.Tombstones += y.Tombstones
			x.TombstonesWithoutRow += y.TombstonesWithoutRow
		})
	return a
}

func sums(a, b map[string]int64) map[string]int64 {
	out := maps.Clone(a)
	if out == nil {
		out = map[string]int64{}
	}
	for k, n := range b {
		out[k] += n
	}
	return out
}

// join is a list with an element for each key of two lists: added up where both have it.
func join[T any, K comparable](a, b []T, key func(T) K, add func(*T, T)) []T {
	out := make([]T, 0, len(a)+len(b))
	at := map[K]int{}
	for _, list := range [][]T{a, b} {
		for _, x := range list {
			i, known := at[key(x)]
			if !known {
				at[key(x)] = len(out)
				out = append(out, x)
				continue
			}
			add(&out[i], x)
		}
	}
	return out
}
