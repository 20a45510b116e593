package engine

import "github.com/oncesink/oncesink/offsets"

// Outcome is what became of one part.
type Outcome struct {
	// Claim is what the partition's owner holds now. After success its position is
	// the part's To.
	Claim offsets.Claim
	// Err is nil if the part's rows and position are committed. An
	// *offsets.FencedError: the partition is somebody else's, was moved by an
	// operator, or fell back with a restore: drop everything queued and read the
	// ledger. A *ConfigError: stop, a person must act. A *HaltError: stop this
	// partition. Otherwise the context's error.
	Err error
}
