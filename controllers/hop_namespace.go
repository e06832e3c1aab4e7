package controllers

import (
	"context"

	rbacv1 "k8s.io/api/rbac/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
)

// hopNamespaceOf is the namespace in which an object of RBAC lets the controller work; empty for the whole cluster. It is
// not ok for an object that has nothing to do with that.
func (r *HopReconciler) hopNamespaceOf(o client.Object) (namespace string, ok bool) {
	isRole := func(ref rbacv1.RoleRef) bool {
		return ref.Kind == "ClusterRole" && ref.Name == delegation.HopNamespaceRole
	}
	switch o := o.(type) {
	case *rbacv1.RoleBinding:
		return o.Namespace, isRole(o.RoleRef) && r.namesController(o.Subjects, o.Namespace)
	case *rbacv1.ClusterRoleBinding:
		return "", isRole(o.RoleRef) && r.namesController(o.Subjects, "")
	case *rbacv1.ClusterRole:
		return "", o.Name == delegation.HopNamespaceRole
	}
	return "", false
}

// mapToHopsIn leads to the hops of a namespace; of all, if it is empty.
func (r *HopReconciler) mapToHopsIn(ctx context.Context, namespace string) []reconcile.Request {
	hops, err := r.hops.All(ctx, client.InNamespace(namespace))
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list the hops of a namespace that was bound or unbound", "namespace", namespace)
		return nil
	}
	return requestsFor(facts.KeysOf(hops))
}
