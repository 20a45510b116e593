package consumer

import (
	"errors"
	"time"

	"github.com/oncesink/oncesink/docs"
	"github.com/oncesink/oncesink/internal/decode"
	"github.com/oncesink/oncesink/sink"
)

// askColumns is how often a lane asks whether there are columns now, and noteColumns after how many times it has the ledger note again that it
// waits.
const (
	askColumns  = 500 * time.Millisecond
	noteColumns = 6
)

// settleFields has the sink do about new fields what their table says, until records with them can be decoded. It reports false if the
// records are to be dropped: the lane has left its state, or the table no longer fits, which ends the run.
func (m *member) settleFields(l *lane, turns int, fields *decode.NewFields) bool {
	ctx := l.await(m.work, turns, "a column of "+fields.Table.Title()+" for "+fields.Names())
	if ctx == nil {
		return false
	}
	defer l.ended(turns)
	for times := 0; ; times++ {
		err := m.sink.Settle(ctx, fields)
		var config *sink.ConfigError
		switch {
		case ctx.Err() != nil:
			return false
		case err == nil:
			if times > 0 {
				m.log.Info("new fields are settled: reading on", "topic", l.Topic, "partition", l.Partition.Partition, "table", fields.Table.Title(), "fields", fields.Names())
			}
			return l.view().turns == turns
		case errors.As(err, &config):
			l.leave(halted, err)
			m.fail(err)
			return false
		}
		if l.refused(turns, err, func(l *lane) { m.suspend(l) }) {
			m.log.Warn("waiting for a column", "topic", l.Topic, "partition", l.Partition.Partition, "table", fields.Table.Title(), "fields", fields.Names(), "error", err, "steps", docs.Runbook("waiting-for-a-column"))
		}
		if times%noteColumns < 2 { // the first note goes with what is written of what came before
			m.noteWait(ctx, l)
		}
		if !rest(ctx, askColumns) {
			return false
		}
	}
}
