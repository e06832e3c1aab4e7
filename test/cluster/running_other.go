//go:build unix && !linux

package cluster

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// running finds the processes of a cluster by their arguments, which name a file in
// the cluster's folder: only Linux shows the environment of a process.
func (r *record) running() ([]*os.Process, error) {
	list, err := exec.Command("ps", "-axww", "-o", "pid=,command=").Output()
	if err != nil {
		return nil, err
	}
	var found []*os.Process
	for line := range strings.Lines(string(list)) {
		id, command, _ := strings.Cut(strings.TrimSpace(line), " ")
		if !strings.Contains(command, "="+r.Dir+"/") || !isPart(command) {
			continue
		}
		pid, err := strconv.Atoi(id)
		if err != nil || pid == os.Getpid() {
			continue
		}
		if p, err := os.FindProcess(pid); err == nil {
			found = append(found, p)
		}
	}
	return found, nil
}

// isPart excludes a kubectl of the user.
func isPart(command string) bool {
	program, _, _ := strings.Cut(strings.TrimSpace(command), " ")
	for _, name := range controlPlaneBinaries() {
		if name != "kubectl" && strings.HasSuffix(program, "/"+name) {
			return true
		}
	}
	return false
}
