package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// traces are what a node creates outside of the cluster's folder.
type traces struct {
	Bridge  string            `json:"bridge"`
	Network string            `json:"network"` // of CNI
	Cgroup  string            `json:"cgroup"`
	Sysctls map[string]string `json:"sysctls"` // values before
	Folders []string          `json:"folders"` // those that did not exist before
}

// folders are those that containerd, CNI and kubelet create at fixed paths,
// parents first.
var folders = []string{
	"/run/containerd", shimSockets,
	"/var/lib/cni", cniResults,
	"/var/lib/kubelet", devicePlugins,
	"/var/log/containers",
}

const (
	shimSockets   = "/run/containerd/s"
	cniResults    = "/var/lib/cni/results"
	devicePlugins = "/var/lib/kubelet/device-plugins"
)

func missingFolders() []string {
	return slices.DeleteFunc(slices.Clone(folders), exists)
}

// remove removes the traces, after the cluster's processes have ended.
func (t *traces) remove(r *record) error {
	if t == nil {
		return nil
	}
	if err := t.endContainers(); err != nil {
		return err
	}
	return errors.Join(
		unmountBelow(r.Dir),
		t.removeBridge(),
		removeTables(),
		t.removeFiles(r),
		t.removeCgroups(),
		restoreSysctls(t.Sysctls))
}

// endContainers kills the processes of pods, which do not end with containerd.
func (t *traces) endContainers() error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		pids, err := t.contained()
		if err != nil || len(pids) == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes of pods do not end", len(pids))
		}
		for _, pid := range pids {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (t *traces) contained() ([]int, error) {
	var pids []int
	err := t.eachCgroup(func(dir string) error {
		content, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		for line := range strings.Lines(string(content)) {
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
				pids = append(pids, pid)
			}
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	return pids, err
}

func (t *traces) removeCgroups() error {
	return t.eachCgroup(func(dir string) error {
		var err error
		for range 50 { // a cgroup is busy for a moment after its last process
			if err = syscall.Rmdir(dir); err == nil || errors.Is(err, syscall.ENOENT) {
				return nil
			}
			time.Sleep(20 * time.Millisecond)
		}
		return fmt.Errorf("removing the cgroup %s: %w", dir, err)
	})
}

// eachCgroup visits the cgroups of the node, children first.
func (t *traces) eachCgroup(do func(dir string) error) error {
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	var dirs []string
	for _, root := range roots {
		_ = filepath.WalkDir(filepath.Join(root, t.Cgroup), func(path string, entry os.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				dirs = append(dirs, path)
			}
			return nil // it may have just been removed
		})
	}
	slices.Reverse(dirs)
	for _, dir := range dirs {
		if err := do(dir); err != nil {
			return err
		}
	}
	return nil
}

// makeCgroups creates the parent cgroup of kubelet's cgroups, to separate them from
// those of another kubelet on this machine.
func makeCgroups(name string) error {
	roots, err := cgroupRoots()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if err := os.MkdirAll(filepath.Join(root, name), 0o755); err != nil {
			return err
		}
		// With cgroup v2, controllers must be enabled for children. systemd enables most.
		for _, controller := range []string{"+cpuset", "+cpu", "+io", "+memory", "+pids"} {
			if control := filepath.Join(root, "cgroup.subtree_control"); exists(control) {
				_ = os.WriteFile(control, []byte(controller), 0)
			}
		}
	}
	return nil
}

func cgroupRoots() ([]string, error) {
	return mounts(func(path, kind string) bool {
		return (kind == "cgroup" || kind == "cgroup2") && strings.HasPrefix(path+"/", "/sys/fs/cgroup/")
	})
}

// mounts lists the wanted mount points in mount order.
func mounts(want func(path, kind string) bool) ([]string, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer file.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var found []string
	for scanner := bufio.NewScanner(file); scanner.Scan(); {
		before, after, _ := strings.Cut(scanner.Text(), " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if len(fields) < 5 || len(kind) == 0 {
			continue
		}
		if path := unescape.Replace(fields[4]); want(path, kind[0]) {
			found = append(found, path)
		}
	}
	return found, nil
}

func unmountBelow(dir string) error {
	for range 100 {
		below, err := mountsBelow(dir)
		if err != nil || len(below) == 0 {
			return err
		}
		slices.Reverse(below)
		for _, path := range below {
			if err := syscall.Unmount(path, 0); err != nil {
				_ = syscall.Unmount(path, syscall.MNT_DETACH)
			}
		}
	}
	return fmt.Errorf("a mount below %s cannot be removed", dir)
}

func mountsBelow(dir string) ([]string, error) {
	return mounts(func(path, _ string) bool { return strings.HasPrefix(path, dir+"/") })
}

// removeFiles removes the files of this cluster at fixed paths.
func (t *traces) removeFiles(r *record) error {
	files := []string{filepath.Join(devicePlugins, "kubelet.sock")}
	tasks, _ := filepath.Glob(r.path("containerd/state/io.containerd.runtime.v2.task/*/*"))
	for _, task := range tasks {
		address, _ := os.ReadFile(filepath.Join(task, "address"))
		if socket, found := strings.CutPrefix(strings.TrimSpace(string(address)), "unix://"+shimSockets+"/"); found {
			files = append(files, filepath.Join(shimSockets, socket))
		}
		results, _ := filepath.Glob(filepath.Join(cniResults, "*-"+filepath.Base(task)+"-*"))
		files = append(files, results...)
	}
	links, _ := filepath.Glob("/var/log/containers/*")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, r.logs()+"/") {
			files = append(files, link)
		}
	}
	var errs []error
	for _, file := range files {
		if err := os.Remove(file); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	for _, folder := range slices.Backward(t.Folders) {
		_ = os.Remove(folder) // fails unless it is empty
	}
	return errors.Join(errs...)
}
