//go:build unix

package cluster

import (
	"fmt"
	"path/filepath"
)

// KeptDir returns the state folder of the one cluster that stays when its
// starter has ended. It is always the same, so that its kubeconfig is, and so
// that `make cluster-down` ends it whoever started it.
func KeptDir() (string, error) {
	cache, err := Cache()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	return filepath.Join(cache, "cluster"), nil
}

// Kept returns the cluster that stays, or nil where there is none.
func Kept() (*Info, error) {
	dir, err := KeptDir()
	if err != nil {
		return nil, err
	}
	running, err := Running()
	if err != nil {
		return nil, fmt.Errorf("looking for a cluster that is up: %w", err)
	}
	resolved, _ := filepath.EvalSymlinks(dir) // none without a cluster
	for _, info := range running {
		if info.Dir == resolved {
			return &info, nil
		}
	}
	return nil, nil
}
