package controllers

import (
	"context"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
)

// mapForeign leads from a binding to the hops whose accounts it gives something: to those that it names, and from one of all accounts of
// a namespace to the hops there. A tenant who binds a group in a namespace of their own leads to no hop.
func (r *HopReconciler) mapForeign(ctx context.Context, o client.Object) []reconcile.Request {
	if rbac.IsGrant(o) {
		return nil // it leads to its hop
	}
	switch o := o.(type) {
	case *rbacv1.RoleBinding:
		return append(requestsFor(hopsNamed(o.Subjects, o.Namespace)), r.mapGroups(ctx, o.Subjects, o.Namespace)...)
	case *rbacv1.ClusterRoleBinding:
		return append(requestsFor(hopsNamed(o.Subjects, "")), r.mapGroups(ctx, o.Subjects, "")...)
	}
	return nil
}

// mapGroups leads to the hops in whose groups are among some subjects, and that live or work in a namespace; the empty one means the
// whole cluster.
func (r *HopReconciler) mapGroups(ctx context.Context, subjects []rbacv1.Subject, place string) []reconcile.Request {
	var requests []reconcile.Request
	for _, s := range subjects {
		namespace, one := strings.CutPrefix(s.Name, "system:serviceaccounts:")
		all := s.Name == "system:serviceaccounts" || s.Name == "system:authenticated"
		if s.Kind != rbacv1.GroupKind || !one && !all {
			continue
		}
		if all {
			namespace = ""
		}
		hops, err := r.hops.All(ctx, client.InNamespace(namespace))
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "cannot list the hops that a binding of a group concerns")
		}
		for _, hop := range hops {
			if place == "" || slices.Contains(delegation.Places(hop, r.mostOf(ctx, hop)), place) {
				requests = append(requests, reconcile.Request{NamespacedName: delegation.HopKey(hop)})
			}
		}
	}
	return requests
}

// mostOf is the scope of a hop, or that of its path where it inherits one.
func (r *HopReconciler) mostOf(ctx context.Context, hop *v1alpha1.DelegationHop) v1alpha1.Scope {
	if hop.Spec.Scope != nil {
		return *hop.Spec.Scope
	}
	path := &v1alpha1.DelegationPath{}
	if err := r.hops.Get(ctx, delegation.PathKey(hop), path, client.UnsafeDisableDeepCopy); err != nil {
		return v1alpha1.Scope{} // a hop of no path holds nothing
	}
	return path.Spec.Scope
}

// hopsNamed are the hops whose accounts a binding in a namespace names, by the part of the name that says which hop it is.
func hopsNamed(subjects []rbacv1.Subject, namespace string) []types.NamespacedName {
	var hops []types.NamespacedName
	for _, user := range rbac.UsersNamed(subjects, namespace) {
		account, ok := rbac.ServiceAccountOf(user)
		name, isHop := strings.CutPrefix(account.Name, v1alpha1.AccountPrefix)
		if ok && isHop {
			hop, _, _ := strings.Cut(name, ".")
			hops = append(hops, types.NamespacedName{Namespace: account.Namespace, Name: hop})
		}
	}
	return hops
}
