package scope

import (
	"cmp"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
)

// Rights are RBAC rules and where they are bound, with RBAC's meaning of wildcards. RBAC does not know token audiences,
// so Rights never contain any.
type Rights struct {
	// Cluster are the rules of ClusterRoleBindings: they apply in every namespace, on cluster-scoped resources and on
	// non-resource URLs.
	Cluster []rbacv1.PolicyRule
	// Namespaced are the rules of RoleBindings by their namespace. URLs in them have no effect.
	Namespaced map[string][]rbacv1.PolicyRule
}

// Rights returns the rules that grant exactly s without its audiences: few, sorted, and equal for two scopes that allow
// the same. A namespace without rules is omitted.
func (s Set) Rights() Rights {
	var r Rights
	for _, a := range s.permissions {
		rule := rbacv1.PolicyRule{Verbs: []string{a.Verb}}
		switch {
		case a.Audience != "":
			continue
		case a.URL != "":
			rule.NonResourceURLs = []string{a.URL}
		default:
			rule.APIGroups, rule.Resources = []string{a.APIGroup}, []string{a.Resource}
			if a.Name != "" {
				rule.ResourceNames = []string{a.Name}
			}
		}
		if a.Namespace == "" {
			r.Cluster = append(r.Cluster, rule)
			continue
		}
		if r.Namespaced == nil {
			r.Namespaced = map[string][]rbacv1.PolicyRule{}
		}
		r.Namespaced[a.Namespace] = append(r.Namespaced[a.Namespace], rule)
	}
	r.Cluster = compress(r.Cluster)
	for namespace, rules := range r.Namespaced {
		r.Namespaced[namespace] = compress(rules)
	}
	return r
}

// compress joins rules of one permission each. Two rules are joined only if they are equal in all lists but one: the
// product of the joined lists is then exactly what the two granted together.
func compress(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	for _, list := range []func(*rbacv1.PolicyRule) *[]string{
		func(r *rbacv1.PolicyRule) *[]string { return &r.Verbs },
		func(r *rbacv1.PolicyRule) *[]string { return &r.ResourceNames },
		func(r *rbacv1.PolicyRule) *[]string { return &r.Resources },
		func(r *rbacv1.PolicyRule) *[]string { return &r.NonResourceURLs },
	} {
		rules = join(rules, list)
	}
	slices.SortFunc(rules, func(a, b rbacv1.PolicyRule) int {
		return cmp.Or(
			slices.Compare(a.APIGroups, b.APIGroups),
			slices.Compare(a.Resources, b.Resources),
			slices.Compare(a.NonResourceURLs, b.NonResourceURLs),
			slices.Compare(a.ResourceNames, b.ResourceNames),
			slices.Compare(a.Verbs, b.Verbs),
		)
	})
	return rules
}

// join merges the rules that differ in one list only. Rules without the list are unchanged: to RBAC an empty list of
// names means every name.
func join(rules []rbacv1.PolicyRule, list func(*rbacv1.PolicyRule) *[]string) []rbacv1.PolicyRule {
	var joined []rbacv1.PolicyRule
	at := map[string]int{}
	for _, r := range rules {
		own := *list(&r)
		if len(own) == 0 {
			joined = append(joined, r)
			continue
		}
		rest := r
		*list(&rest) = nil
		// Quoted, so that no text can pass for a separator.
		key := fmt.Sprintf("%q", [][]string{
			rest.APIGroups, rest.Resources, rest.ResourceNames, rest.Verbs, rest.NonResourceURLs,
		})
		i, found := at[key]
		if !found {
			at[key] = len(joined)
			joined = append(joined, r)
			continue
		}
		into := list(&joined[i])
		*into = append(*into, own...)
		slices.Sort(*into)
	}
	return joined
}
