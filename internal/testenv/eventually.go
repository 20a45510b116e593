package testenv

import (
	"context"
	"testing"
	"time"
)

// Who waits for long asks rarely: between two questions lies a tenth of the time that was waited so far, within these bounds. What
// is asked is a server, whose processor other tests want.
const (
	soonest = 5 * time.Millisecond
	latest  = 250 * time.Millisecond
)

// Eventually waits for a condition, and ends the test if it is not met within a limit. For the test's goroutine.
func Eventually(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if Await(ctx, ok) != nil {
		t.Fatalf("not within %v: %s", limit, what)
	}
}

// Await waits for a condition, and returns ctx's error if that ends first.
func Await(ctx context.Context, ok func() bool) error {
	began := time.Now()
	wait := time.NewTimer(0)
	defer wait.Stop()
	for !ok() {
		wait.Reset(min(max(time.Since(began)/10, soonest), latest))
		select {
		case <-wait.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
