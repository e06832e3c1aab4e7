package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// denialCache remembers which grants the API server denied half way, such as one whose binding a quota or another team's
// policy does not allow. Each try creates an identity and deletes it, and these writes would requeue the hop immediately.
type denialCache struct {
	mu    sync.Mutex
	byHop map[types.UID]denial
}

type denial struct {
	generation int64
	at         time.Time
	why        delegation.Finding
}

// add keeps a denial for as long as the next try waits.
func (c *denialCache) add(hop *v1alpha1.DelegationHop, now time.Time, why delegation.Finding) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byHop == nil {
		c.byHop = map[types.UID]denial{}
	}
	for uid, old := range c.byHop {
		if now.Sub(old.at) > delegation.DeniedRetry {
			delete(c.byHop, uid)
		}
	}
	c.byHop[hop.UID] = denial{generation: hop.Generation, at: now, why: why}
}

// get returns the denial that still applies to a hop; nil if it is time to try, or if the hop has changed.
func (c *denialCache) get(hop *v1alpha1.DelegationHop, now time.Time) *delegation.Finding {
	c.mu.Lock()
	defer c.mu.Unlock()
	last, found := c.byHop[hop.UID]
	if !found || last.generation != hop.Generation || now.Sub(last.at) >= delegation.DeniedRetry {
		return nil
	}
	return &last.why
}
