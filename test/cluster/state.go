//go:build unix

package cluster

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// record is what is needed to remove a cluster. It is on disk, so that the cluster
// can be removed after the process that started it has ended. That process holds
// a lock beside the record while it runs.
type record struct {
	ID    string    `json:"id"`
	PID   int       `json:"pid"`
	Since time.Time `json:"since"`
	Dir   string    `json:"dir"`
	Temp  bool      `json:"temp"` // this package created the folder and removes it
	// Node is written before the first trace is created.
	Node *traces `json:"node,omitempty"`

	lock    *os.File
	removed bool
}

// Cache returns the folder of binaries and of the state of clusters:
// WAYLEAVE_CACHE, or a folder in the user's cache.
func Cache() (string, error) {
	if dir := os.Getenv("WAYLEAVE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	// Not os.UserCacheDir, which returns other folders on other systems.
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "wayleave"), nil
	}
	home, err := os.UserHomeDir()
	return filepath.Join(home, ".cache", "wayleave"), err
}

// records returns the folder of all records. Only the user can write to it: with
// write access one could have processes ended and folders removed.
func records() (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "clusters")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	// Mounts are listed by their real path.
	return filepath.EvalSymlinks(dir)
}

func newRecord(dir string) (*record, error) {
	parent, err := records()
	if err != nil {
		return nil, err
	}
	r := &record{ID: newID(), PID: os.Getpid(), Since: time.Now()}
	if r.lock, err = tryLock(filepath.Join(parent, r.ID+".lock")); err != nil {
		return nil, err
	}
	if r.Dir, r.Temp = filepath.Join(parent, r.ID), true; dir != "" {
		r.Temp = false
		if r.Dir, err = realFolder(dir); err != nil {
			return nil, err
		}
	}
	if err := r.save(); err != nil {
		return nil, err
	}
	if err := r.empty(); err != nil {
		return nil, err
	}
	// The API server appends to an audit log; it must not contain two clusters' events.
	if err := os.RemoveAll(r.logs()); err != nil {
		return nil, err
	}
	return r, os.MkdirAll(r.logs(), 0o700)
}

func newID() string {
	id := make([]byte, 5)
	_, _ = rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

func realFolder(dir string) (string, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

func (r *record) logs() string            { return filepath.Join(r.Dir, "logs") }
func (r *record) path(p ...string) string { return filepath.Join(append([]string{r.Dir}, p...)...) }

func (r *record) save() error {
	content, err := json.Marshal(r)
	if err != nil {
		return err
	}
	parent, err := records()
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(parent, r.ID+".json"), content)
}

// writeFile writes the file as a whole or not at all.
func writeFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// entries are what a cluster creates in its folder, beside logs. Nothing else is
// removed from a folder that the caller named.
var entries = []string{"pki", "etcd", "config", "kubelet", "containerd", "cni", "images", "kubeconfig"}

func (r *record) empty() error {
	var errs []error
	for _, name := range entries {
		errs = append(errs, os.RemoveAll(r.path(name)))
	}
	return errors.Join(errs...)
}

// remove ends the cluster's processes and removes everything that it created. The
// record is removed last: a later Sweep retries what has failed.
func (r *record) remove() error {
	if r.lock == nil {
		return nil
	}
	if err := r.endProcesses(); err != nil {
		return err
	}
	if err := r.Node.remove(r); err != nil {
		return err
	}
	if err := r.empty(); err != nil {
		return err
	}
	if r.Temp {
		if err := os.RemoveAll(r.Dir); err != nil {
			return err
		}
	}
	return r.removeRecord()
}

func (r *record) removeRecord() error {
	parent, err := records()
	if err != nil {
		return err
	}
	err = errors.Join(
		os.Remove(filepath.Join(parent, r.ID+".json")),
		os.Remove(r.lock.Name()),
		r.lock.Close())
	r.lock, r.removed = nil, true
	return err
}

// endProcesses kills the processes: there is no state to save, and the API server
// would end slowly.
func (r *record) endProcesses() error {
	deadline := time.Now().Add(15 * time.Second)
	for {
		found, err := r.running()
		if err != nil {
			return fmt.Errorf("looking for processes: %w", err)
		}
		if len(found) == 0 {
			return nil
		}
		for _, p := range found {
			_ = p.Kill() // it may have ended already
			_ = p.Release()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes do not end", len(found))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// Info describes a cluster that runs on this machine.
type Info struct {
	PID   int // of the process that owns it
	Since time.Time
	Dir   string // its state folder
	Node  bool
}

func (i Info) String() string {
	parts := []string{fmt.Sprintf("process %d", i.PID), "since " + i.since(), "state in " + i.Dir}
	if i.Node {
		parts = append(parts, "with a node")
	}
	return strings.Join(parts, ", ")
}

func (i Info) since() string { return i.Since.Local().Format(time.DateTime) }

// Running lists the user's clusters.
func Running() ([]Info, error) {
	var infos []Info
	err := eachRecord(func(r *record, lockPath string) error {
		lock, err := tryLock(lockPath)
		if errors.Is(err, errLocked) {
			infos = append(infos, Info{PID: r.PID, Since: r.Since, Dir: r.Dir, Node: r.Node != nil})
			return nil
		}
		if err == nil {
			err = lock.Close()
		}
		return err
	})
	return infos, err
}

// Sweep removes clusters whose process has ended. The watchdog does so
// immediately; Sweep is for when the watchdog has failed.
func Sweep() error {
	return eachRecord(sweep)
}

// sweepOne does so for one cluster, and returns whether nothing is left of it.
func sweepOne(id string) (bool, error) {
	removed := true
	err := eachRecord(func(r *record, lockPath string) error {
		if r.ID != id {
			return nil
		}
		err := sweep(r, lockPath)
		removed = r.removed
		return err
	})
	return removed, err
}

func sweep(r *record, lockPath string) error {
	lock, err := tryLock(lockPath)
	if errors.Is(err, errLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	r.lock = lock
	// Another process may have removed it before the lock was taken.
	if _, err := os.Stat(strings.TrimSuffix(lockPath, ".lock") + ".json"); err != nil {
		return errors.Join(os.Remove(lockPath), lock.Close())
	}
	return r.remove()
}

func eachRecord(do func(r *record, lockPath string) error) error {
	parent, err := records()
	if err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(parent, "*.json"))
	if err != nil {
		return err
	}
	var errs []error
	for _, file := range files {
		r, err := readRecord(file)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err == nil {
			err = do(r, strings.TrimSuffix(file, ".json")+".lock")
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func readRecord(path string) (*record, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var r record
	if err := json.Unmarshal(content, &r); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return &r, nil
}

var errLocked = errors.New("locked by another process")

// tryLock takes a lock that the kernel releases when this process ends.
func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close()
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = errLocked
	}
	return nil, err
}
