package controllers

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
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
	"github.com/wayleave/wayleave/internal/rbac"
)

// setup watches all that a hop's verdict or grant depends on. On an update a mapping function is asked about the old
// object and about the new one, so what stops to concern a hop leads to it as well. Found are the hops of which something was
// found out that no watch shows.
func (r *HopReconciler) setup(mgr ctrl.Manager, concurrency int, found ...<-chan event.GenericEvent) error {
	upstream := builder.WithPredicates(upstreamChanges)
	given := handler.EnqueueRequestsFromMapFunc(r.mapGiven)
	b := ctrl.NewControllerManagedBy(mgr).
		Named("hop").
		For(&v1alpha1.DelegationHop{}).
		Watches(&v1alpha1.DelegationHop{}, handler.EnqueueRequestsFromMapFunc(r.mapToDescendants), upstream).
		Watches(&v1alpha1.DelegationHop{}, handler.EnqueueRequestsFromMapFunc(mapToMaker), builder.WithPredicates(comesOrGoes)).
		Watches(&v1alpha1.DelegationHop{}, r.deleted.handler()).
		Watches(&v1alpha1.DelegationHop{}, r.record.deletions(kindHop)).
		Watches(&v1alpha1.DelegationPath{}, handler.EnqueueRequestsFromMapFunc(r.mapToHopsOfPath), upstream).
		Watches(&v1alpha1.DelegationHop{}, handler.EnqueueRequestsFromMapFunc(r.mapTokenSecret), builder.WithPredicates(tokenMoves)).
		Watches(&v1alpha1.DelegationPath{}, handler.EnqueueRequestsFromMapFunc(r.mapNamedSecrets), builder.WithPredicates(claimChanges)).
		Watches(&corev1.ConfigMap{}, handler.EnqueueRequestsFromMapFunc(r.mapToAll)).
		Watches(&rbacv1.ClusterRole{}, given).
		Watches(&rbacv1.RoleBinding{}, given).
		Watches(&rbacv1.ClusterRoleBinding{}, given).
		Watches(&rbacv1.RoleBinding{}, handler.EnqueueRequestsFromMapFunc(r.mapForeign), builder.WithPredicates(bindsOthers)).
		Watches(&rbacv1.ClusterRoleBinding{}, handler.EnqueueRequestsFromMapFunc(r.mapForeign), builder.WithPredicates(bindsOthers)).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(mapTo(declaredHop)), builder.WithPredicates(podChanges))
	if r.floor != nil {
		b = b.WatchesRawSource(source.Channel(r.floor, handler.EnqueueRequestsFromMapFunc(r.mapToAll)))
	}
	if r.gather.Isolation != nil {
		b = b.WatchesRawSource(source.Channel(r.gather.Isolation.Changed(), handler.EnqueueRequestsFromMapFunc(
			func(ctx context.Context, o client.Object) []reconcile.Request {
				return r.mapToHopsIn(ctx, o.GetNamespace())
			})))
	}
	b = b.WatchesRawSource(source.Channel(r.authority, lookTwice()))
	for _, hops := range append(found, r.unbinding.over) {
		b = b.WatchesRawSource(source.Channel(hops, &handler.EnqueueRequestForObject{}))
	}
	for _, o := range grants.WatchedTypes() {
		b = b.Watches(o, handler.EnqueueRequestsFromMapFunc(mapTo(grants.HopOf)))
	}
	return b.WithOptions(queueOptions(concurrency)).Complete(r)
}

func mapTo(hop func(client.Object) (types.NamespacedName, bool)) handler.MapFunc {
	return func(_ context.Context, o client.Object) []reconcile.Request {
		if key, ok := hop(o); ok {
			return []reconcile.Request{{NamespacedName: key}}
		}
		return nil
	}
}

// mapToDescendants leads to all hops below a hop: each of them depends on it.
func (r *HopReconciler) mapToDescendants(ctx context.Context, o client.Object) []reconcile.Request {
	keys, err := r.hops.WithDescendants(ctx, client.ObjectKeyFromObject(o))
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot find the descendants of a hop", "hop", client.ObjectKeyFromObject(o))
		return nil
	}
	return requestsFor(keys[1:])
}

// mapToMaker leads to the parent of a hop that an identity made: it may use it.
func mapToMaker(_ context.Context, o client.Object) []reconcile.Request {
	hop, ok := o.(*v1alpha1.DelegationHop)
	if !ok || hop.Spec.ParentRef == nil || hop.Spec.Author == nil || !delegation.IsHopAccount(hop.Spec.Author.User) {
		return nil
	}
	return requestsFor([]types.NamespacedName{delegation.ParentKey(hop)})
}

