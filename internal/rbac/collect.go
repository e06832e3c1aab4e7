package rbac

import (
	"context"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/internal/scope"
)

// One answer reads at most so many bindings of each subject and place, and so many strings of rules. An administrator of
// a namespace can bind a group that every ServiceAccount is in, to a Role with as many names as an object can hold, as
// often as they like; without a bound each of them would be read for each verdict.
const (
	maxBindings    = 1000
	maxRuleStrings = 50_000
)

// collector gathers the rules of bindings. Each role is read once, however many bindings refer to it, and nothing of it
// is copied: rules and names belong to the cache.
type collector struct {
	reader   client.Reader
	counts   func(*rbacv1.ClusterRole) bool // nil for a Role
	rights   scope.Rights
	seen     map[roleKey]bool
	strings  int
	complete bool
}

// roleKey is a role where it is bound; the namespace is empty for a ClusterRoleBinding.
type roleKey struct {
	namespace string
	kind      string
	name      string
}

// collect gathers the rules of all bindings with one of the keys, in some namespaces and on the cluster, whose role
// counts.
func (r Reader) collect(
	ctx context.Context, keys, namespaces []string, counts func(*rbacv1.ClusterRole) bool,
) (scope.Rights, bool, error) {
	c := &collector{
		reader: r.Cache, counts: counts, rights: scope.Rights{Namespaced: map[string][]rbacv1.PolicyRule{}},
		seen: map[roleKey]bool{}, complete: true,
	}
	for _, key := range keys {
		if err := c.clusterBindings(ctx, key); err != nil {
			return scope.Rights{}, false, err
		}
		for _, namespace := range namespaces {
			if err := c.bindings(ctx, key, namespace); err != nil {
				return scope.Rights{}, false, err
			}
		}
	}
	return c.rights, c.complete, nil
}

// of selects the bindings of a subject. One more than may be read is listed, which says that there are more.
func of(key string, more ...client.ListOption) []client.ListOption {
	return append(more, client.MatchingFields{SubjectIndex: key}, client.UnsafeDisableDeepCopy, client.Limit(maxBindings+1))
}

func (c *collector) bindings(ctx context.Context, key, namespace string) error {
	var list rbacv1.RoleBindingList
	if err := c.reader.List(ctx, &list, of(key, client.InNamespace(namespace))...); err != nil {
		return fmt.Errorf("listing RoleBindings of %s in namespace %s: %w", key, namespace, err)
	}
	for i := range list.Items[:c.bounded(len(list.Items))] {
		rules, err := c.rules(ctx, list.Items[i].RoleRef, namespace)
		if err != nil {
			return err
		}
		if len(rules) > 0 {
			c.rights.Namespaced[namespace] = append(c.rights.Namespaced[namespace], rules...)
		}
	}
	return nil
}

func (c *collector) clusterBindings(ctx context.Context, key string) error {
	var list rbacv1.ClusterRoleBindingList
	if err := c.reader.List(ctx, &list, of(key)...); err != nil {
		return fmt.Errorf("listing ClusterRoleBindings of %s: %w", key, err)
	}
	for i := range list.Items[:c.bounded(len(list.Items))] {
		rules, err := c.rules(ctx, list.Items[i].RoleRef, "")
		if err != nil {
			return err
		}
		c.rights.Cluster = append(c.rights.Cluster, rules...)
	}
	return nil
}

func (c *collector) bounded(bindings int) int {
	if bindings > maxBindings {
		c.complete = false
	}
	return min(bindings, maxBindings)
}

// rules returns the rules that a binding refers to, unless they were returned before. A role that does not exist grants
// nothing.
func (c *collector) rules(ctx context.Context, ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
	key := roleKey{namespace: namespace, kind: ref.Kind, name: ref.Name}
	if c.seen[key] {
		return nil, nil
	}
	c.seen[key] = true
	rules, err := c.read(ctx, ref, namespace)
	if err != nil {
		return nil, err
	}
	for i := range rules {
		r := &rules[i]
		c.strings += len(r.Verbs) + len(r.APIGroups) + len(r.Resources) + len(r.ResourceNames) + len(r.NonResourceURLs)
		if c.strings > maxRuleStrings {
			c.complete = false
			return rules[:i], nil
		}
	}
	return rules, nil
}

func (c *collector) read(ctx context.Context, ref rbacv1.RoleRef, namespace string) ([]rbacv1.PolicyRule, error) {
	switch ref.Kind {
	case "Role":
		if !c.counts(nil) {
			return nil, nil
		}
		var role rbacv1.Role
		err := c.reader.Get(ctx, types.NamespacedName{Namespace: namespace, Name: ref.Name}, &role, client.UnsafeDisableDeepCopy)
		return role.Rules, ignoreNotFound(err, ref)
	case "ClusterRole":
		var role rbacv1.ClusterRole
		err := c.reader.Get(ctx, types.NamespacedName{Name: ref.Name}, &role, client.UnsafeDisableDeepCopy)
		if err != nil || !c.counts(&role) {
			return nil, ignoreNotFound(err, ref)
		}
		return role.Rules, nil
	}
	return nil, nil // RBAC knows no other kind of role
}
