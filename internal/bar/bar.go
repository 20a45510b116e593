// Package bar draws bars of progress beside what they are about. It knows nothing of what that is.
package bar

import (
	"time"

	"github.com/jedib0t/go-pretty/v6/progress"
)

// Draw draws until stop is called, which returns when nothing more is drawn.
func Draw(w progress.Writer) (stop func()) {
	rendered := make(chan struct{}) // closed when the last is drawn
	go func() {
		defer close(rendered)
		w.Render()
	}()
	return func() {
		again := time.NewTicker(10 * time.Millisecond)
		defer again.Stop()
		for { // one that has not begun yet does not hear of a stop
			w.Stop()
			select {
			case <-rendered:
				return
			case <-again.C:
			}
		}
	}
}
