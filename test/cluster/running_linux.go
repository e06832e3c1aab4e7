package cluster

import (
	"bytes"
	"os"
	"strconv"
)

// running finds the processes of a cluster by the marker that they carry, and
// that their own children inherit. What it returns stands for these very
// processes, even when an id is used again meanwhile.
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
		// Asked after the handle was taken, so that both mean the same process.
		if carriesMarker(pid, r.ID) {
			found = append(found, p)
		} else {
			_ = p.Release()
		}
	}
	return found, nil
}

// carriesMarker is false for what is gone, is a zombie, or is somebody else's.
func carriesMarker(pid int, id string) bool {
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
