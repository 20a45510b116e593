package archive

import (
	"fmt"
	"strings"

	"github.com/oncesink/oncesink/offsets"
)

// DamagedError is a file that is not as it was written.
type DamagedError struct {
	File    string // where it lies
	Problem string
}

func (e *DamagedError) Error() string {
	return fmt.Sprintf("archive file %s is damaged: %s. Put a copy of it in its place; or, while the log still has its records, remove it and the later files of its partition, and run `oncesink archive run`", e.File, e.Problem)
}

// Lasting says that another attempt finds the same.
func (e *DamagedError) Lasting() {}

// NotHeldError is an offset that the archive does not hold.
type NotHeldError struct {
	Archive   string
	Partition offsets.Partition
	TopicID   offsets.Token
	Offset    int64
	Spans     []Span // what it holds
}

func (e *NotHeldError) Error() string {
	held := "nothing of it"
	if len(e.Spans) > 0 {
		texts := make([]string, len(e.Spans))
		for i, s := range e.Spans {
			texts[i] = fmt.Sprintf("%d to %d", s.First, s.End-1)
		}
		held = strings.Join(texts, ", ")
	}
	return fmt.Sprintf("the archive %s does not hold offset %d of %s (topic id %s): it holds %s", e.Archive, e.Offset, e.Partition, e.TopicID, held)
}
