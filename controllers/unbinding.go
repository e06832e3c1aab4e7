package controllers

import (
	"errors"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// unbinding has the paths of which all bindings are being removed at once. Their hops wait for it: what they have to look up and
// to delete takes effect later, and would compete with the deletions that take effect immediately.
type unbinding struct {
	mu    sync.Mutex
	paths map[types.NamespacedName]bool
}

// during calls a function while a path is marked. A path is reconciled once at a time.
func (u *unbinding) during(path types.NamespacedName, unbind func() error) error {
	u.set(path, true)
	defer u.set(path, false)
	return unbind()
}

func (u *unbinding) set(path types.NamespacedName, on bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.paths == nil {
		u.paths = map[types.NamespacedName]bool{}
	}
	if u.paths[path] = on; !on {
		delete(u.paths, path)
	}
}

func (u *unbinding) goesOn(path types.NamespacedName) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.paths[path]
}

var errUnbinding = errors.New("the bindings of its path are being removed")
