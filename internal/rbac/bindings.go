package rbac

import (
	"context"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// maxNamed bounds how many bindings are named: no one reads more.
const maxNamed = 8

// ByName returns which bindings in the whole cluster name a user, as ServiceAccount or as User, but for those that are its own. At most a
// few are named.
func (r Reader) ByName(ctx context.Context, user string, isOwn func(client.Object) bool) ([]string, error) {
	n := namer{reader: r, isOwn: isOwn}
	err := n.ofKey(ctx, UserKey(user), []string{""})
	return n.few(), err
}

// ByGroup returns which bindings of the cluster, and in some namespaces, give something to all accounts of a
// namespace, but for those that every cluster has. At most a few are named.
func (r Reader) ByGroup(ctx context.Context, namespace string, in []string) ([]string, error) {
	n := namer{reader: r, isOwn: isDefault}
	for _, group := range Groups(v1alpha1.Subject{User: ServiceAccountUser(namespace, "any")}) {
		if err := n.ofKey(ctx, groupKey(group), in); err != nil {
			return nil, err
		}
	}
	return n.few(), nil
}

// isDefault says whether an object is one that the API server makes itself. In a namespace, a tenant could give theirs such a name and
// label.
func isDefault(o client.Object) bool {
	labelled := o.GetLabels()["kubernetes.io/bootstrapping"] == "rbac-defaults"
	return o.GetNamespace() == "" && labelled && strings.HasPrefix(o.GetName(), "system:")
}

// namer names bindings.
type namer struct {
	reader Reader
	isOwn  func(client.Object) bool
	named  []string
}

// ofKey names the bindings of a subject, those in some namespaces and those of the cluster. The empty namespace means all.
func (n *namer) ofKey(ctx context.Context, key string, namespaces []string) error {
	var cluster rbacv1.ClusterRoleBindingList
	if err := n.reader.Cache.List(ctx, &cluster, of(key)...); err != nil {
		return fmt.Errorf("listing ClusterRoleBindings of %s: %w", key, err)
	}
	for i := range cluster.Items {
		n.add(&cluster.Items[i], "ClusterRoleBinding "+cluster.Items[i].Name)
	}
	for _, namespace := range namespaces {
		var list rbacv1.RoleBindingList
		if err := n.reader.Cache.List(ctx, &list, of(key, client.InNamespace(namespace))...); err != nil {
			return fmt.Errorf("listing RoleBindings of %s: %w", key, err)
		}
		for i := range list.Items {
			n.add(&list.Items[i], "RoleBinding "+list.Items[i].Namespace+"/"+list.Items[i].Name)
		}
	}
	return nil
}

func (n *namer) add(o client.Object, name string) {
	if !n.isOwn(o) {
		n.named = append(n.named, name)
	}
}

// few are the first of what was named. The cache has no order, and what is written into a status must have one.
func (n *namer) few() []string {
	slices.Sort(n.named)
	n.named = slices.Compact(n.named)
	return n.named[:min(len(n.named), maxNamed)]
}