// mapTokenSecret leads to the hops of the paths that name the Secret in which a hop keeps its token.
func (r *HopReconciler) mapTokenSecret(ctx context.Context, o client.Object) []reconcile.Request {
	var requests []reconcile.Request
	for _, path := range pathsNaming(ctx, r.hops, o) {
		requests = append(requests, r.mapToHopsOf(ctx, path)...)
	}
	return requests
}

// mapNamedSecrets leads to the hops that name for their token a Secret which a path names.
func (r *HopReconciler) mapNamedSecrets(ctx context.Context, o client.Object) []reconcile.Request {
	path, ok := o.(*v1alpha1.DelegationPath)
	if !ok {
		return nil
	}
	hops, err := r.hops.NamingSecretsOf(ctx, path)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot find the hops that name a Secret of a path", "path", client.ObjectKeyFromObject(o))
	}
	return requestsFor(facts.KeysOf(hops))
}

func (r *HopReconciler) mapToHopsOfPath(ctx context.Context, o client.Object) []reconcile.Request {
	return r.mapToHopsOf(ctx, client.ObjectKeyFromObject(o))
}

func (r *HopReconciler) mapToHopsOf(ctx context.Context, path types.NamespacedName) []reconcile.Request {
	hops, err := r.hops.OfPath(ctx, path)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot find the hops of a path", "path", path)
		return nil
	}
	return requestsFor(facts.KeysOf(hops))
}

// mapGiven leads to the hops for which a change of what the controller was given matters: what it may do in their
// namespace, and what it may grant.
func (r *HopReconciler) mapGiven(ctx context.Context, o client.Object) []reconcile.Request {
	if namespace, ok := r.hopNamespaceOf(o); ok {
		return r.mapToHopsIn(ctx, namespace)
	}
	return r.mapCeiling(ctx, o)
}

// mapCeiling leads to all hops from an object that is part of what the controller may grant.
func (r *HopReconciler) mapCeiling(ctx context.Context, o client.Object) []reconcile.Request {
	if !r.isPartOfCeiling(ctx, o) {
		return nil
	}
	hops, err := r.hops.All(ctx)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list the hops that a change of the ceiling concerns")
		return nil
	}
	return requestsFor(facts.KeysOf(hops))
}

// mapToAll leads to all hops: a freeze may concern any of them, and a policy concerns each.
func (r *HopReconciler) mapToAll(ctx context.Context, _ client.Object) []reconcile.Request {
	hops, err := r.hops.All(ctx)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list the hops that a freeze or a policy concerns")
	}
	return requestsFor(facts.KeysOf(hops))
}

func (r *HopReconciler) isPartOfCeiling(ctx context.Context, o client.Object) bool {
	switch b := o.(type) {
	case *rbacv1.RoleBinding:
		return r.namesController(b.Subjects, b.Namespace) && r.refersToCeiling(ctx, b.RoleRef)
	case *rbacv1.ClusterRoleBinding:
		return r.namesController(b.Subjects, "") && r.refersToCeiling(ctx, b.RoleRef)
	default:
		return rbac.IsCeiling(o)
	}
}

// refersToCeiling says whether a binding gives a ceiling. Where the role becomes a ceiling later, or was one, the role
// leads to the hops. Without this check, any tenant who binds a group in their own namespace would requeue every hop.
func (r *HopReconciler) refersToCeiling(ctx context.Context, ref rbacv1.RoleRef) bool {
	var role rbacv1.ClusterRole
	if ref.Kind != "ClusterRole" {
		return false
	}
	err := r.hops.Get(ctx, client.ObjectKey{Name: ref.Name}, &role)
	return err == nil && rbac.IsCeiling(&role)
}

// namesController says whether a binding in a namespace gives something to the controller, by its name or by a group
// that it is in.
func (r *HopReconciler) namesController(subjects []rbacv1.Subject, namespace string) bool {
	groups := rbac.Groups(v1alpha1.Subject{User: r.gather.Controller})
	return rbac.Names(subjects, namespace, r.gather.Controller) ||
		slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool { return s.Kind == rbacv1.GroupKind && slices.Contains(groups, s.Name) })
}

func requestsFor(keys []types.NamespacedName) []reconcile.Request {
	requests := make([]reconcile.Request, len(keys))
	for i, key := range keys {
		requests[i].NamespacedName = key
	}
	return requests
}
