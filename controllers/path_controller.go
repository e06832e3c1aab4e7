package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/grants"
)

// PathReconciler reports the state of each path, and removes the bindings of all its hops immediately when it ends.
type PathReconciler struct {
	hops   facts.Hops
	gather *facts.Gatherer
	grants *grants.Manager
	record *recorder
	clock  clock.PassiveClock
	// floor gets something when a policy came or went; nil where none is required.
	floor <-chan event.GenericEvent
	// authority gets the paths that rest on rights which have changed.
	authority <-chan event.GenericEvent
	// recheck is how often a path is looked at again.
	recheck time.Duration
	// unbinding has this path while all its bindings are being removed.
	unbinding *unbinding
}

// countDelay gathers the changes of many hops into one count.
const countDelay = 500 * time.Millisecond

func (r *PathReconciler) setup(mgr ctrl.Manager) error {
	countHops := func(o client.Object, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
		if hop, ok := o.(*v1alpha1.DelegationHop); ok {
			q.AddAfter(reconcile.Request{NamespacedName: delegation.PathKey(hop)}, countDelay)
		}
	}
	b := ctrl.NewControllerManagedBy(mgr).
		Named("path").
		For(&v1alpha1.DelegationPath{}).
		Watches(&v1alpha1.DelegationHop{}, handler.Funcs{
			CreateFunc: func(_ context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
				countHops(e.Object, q)
			},
			UpdateFunc: func(_ context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
				countHops(e.ObjectNew, q)
			},
			DeleteFunc: func(_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
				countHops(e.Object, q)
			},
		}).
		Watches(&v1alpha1.DelegationHop{}, handler.EnqueueRequestsFromMapFunc(r.mapTokenSecret), builder.WithPredicates(tokenMoves)).
		Watches(&v1alpha1.DelegationPath{}, r.record.deletions(kindPath)).
		Watches(&v1alpha1.DelegationApproval{}, handler.EnqueueRequestsFromMapFunc(mapApproval)).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.mapToAll)).
		WatchesRawSource(source.Channel(r.authority, lookTwice()))
	if r.floor != nil {
		b = b.WatchesRawSource(source.Channel(r.floor, handler.EnqueueRequestsFromMapFunc(r.mapToAll)))
	}
	return b.WithOptions(queueOptions(pathConcurrency)).Complete(r)
}

// mapApproval leads from a decision to its path.
func mapApproval(_ context.Context, o client.Object) []reconcile.Request {
	a, ok := o.(*v1alpha1.DelegationApproval)
	if !ok {
		return nil
	}
	return requestsFor([]types.NamespacedName{{Namespace: a.Namespace, Name: a.Spec.Path.Name}})
}

// mapToAll leads to all paths: a freeze may concern any of them, and a policy concerns each.
func (r *PathReconciler) mapToAll(ctx context.Context, _ client.Object) []reconcile.Request {
	var paths v1alpha1.DelegationPathList
	if err := r.hops.List(ctx, &paths, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list the paths that a freeze or a policy concerns")
		return nil
	}
	requests := make([]reconcile.Request, len(paths.Items))
	for i := range paths.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&paths.Items[i])
	}
	return requests
}

// mapTokenSecret leads to the paths that name the Secret in which a hop keeps its token.
func (r *PathReconciler) mapTokenSecret(ctx context.Context, o client.Object) []reconcile.Request {
	return requestsFor(pathsNaming(ctx, r.hops, o))
}

// pathsNaming are the paths that name the Secret in which a hop keeps its token.
func pathsNaming(ctx context.Context, hops facts.Hops, o client.Object) []types.NamespacedName {
	hop, ok := o.(*v1alpha1.DelegationHop)
	if none := (types.NamespacedName{}); !ok || delegation.TokenSecret(hop) == none {
		return nil
	}
	paths, err := hops.PathsNaming(ctx, delegation.TokenSecret(hop))
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot find the paths that name the Secret of a hop", "hop", client.ObjectKeyFromObject(o))
	}
	return paths
}

// Reconcile evaluates one path. Where it is denied or gone, the bindings of all its hops are removed at the same time,
// before anything else of any hop: without a binding the API server denies requests within milliseconds. The reconciles
// of the hops do the rest.
func (r *PathReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	hops, err := r.hops.OfPath(ctx, req.NamespacedName)
	if err != nil {
		return ctrl.Result{}, err
	}
	path, of := &v1alpha1.DelegationPath{}, objectKey{kindPath, req.NamespacedName}
	deletion := r.record.deletion(ctx, of, r.gather, r.clock.Now()) // also of an earlier path of the name
	if err := r.hops.Get(ctx, req.NamespacedName, path); apierrors.IsNotFound(err) {
		r.record.forget(of)
		return ctrl.Result{}, errors.Join(r.unbind(ctx, req.NamespacedName, hops), deletion)
	} else if err != nil {
		return ctrl.Result{}, fmt.Errorf("reading the path: %w", err)
	}
	delegation.RestorePath(path)
	in := r.gather.Path(ctx, path, r.clock.Now())
	v := delegation.Evaluate(in)
	if v.Outcome == delegation.Deny {
		if err := r.unbind(ctx, req.NamespacedName, hops); err != nil {
			return ctrl.Result{}, err
		}
	}
	next := delegation.PathStatus(in, v, hops, r.clock.Now())
	if err := errors.Join(r.record.path(ctx, in, v, next), deletion); err != nil {
		return requeueOnConflict(ctx, err)
	}
	if err := r.record.keep(ctx, path, delegation.PathRecord(path, next)); err != nil {
		return requeueOnConflict(ctx, err)
	}
	again := delegation.RequeuePathAfter(v, in.Now, r.clock.Now())
	return ctrl.Result{RequeueAfter: delegation.Sooner(again, recheckAfter(v, r.recheck))}, nil
}

// recheckAfter is when to look again although nothing has changed that is watched; zero where nothing can change any more. Not all are
// looked at in the same moment.
func recheckAfter(v delegation.Verdict, every time.Duration) time.Duration {
	if every == 0 || v.Class() == v1alpha1.ClassFinal {
		return 0
	}
	return wait.Jitter(every, 0.1)
}

// unbind removes the bindings of the hops of a path, all at the same time.
func (r *PathReconciler) unbind(ctx context.Context, path types.NamespacedName, hops []*v1alpha1.DelegationHop) error {
	var others []delegation.Object
	err := r.unbinding.during(ctx, path, func() (err error) {
		others, err = r.grants.Unbind(ctx, facts.KeysOf(hops))
		return err
	})
	return errors.Join(err, r.grants.Remove(ctx, others))
}
