package admin

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/oncesink/oncesink/consumer"
	"github.com/oncesink/oncesink/internal/pgerr"
)

// statusReport is what /status.json says, from memory. Its partitions have the keys of those of `oncesink status --json`.
type statusReport struct {
	Group   string  `json:"group"`
	Version string  `json:"version"`
	Ready   bool    `json:"ready"`
	Checks  []check `json:"checks"` // of /livez and /readyz
	// Partitions are those of this process; `oncesink status` has those of the whole group.
	Partitions []partitionReport `json:"partitions"`
	// Records and DeadLetters were counted by this process.
	Records     int64 `json:"records"`
	DeadLetters int64 `json:"dead_letters"`
}

// partitionReport is one partition. Lags are null where they are not known.
type partitionReport struct {
	Topic      string     `json:"topic"`
	Partition  int32      `json:"partition"`
	State      string     `json:"state"`
	Since      time.Time  `json:"since"` // in this state
	Position   int64      `json:"position"`
	Lag        *int64     `json:"lag"`
	LagSeconds *float64   `json:"lag_seconds"`
	Committed  *time.Time `json:"committed"` // when this process last committed records of it
	Reason     string     `json:"reason,omitempty"`
	Error      string     `json:"error,omitempty"` // why it is halted, or waits
	Records    int        `json:"records"`         // that wait to be written
	Bytes      int64      `json:"bytes"`
	InFlight   bool       `json:"in_flight"`
}

func (h *Handler) report() *statusReport {
	s := h.state()
	checks := append(s.alive(), s.ready()...)
	r := &statusReport{Group: h.cfg.Group, Version: h.cfg.Version, Ready: allOK(s.ready()), Checks: checks, Partitions: []partitionReport{}}
	h.mu.Lock()
	c := h.consumer
	h.mu.Unlock()
	if c == nil {
		return r
	}
	stats := c.Stats()
	r.Records, r.DeadLetters = stats.Records, stats.DeadLetters
	for _, p := range c.Status() {
		r.Partitions = append(r.Partitions, reportOf(p))
	}
	return r
}

func reportOf(p consumer.PartitionStatus) partitionReport {
	r := partitionReport{Topic: p.Topic, Partition: p.Partition, State: string(p.State), Since: p.Since.UTC(), Position: p.Position, Reason: string(p.Reason),
		Records: p.Records, Bytes: p.Bytes, InFlight: p.InFlight}
	if p.Lag >= 0 {
		r.Lag = &p.Lag
	}
	if p.Behind >= 0 {
		seconds := p.Behind.Seconds()
		r.LagSeconds = &seconds
	}
	if !p.Committed.IsZero() {
		at := p.Committed.UTC()
		r.Committed = &at
	}
	if p.Err != nil {
		r.Error = pgerr.Text(p.Err)
	}
	return r
}

func (h *Handler) status(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	_ = enc.Encode(h.report()) // who asked may be gone
}
