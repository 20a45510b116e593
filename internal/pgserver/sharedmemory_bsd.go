//go:build unix && !linux

package pgserver

import (
	"os/exec"
	"strconv"
)

// removeSharedMemory removes the System V segment of a killed server, which nobody is attached to any more.
func removeSharedMemory(id int) {
	exec.Command("ipcrm", "-m", strconv.Itoa(id)).Run()
}
