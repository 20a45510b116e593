package kafka

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A record without a time has the zero time.
func TestRecordTime(t *testing.T) {
	for millis, none := range map[int64]bool{-1: true, 0: false, 1: false, -2: false} {
		if got := Record(&kgo.Record{Timestamp: time.UnixMilli(millis)}).Timestamp; got.IsZero() != none {
			t.Errorf("%d ms: got %v", millis, got)
		}
	}
	if got := Record(&kgo.Record{}).Timestamp; !got.IsZero() { // of a message of Kafka 0.9 and before
		t.Errorf("no time at all: got %v", got)
	}
}
