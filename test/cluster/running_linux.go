package cluster

import (
	"bytes"
	"os"
	"strconv"
)

// running finds the processes of a cluster by their marker, which their children
// inherit. The handles stay valid if a process id is reused.
func (r *record) running() ([]*os.Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []*os.Process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		p, err := os.FindProcess(pid)
		if err != nil {
			continue
		}
		// Checked after the handle was opened, so that both are the same process.
		if hasMarker(pid, r.ID) {
			found = append(found, p)
		} else {
			_ = p.Release()
		}
	}
	return found, nil
}

// hasMarker is false for a process that has ended, is a zombie, or is another
// user's.
func hasMarker(pid int, id string) bool {
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return false
	}
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if string(variable) == marker+"="+id {
			return true
		}
	}
	return false
}
