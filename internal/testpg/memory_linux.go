package testpg

import "syscall"

// memory returns the directories in memory that have room for a test server. Every test creates a database and
// drops it, a thousand small files each: on a disk that takes a third of all processor time of the tests.
func memory() []string {
	const dir, room = "/dev/shm", 4 << 30
	var fs syscall.Statfs_t
	if syscall.Statfs(dir, &fs) != nil || fs.Bavail*uint64(fs.Bsize) < room {
		return nil
	}
	return []string{dir}
}
