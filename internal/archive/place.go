package archive

import (
	"context"
	"io"
)

// place is where files lie. It is safe for concurrent use.
type place interface {
	// list returns what lies below a folder, at any depth; nothing if there is none.
	list(ctx context.Context, folder string) ([]object, error)
	// open reads an object from a byte on.
	open(ctx context.Context, name string, from int64) (io.ReadCloser, error)
	// tail reads the last n bytes of an object.
	tail(ctx context.Context, name string, n int64) ([]byte, error)
	// begin makes a draft.
	begin(ctx context.Context) (draft, error)
	// path is where an object lies, for people.
	path(name string) string
}

// object is a file of a place.
type object struct {
	name  string // with slashes, within the place
	bytes int64
}

// draft is a file that nobody sees yet.
type draft interface {
	io.Writer
	// publish has it appear under a name, whole and durable. It does not replace what is there: see errExists.
	publish(ctx context.Context, name string) error
	// discard removes it, unless it was published.
	discard()
}
