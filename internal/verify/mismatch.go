package verify

import (
	"time"

	"github.com/oncesink/oncesink/offsets"
)

// Kinds of mismatches.
const (
	Row      = "row"      // a column has another value than the event that the row is of
	Place    = "place"    // the event that the row says it is of is none of its key, or there is none
	Foreign  = "foreign"  // no topic made the row
	Missing  = "missing"  // an event is not in the table: the row is not there, or an earlier event's
	Deletion = "deletion" // a deletion is not in the table: it is not remembered, or the row is still there
	Children = "children" // the children of a row are not those of their event
	Orphan   = "orphan"   // a child has no parent
)

// Kinds lists them.
var Kinds = []string{Row, Place, Foreign, Missing, Deletion, Children, Orphan}

// Mismatch is what is otherwise than the topics say.
type Mismatch struct {
	Kind string `json:"kind"`
	// Table has the row, or lacks it: the table that is looked at, one of its children, or the delete memory.
	Table string `json:"table"`
	// Key of the row, in PostgreSQL's texts; of children their parent's.
	Key []string `json:"key,omitempty"`
	// Topic, Partition and Offset are of the event that says what the row should be. Without a topic there is none.
	Topic     string `json:"topic,omitempty"`
	Partition int32  `json:"partition"`
	Offset    int64  `json:"offset"`
	// Columns that have not what the event says.
	Columns []string `json:"columns,omitempty"`
	Problem string   `json:"problem"`
	// Transaction wrote the row that is there last, by its number; Written is its commit, which PostgreSQL knows
	// with track_commit_timestamp.
	Transaction string     `json:"transaction,omitempty"`
	Written     *time.Time `json:"written_at,omitempty"`
	Found       time.Time  `json:"found_at"`

	of []string // the key of the row by which it was found
}

func (m *Mismatch) event(p offsets.Partition, offset int64) {
	m.Topic, m.Partition, m.Offset = p.Topic, p.Partition, offset
}
