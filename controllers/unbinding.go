package controllers

import (
	"context"
	"errors"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// unbinding has the paths of which all bindings are being removed at once. Their hops wait for it: what they have to look up and
// to delete takes effect later, and would compete with the deletions that take effect immediately.
type unbinding struct {
	mu sync.Mutex
	// waiting has the hops of such paths that have to be reconciled afterwards.
	waiting map[types.NamespacedName]map[types.NamespacedName]*v1alpha1.DelegationHop
	// over gets these hops when their wait is over.
	over chan event.GenericEvent
}

func newUnbinding() *unbinding {
	return &unbinding{
		waiting: map[types.NamespacedName]map[types.NamespacedName]*v1alpha1.DelegationHop{}, over: make(chan event.GenericEvent),
	}
}

// during calls a function while the hops of a path wait. A path is reconciled once at a time.
func (u *unbinding) during(ctx context.Context, path types.NamespacedName, unbind func() error) error {
	u.mu.Lock()
	u.waiting[path] = map[types.NamespacedName]*v1alpha1.DelegationHop{}
	u.mu.Unlock()
	defer u.release(ctx, path)
	return unbind()
}

func (u *unbinding) release(ctx context.Context, path types.NamespacedName) {
	u.mu.Lock()
	waiting := u.waiting[path]
	delete(u.waiting, path)
	u.mu.Unlock()
	for _, hop := range waiting {
		select {
		case u.over <- event.GenericEvent{Object: hop}:
		case <-ctx.Done(): // the controller ends
			return
		}
	}
}

// holdsUp says whether a hop has to wait. It is reconciled again when it has not any more.
func (u *unbinding) holdsUp(hop *v1alpha1.DelegationHop) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	waiting, yes := u.waiting[delegation.PathKey(hop)]
	if yes {
		waiting[delegation.HopKey(hop)] = hop
	}
	return yes
}

var errUnbinding = errors.New("the bindings of its path are being removed")
