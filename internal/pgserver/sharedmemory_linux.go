package pgserver

import "golang.org/x/sys/unix"

// removeSharedMemory removes the System V segment of a killed server, which nobody is attached to any more.
func removeSharedMemory(id int) {
	unix.SysvShmCtl(id, unix.IPC_RMID, nil)
}
