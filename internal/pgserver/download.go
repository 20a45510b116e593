package pgserver

import (
	"context"
	"errors"
)

// Download fetches the binaries of a version, once, into the user's cache directory.
func Download(ctx context.Context, version string) (string, error) {
	return "", errors.New("not installed: apt-get install postgresql")
}
