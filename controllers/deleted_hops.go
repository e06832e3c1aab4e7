package controllers

import (
	"context"
	"errors"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// deletedHops remembers hops that held something from their deletion until their Secrets are removed. Only the hop names its
// Secrets, and to find them by label would take the right to list Secrets, which is to be able to read all. The account that
// it names finds the pods whose label was removed.
//
// It is memory alone: after a crash in between, or for a hop that is deleted while no controller runs, the garbage collector
// removes the Secrets, since the hop owns them.
type deletedHops struct {
	mu   sync.Mutex
	hops map[types.NamespacedName][]*v1alpha1.DelegationHop
}

// handler remembers a hop when it is deleted, and enqueues it: the event that the controller's own handler gets may come
// first, and be reconciled before there is anything to remember.
func (d *deletedHops) handler() handler.EventHandler {
	return handler.Funcs{DeleteFunc: func(
		_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request],
	) {
		hop, ok := e.Object.(*v1alpha1.DelegationHop)
		if !ok || hop.Spec.Token == nil && hop.Status.Credential == nil && hop.Status.ServiceAccountName == "" {
			return
		}
		d.add(hop)
		q.Add(reconcile.Request{NamespacedName: delegation.HopKey(hop)})
	}}
}

func (d *deletedHops) add(hop *v1alpha1.DelegationHop) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hops == nil {
		d.hops = map[types.NamespacedName][]*v1alpha1.DelegationHop{}
	}
	d.hops[delegation.HopKey(hop)] = append(d.hops[delegation.HopKey(hop)], hop)
}

// take removes and returns the hops of a name that were deleted.
func (d *deletedHops) take(key types.NamespacedName) []*v1alpha1.DelegationHop {
	d.mu.Lock()
	defer d.mu.Unlock()
	hops := d.hops[key]
	delete(d.hops, key)
	return hops
}

// withdraw calls a function for each deleted hop of a name, and remembers those for which it fails. Where the controller may
// not work in the namespace any more, the garbage collector does. It returns the names of their accounts.
func (d *deletedHops) withdraw(
	ctx context.Context, key types.NamespacedName, withdraw func(context.Context, *v1alpha1.DelegationHop) error,
) (accounts []string, err error) {
	var errs []error
	for _, hop := range d.take(key) {
		accounts = append(accounts, hop.Status.ServiceAccountName)
		if err := withdraw(ctx, hop); err != nil && !apierrors.IsForbidden(err) {
			d.add(hop)
			errs = append(errs, err)
		}
	}
	return accounts, errors.Join(errs...)
}
