package offsets

// Group returns the sink group's name.
func (l *Ledger) Group() string { return l.group }
