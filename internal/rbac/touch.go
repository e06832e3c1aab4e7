package rbac

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// roleIndex is the field index of bindings by the role that they refer to: its kind and name.
const roleIndex = "role"

func roleRefKey(kind, name string) string { return kind + "/" + name }

// indexRoles adds the indexes that Touches needs.
func indexRoles(ctx context.Context, indexer client.FieldIndexer) error {
	for _, o := range []client.Object{&rbacv1.RoleBinding{}, &rbacv1.ClusterRoleBinding{}} {
		if err := indexer.IndexField(ctx, o, roleIndex, func(o client.Object) []string {
			switch b := o.(type) {
			case *rbacv1.RoleBinding:
				return []string{roleRefKey(b.RoleRef.Kind, b.RoleRef.Name)}
			case *rbacv1.ClusterRoleBinding:
				return []string{roleRefKey(b.RoleRef.Kind, b.RoleRef.Name)}
			}
			return nil
		}); err != nil {
			return fmt.Errorf("indexing bindings by role: %w", err)
		}
	}
	return nil
}

// Touch is a subject whose rights in a namespace may have changed; the empty namespace means the whole cluster.
type Touch struct {
	Namespace string
	// Subject is one of the keys of a subject, see Keys.
	Subject string
}

// Named returns whose rights a change of a binding may change.
func Named(binding client.Object) []Touch {
	switch b := binding.(type) {
	case *rbacv1.RoleBinding:
		return touchesOf(b.Namespace, b.Subjects)
	case *rbacv1.ClusterRoleBinding:
		return touchesOf("", b.Subjects)
	}
	return nil
}

// Touches returns whose rights a change of a role may change: those to whom it is bound.
func (r Reader) Touches(ctx context.Context, role client.Object) ([]Touch, error) {
	switch o := role.(type) {
	case *rbacv1.Role:
		return r.bound(ctx, roleRefKey("Role", o.Name), client.InNamespace(o.Namespace))
	case *rbacv1.ClusterRole:
		key := roleRefKey("ClusterRole", o.Name)
		touches, err := r.bound(ctx, key)
		if err != nil {
			return nil, err
		}
		var cluster rbacv1.ClusterRoleBindingList
		if err := r.Cache.List(ctx, &cluster, client.MatchingFields{roleIndex: key}, client.UnsafeDisableDeepCopy); err != nil {
			return nil, fmt.Errorf("listing the ClusterRoleBindings of %s: %w", key, err)
		}
		for i := range cluster.Items {
			touches = append(touches, touchesOf("", cluster.Items[i].Subjects)...)
		}
		return touches, nil
	}
	return nil, nil
}

// bound are those to whom RoleBindings give a role.
func (r Reader) bound(ctx context.Context, role string, in ...client.ListOption) ([]Touch, error) {
	var list rbacv1.RoleBindingList
	if err := r.Cache.List(ctx, &list, append(in, client.MatchingFields{roleIndex: role}, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("listing the RoleBindings of %s: %w", role, err)
	}
	var touches []Touch
	for i := range list.Items {
		touches = append(touches, touchesOf(list.Items[i].Namespace, list.Items[i].Subjects)...)
	}
	return touches, nil
}

func touchesOf(namespace string, subjects []rbacv1.Subject) []Touch {
	keys := subjectKeys(subjects, namespace)
	touches := make([]Touch, len(keys))
	for i, key := range keys {
		touches[i] = Touch{Namespace: namespace, Subject: key}
	}
	return touches
}
