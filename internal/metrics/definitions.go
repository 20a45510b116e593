// Package metrics says what a consumer does in the words of Prometheus. It walks Status, Stats and Health when it is asked, so that a
// partition which is given away takes its series with it, and observes what has a distribution.
package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/verify"
	"github.com/oncesink/oncesink/sink"
)

// Prefix of all names.
const Prefix = "oncesink_"

// definition is one metric. Every metric has the label group beside its own.
type definition struct {
	name   string // without the prefix
	kind   kind
	labels []string
	help   string
	// values of labels whose values are known, for the reference.
	values map[string][]string
}

type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

// The states of partitions, of which each topic has a series, also where it is 0.
var states = []consumer.State{consumer.Claiming, consumer.Waiting, consumer.Running, consumer.Paused, consumer.Halted}

func texts[T ~string](list []T) (out []string) {
	for _, x := range list {
		out = append(out, string(x))
	}
	return out
}

// definitions are all metrics of ours, in the order of the reference.
func definitions() []definition {
	partition := []string{"topic", "partition"}
	return []definition{
		{"build_info", gauge, []string{"version", "revision", "goversion"}, "1, with what this program is.", nil},
		{"ready", gauge, nil, "1 where /readyz answers with 200, otherwise 0.", nil},
		{"last_contact_timestamp_seconds", gauge, []string{"server"}, "When the server last answered. Absent before the first answer.", map[string][]string{"server": {"postgres", "kafka"}}},

		{"partition_position", gauge, partition, "Offset of the next record to apply, as committed. Like all series of a partition, only the process has it that owns the partition.", nil},
		{"partition_lag_records", gauge, partition, "Offsets between the position and the last stable offset of the log, 0 where none of them is a record to apply. Absent while it is not known.", nil},
		{"partition_lag_seconds", gauge, partition, "Age of the next record to apply, 0 where there is none. Absent while it is not known.", nil},
		{"partition_last_commit_timestamp_seconds", gauge, partition, "When this process last committed records of the partition; where it has not yet, since when it has the partition.", nil},
		{"partition_halted", gauge, []string{"topic", "partition", "reason"}, "1 while the partition is halted: a person has to act. Absent otherwise.", map[string][]string{"reason": texts(consumer.Reasons())}},
		{"partitions", gauge, []string{"topic", "state"}, "Partitions that this process has.", map[string][]string{"state": texts(states)}},
		{"topic_lag_records", gauge, []string{"topic"}, "Sum of partition_lag_records over the partitions that this process has.", nil},
		{"topic_lag_records_max", gauge, []string{"topic"}, "Largest partition_lag_records of the partitions that this process has.", nil},
		{"topic_lag_seconds_max", gauge, []string{"topic"}, "Largest partition_lag_seconds of the partitions that this process has.", nil},
		{"unowned_partitions", gauge, []string{"topic"}, "Partitions of the group that no process has, by the ledger, as of 30 seconds ago at most. Any process says it, so take max, not sum.", nil},

		{"records_total", counter, []string{"topic"}, "Records that the positions moved over, dead letters included.", nil},
		{"record_bytes_total", counter, []string{"topic"}, "Bytes of their keys, values and headers.", nil},
		{"unmatched_records_total", counter, nil, "Records that no table wanted.", nil},
		{"rows_total", counter, []string{"table", "route", "result"}, "Rows by how they were written; unchanged are events that lost against what is there, and tombstones that met no row.",
			map[string][]string{"route": {"copy", "upsert", "look", "delete"}, "result": {"written", "unchanged"}}},
		{"transaction_duration_seconds", histogram, []string{"outcome"}, "From the wish for a connection to the answer to COMMIT, or to the error.", map[string][]string{"outcome": texts(sink.Outcomes())}},
		{"commit_duration_seconds", histogram, nil, "COMMIT alone: the disk, and a synchronous standby.", nil},
		{"transaction_records", histogram, nil, "Records of a committed transaction.", nil},
		{"transaction_bytes", histogram, nil, "Bytes of their keys, values and headers.", nil},
		{"transaction_partitions", histogram, nil, "Partitions that share a committed transaction.", nil},
		{"delivery_delay_seconds", histogram, []string{"topic"}, "From the timestamp of a partition's first record in a transaction to its COMMIT. Dead letters that are tried again are left out.", nil},

		{"fenced_total", counter, []string{"cause"}, "Partitions that were lost while they ran.", map[string][]string{"cause": {sink.FencedByOperator, sink.FencedByClaim, sink.FencedByLock}}},
		{"unknown_commits_total", counter, []string{"result"}, "Commits whose answer was lost, by what the ledger told.", map[string][]string{"result": {"committed", "rolled_back"}}},
		{"unknown_commits_pending", gauge, nil, "Commits whose answer was lost, and of which the ledger has told nothing yet.", nil},
		{"retries_total", counter, []string{"sqlstate_class"}, "Attempts that came to nothing and were made again, by the class of the SQLSTATE; network where no server said one, handler where a handler did.",
			map[string][]string{"sqlstate_class": {"08", "40", "53", "57", "network", "handler", "..."}}},
		{"foreign_key_waits_total", counter, nil, "Those of them that waited for a missing parent row.", nil},
		{"bisections_total", counter, nil, "Searches for the records of a transaction that are to blame for its error.", nil},
		{"stuck_sessions_ended_total", counter, nil, "Claims that were won by ending a session that held the row and had stopped.", nil},
		{"claims_total", counter, []string{"outcome"}, "Claims of partitions.", map[string][]string{"outcome": {sink.ClaimWon, sink.ClaimHeld, sink.ClaimRefused, sink.ClaimFailed}}},
		{"rebalances_total", counter, []string{"kind"}, "Rebalances that brought partitions or took some.", map[string][]string{"kind": {sink.Assigned, sink.Revoked, sink.Lost}}},

		{"dead_letters_total", counter, []string{"topic", "code"}, "Records that became dead letters in this process.", nil},
		{"dead_letters_resolved_total", counter, nil, "Dead letters whose records were written after all, in this process.", nil},
		{"dead_letters", gauge, []string{"topic", "status"}, "Open dead letters of the group, as of 30 seconds ago at most. Any process says it, so take max, not sum.", map[string][]string{"status": {"new", "retry"}}},
		{"dead_letters_oldest_age_seconds", gauge, []string{"topic"}, "Since when the oldest of the open dead letters is kept. Absent where there is none.", nil},

		{"verify_mismatches", gauge, []string{"table", "kind"}, "What `oncesink verify` found to be otherwise than the topics say, and has not found to be right since, as of 30 seconds ago at most. 1,000 of a table at most. Any process says it, so take max, not sum. Absent for tables that were never looked at a piece at a time.", map[string][]string{"kind": verify.Kinds}},
		{"verify_look_timestamp_seconds", gauge, []string{"table"}, "When it last looked at a piece of the table.", nil},
		{"verify_pass_timestamp_seconds", gauge, []string{"table"}, "When a walk had last seen all of the table. Absent before the first.", nil},

		{"buffer_bytes", gauge, nil, "Memory that records take which are not written yet.", nil},
		{"buffer_limit_bytes", gauge, nil, "Above so much of it nothing is fetched.", nil},
		{"writers", gauge, nil, "Transactions that may run at a time.", nil},
		{"writers_busy", gauge, nil, "Transactions that run.", nil},
		{"pool_connections", gauge, []string{"state"}, "Connections to the database.", map[string][]string{"state": {"acquired", "idle", "constructing"}}},
		{"pool_connections_limit", gauge, nil, "How many there may be.", nil},
		{"pool_acquires_total", counter, nil, "Connections that were taken from the pool.", nil},
		{"pool_acquire_seconds_total", counter, nil, "Time that was waited for them.", nil},

		{"kafka_connects_total", counter, nil, "Connections to brokers that were opened.", nil},
		{"kafka_connect_errors_total", counter, nil, "Connections to brokers that could not be opened.", nil},
		{"kafka_disconnects_total", counter, nil, "Connections to brokers that were closed.", nil},
		{"kafka_written_bytes_total", counter, nil, "Bytes of requests.", nil},
		{"kafka_write_errors_total", counter, nil, "Requests that could not be written.", nil},
		{"kafka_read_bytes_total", counter, nil, "Bytes of responses, as they were sent.", nil},
		{"kafka_read_errors_total", counter, nil, "Responses that could not be read.", nil},
		{"kafka_fetched_bytes_total", counter, nil, "Bytes of batches of records, decompressed.", nil},
		{"kafka_fetched_compressed_bytes_total", counter, nil, "The same, as they were sent.", nil},
		{"kafka_throttled_seconds_total", counter, nil, "Time for which brokers throttled the client.", nil},
		{"kafka_request_duration_seconds", histogram, nil, "From writing a request to the end of its response. A fetch waits for records, up to half a second.", nil},
	}
}

// descs makes the descriptions of all metrics, by name without prefix, for a group.
func descs(group string) map[string]*prometheus.Desc {
	out := map[string]*prometheus.Desc{}
	for _, d := range definitions() {
		if d.kind != histogram {
			out[d.name] = prometheus.NewDesc(Prefix+d.name, d.help, d.labels, prometheus.Labels{"group": group})
		}
	}
	return out
}

// helps are the texts of all metrics by name without prefix.
func helps() map[string]string {
	out := map[string]string{}
	for _, d := range definitions() {
		out[d.name] = d.help
	}
	return out
}
