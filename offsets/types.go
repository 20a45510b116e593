package offsets

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
)

// Partition names one partition of one topic.
type Partition struct {
	Topic     string
	Partition int32
}

// String returns "topic/partition".
func (p Partition) String() string { return fmt.Sprintf("%s/%d", p.Topic, p.Partition) }

// Token is a random 128-bit identity: a fence, a claim, or a topic id of the
// broker. The zero Token means "none". It travels as a uuid, none as NULL.
type Token [16]byte

// NewToken draws a random token.
func NewToken() Token {
	var t Token
	_, _ = rand.Read(t[:]) // never fails: crypto/rand aborts the program instead
	return t
}

// IsZero reports whether t is the zero token.
func (t Token) IsZero() bool { return t == Token{} }

// String returns the token in the form of a UUID.
func (t Token) String() string {
	h := hex.EncodeToString(t[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// ScanUUID implements pgtype.UUIDScanner.
func (t *Token) ScanUUID(v pgtype.UUID) error {
	*t = Token{}
	if v.Valid {
		*t = v.Bytes
	}
	return nil
}

// UUIDValue implements pgtype.UUIDValuer.
func (t Token) UUIDValue() (pgtype.UUID, error) {
	return pgtype.UUID{Bytes: t, Valid: !t.IsZero()}, nil
}

// Position is a place in a partition's log.
type Position struct {
	// Next is the offset of the next record to apply.
	Next int64
	// Epoch is the leader epoch of the last applied record, -1 if unknown.
	Epoch int32
	// Time is the timestamp of the last applied record; zero if none was.
	Time time.Time
}

// Mapping identifies how one topic is written into one target table.
type Mapping struct {
	Topic string
	// Target is the table's schema-qualified name.
	Target string
	// Fingerprint is a hash over everything that decides what a record becomes.
	Fingerprint string
	// Definition is that everything, as a JSON object, for people: by it one mapping is compared with another one. It may be empty.
	Definition string
}

// Want asks for one partition.
type Want struct {
	Partition
	// TopicID is the broker's id of the topic; a row with another one is
	// refused with a *TopicChangedError.
	TopicID Token
	// Start is inserted as the first position if the partition has no row.
	// Nil means that a row must exist: ErrNoPosition otherwise. A caller that
	// has held the partition before passes nil, so that a row that vanished is
	// never inserted again.
	Start *Position
}

// Claim is what the owner of a partition holds: the row's content as the
// claim left it. It is a value; a newer one replaces it.
type Claim struct {
	Partition
	// ID names this claim; the ledger row carries it while the claim is the
	// last one made.
	ID Token
	// Fence is the token that an advance must name. An operator who moves the
	// row draws a new one and leaves the ID.
	Fence Token
	// Position is where the owner has to read on.
	Position Position
	TopicID  Token
	// Generation counts how often the topic was recreated and adopted.
	Generation int32
	// Source is the number of (topic id, partition, generation) for guard
	// columns: the generation in the bits above [SourceBits], a serial number
	// below.
	Source int32
	// Paused says that an operator paused the partition.
	Paused bool
}

// SourceBits is the number of low bits of a source number that hold its serial
// number; the bits above hold the generation.
const SourceBits = 20

// Claimed is the answer to one Want.
type Claimed struct {
	Claim
	// Err is nil if the partition was won. A *HeldError says that another
	// session still holds the row; Position is then the last committed one.
	// Otherwise a *TopicChangedError, *ClusterChangedError, *MappingError or
	// ErrNoPosition (wrapped), and the row is as it was.
	Err error
	// WaitedFor describes the sessions that were ended to win the row, if any.
	WaitedFor string
}

// Step moves one partition's position.
type Step struct {
	Claim Claim    // Claim.Position is the expected position
	To    Position // To.Next lies above it
}

// Row is one row of the ledger, as people see it.
type Row struct {
	Partition
	Position   Position
	TopicID    Token
	ClusterID  string
	Generation int32
	ClaimID    Token
	Fence      Token
	FenceCount int64  // how often the fence was drawn anew, for people
	Owner      string // host, pid, instance
	Instance   string // the owning process's instance name: see [Ledger.Instance]
	Paused     bool
	// Halted says why the owner stopped the partition; empty if it runs.
	Halted string
	// HaltReason is the kind of that, for programs: see [HaltReasons]. Empty if it runs, or an older program has stopped it.
	HaltReason string
	// Stuck says what the owner fails at while it goes on trying; empty if it moves. See [Ledger.Stuck].
	Stuck string
	// MovedAt is when the position last moved, by the database's clock; zero if
	// it never did.
	MovedAt time.Time
	// First is the lowest position that the row ever had.
	First int64
	// ReplayRefused says why the group must not be rewound, as its last claim said; empty if it may be.
	ReplayRefused string
}
