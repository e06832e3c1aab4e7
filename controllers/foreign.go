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
		return append(r.mapNamed(ctx, o.Subjects, o.Namespace), r.mapGroups(ctx, o.Subjects, o.Namespace)...)
	case *rbacv1.ClusterRoleBinding:
		return append(r.mapNamed(ctx, o.Subjects, ""), r.mapGroups(ctx, o.Subjects, "")...)
	}
	return nil
}

// mapGroups leads to the hops in whose groups are among some subjects, and that live or work in a namespace; the empty one means the
// whole cluster. However many subjects there are, the hops are gone through once.
func (r *HopReconciler) mapGroups(ctx context.Context, subjects []rbacv1.Subject, place string) []reconcile.Request {
	of, all := map[string]bool{}, false
	for _, s := range subjects {
		if s.Kind != rbacv1.GroupKind {
			continue
		}
		all = all || s.Name == "system:serviceaccounts" || s.Name == "system:authenticated"
		if namespace, ok := strings.CutPrefix(s.Name, "system:serviceaccounts:"); ok {
			of[namespace] = true
		}
	}
	if !all && len(of) == 0 {
		return nil
	}
	hops, err := r.hops.All(ctx)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list the hops that a binding of a group concerns")
	}
	var requests []reconcile.Request
	for _, hop := range hops {
		if (all || of[hop.Namespace]) && (place == "" || place == hop.Namespace || r.worksIn(ctx, hop, place)) {
			requests = append(requests, reconcile.Request{NamespacedName: delegation.HopKey(hop)})
		}
	}
	return requests
}

// worksIn says whether a hop, or its path where it inherits a scope, names a namespace.
func (r *HopReconciler) worksIn(ctx context.Context, hop *v1alpha1.DelegationHop, place string) bool {
	scope := r.mostOf(ctx, hop)
	return slices.ContainsFunc(scope.Namespaced, func(s v1alpha1.NamespacedScope) bool { return slices.Contains(s.Namespaces, place) })
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

// mapNamed leads to the hops whose accounts a binding in a namespace names, by the part of the name that says which hop it is.
func (r *HopReconciler) mapNamed(ctx context.Context, subjects []rbacv1.Subject, namespace string) []reconcile.Request {
	named := map[types.NamespacedName]bool{}
	for _, user := range rbac.UsersNamed(subjects, namespace) {
		account, ok := rbac.ServiceAccountOf(user)
		name, isHop := strings.CutPrefix(account.Name, v1alpha1.AccountPrefix)
		if ok && isHop {
			hop, _, _ := strings.Cut(name, ".")
			named[types.NamespacedName{Namespace: account.Namespace, Name: hop}] = true
		}
	}
	var requests []reconcile.Request
	for key := range named {
		if err := r.hops.Get(ctx, key, &v1alpha1.DelegationHop{}, client.UnsafeDisableDeepCopy); err == nil {
			requests = append(requests, reconcile.Request{NamespacedName: key})
		}
	}
	return requests
}
