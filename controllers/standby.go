package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/grants"
)

// standbyDelay is how long a replica that is not the leader leaves a withdrawal to the leader.
const standbyDelay = 500 * time.Millisecond

// Standby withdraws what has ended for good, on every replica: a leader that has died, or cannot reach the API server, must not
// hold that up until its Lease is over. It acts on what was revoked and on what is past its end, which the objects say alone. It
// writes no status: the leader does, which also does all else.
type Standby struct {
	hops    facts.Hops
	gather  *facts.Gatherer
	grants  *grants.Manager
	stopper workloadStopper
	clock   clock.PassiveClock
	// elected is closed once this replica leads.
	elected <-chan struct{}
}

func (s *Standby) setup(mgr ctrl.Manager) error {
	later := func(requests func(context.Context, client.Object) []reconcile.Request) handler.EventHandler {
		add := func(ctx context.Context, o client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			for _, request := range requests(ctx, o) {
				q.AddAfter(request, standbyDelay)
			}
		}
		return handler.Funcs{
			CreateFunc: func(ctx context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
				add(ctx, e.Object, q)
			},
			UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
				add(ctx, e.ObjectNew, q)
			},
		}
	}
	options := queueOptions(standbyConcurrency)
	options.NeedLeaderElection = new(false)
	return ctrl.NewControllerManagedBy(mgr).
		Named("standby").
		Watches(&v1alpha1.DelegationHop{}, later(s.hopAndDescendants)).
		Watches(&v1alpha1.DelegationPath{}, later(s.hopsOfPath)).
		WithOptions(options).
		Complete(s)
}

// standbyConcurrency is how many hops a standby withdraws from at the same time.
const standbyConcurrency = 8

func (s *Standby) hopAndDescendants(ctx context.Context, o client.Object) []reconcile.Request {
	keys, err := s.hops.WithDescendants(ctx, client.ObjectKeyFromObject(o))
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot find the descendants of a hop", "hop", client.ObjectKeyFromObject(o))
	}
	return requestsFor(keys)
}

func (s *Standby) hopsOfPath(ctx context.Context, o client.Object) []reconcile.Request {
	hops, err := s.hops.OfPath(ctx, client.ObjectKeyFromObject(o))
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot find the hops of a path", "path", client.ObjectKeyFromObject(o))
	}
	return requestsFor(facts.KeysOf(hops))
}

// Reconcile withdraws everything from a hop whose chain has ended for good, unless this replica leads or the leader did.
func (s *Standby) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	select {
	case <-s.elected:
		return ctrl.Result{}, nil
	default:
	}
	hop := &v1alpha1.DelegationHop{}
	if err := s.hops.Get(ctx, req.NamespacedName, hop); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if hop.Status.ServiceAccountName == "" { // it holds nothing, or its last withdrawal is complete
		return ctrl.Result{}, nil
	}
	now := s.clock.Now()
	in, err := s.gather.Chain(ctx, hop, now)
	if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading the chain of hop %s: %w", req.NamespacedName, err)
	}
	v := delegation.Evaluate(in)
	if v.Class() != v1alpha1.ClassFinal {
		if end := delegation.NextChange(v, time.Time{}, now); end > 0 {
			return ctrl.Result{RequeueAfter: end + standbyDelay}, nil
		}
		return ctrl.Result{}, nil
	}
	ctrl.LoggerFrom(ctx).Info("withdrawing in place of the leader", "reason", v.Findings[0].Reason)
	withdrawn := s.grants.Withdraw(ctx, req.NamespacedName, hop)
	_, stopped := s.stopper.stop(ctx, req.NamespacedName, hop, []string{hop.Status.ServiceAccountName}, v.Findings[0])
	err = errors.Join(withdrawn, stopped)
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: conflictWait}, nil
	}
	return ctrl.Result{}, err
}
