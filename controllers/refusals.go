package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/internal/delegation"
)

// refusals remembers which grants the API server refused half way, such as one whose binding a quota or a policy of
// somebody else's does not let be. Each try makes an identity and takes it away, and these writes would wake the hop
// for the next try at once.
type refusals struct {
	mu    sync.Mutex
	byHop map[types.UID]refused
}

type refused struct {
	generation int64
	at         time.Time
	why        delegation.Finding
}

// remember keeps a refusal for as long as the next try waits.
func (r *refusals) remember(s *state) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byHop == nil {
		r.byHop = map[types.UID]refused{}
	}
	for uid, old := range r.byHop { // what nobody asks about any more
		if s.in.Now.Sub(old.at) > refusedWait {
			delete(r.byHop, uid)
		}
	}
	r.byHop[s.hop.UID] = refused{generation: s.hop.Generation, at: s.in.Now, why: *s.refused}
}

// standing is the refusal that still stands for a hop; nil if it is time to try, or if the hop has changed.
func (r *refusals) standing(s *state) *delegation.Finding {
	r.mu.Lock()
	defer r.mu.Unlock()
	last, found := r.byHop[s.hop.UID]
	if !found || last.generation != s.hop.Generation || s.in.Now.Sub(last.at) >= refusedWait {
		return nil
	}
	return &last.why
}
