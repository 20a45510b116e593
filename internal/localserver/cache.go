package localserver

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
)

// CacheDir returns oncesink's folder in the user's cache directory, which need not
// exist yet. Without HOME and XDG_CACHE_HOME the user's entry in the accounts counts.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		u, lookup := user.Current()
		if lookup != nil || u.HomeDir == "" {
			return "", fmt.Errorf("find the cache directory: %w; set HOME or XDG_CACHE_HOME", err)
		}
		dir = filepath.Join(u.HomeDir, ".cache")
	}
	return filepath.Join(dir, "oncesink"), nil
}

// FillOnce makes dir and what is in it, unless it is there: fill puts the content into
// a folder beside it that becomes dir once it is whole. Of several processes one works
// and the others wait for it. Everybody may read the result.
func FillOnce(dir string, fill func(tmp string) error) error {
	if _, err := os.Stat(dir); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("create cache: %w", err)
	}
	lock, err := os.OpenFile(dir+".lock", os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return fmt.Errorf("lock cache: %w", err)
	}
	defer lock.Close() // and unlock
	if err := Lock(lock, true); err != nil {
		return fmt.Errorf("lock cache: %w", err)
	}
	if _, err := os.Stat(dir); err == nil {
		return nil // somebody else was first
	}
	// A fixed name: under the lock, what is there was left behind by a process that died.
	tmp := dir + ".part"
	if err := os.RemoveAll(tmp); err != nil {
		return fmt.Errorf("clear cache: %w", err)
	}
	if err := os.Mkdir(tmp, 0o755); err != nil {
		return fmt.Errorf("create cache: %w", err)
	}
	if err := os.Chmod(tmp, 0o755); err != nil { // whatever the umask
		return fmt.Errorf("create cache: %w", err)
	}
	if err := fill(tmp); err != nil {
		os.RemoveAll(tmp)
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return fmt.Errorf("fill cache: %w", err)
	}
	return nil
}
