package scope

import (
	"iter"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Set is the authority that a scope names: at most MaxPermissions permissions, sorted and unique. It is immutable. The
// zero Set is no authority: it grants nothing and covers nothing.
type Set struct {
	permissions []Permission
}

// Parse returns the authority that a scope names. If the scope is malformed or too large, the Set is empty and the
// problems are those of Validate; such a scope must be rejected. Parse does not check for escalation risks: a wildcard
// is a literal in the Set, which covers only itself.
func Parse(s v1alpha1.Scope) (Set, []Problem) {
	if problems := Validate(s); len(problems) > 0 {
		return Set{}, problems
	}
	var permissions []Permission
	for l := range rulesOf(s) {
		if l.cluster {
			permissions = appendPermissions(permissions, "", l.rule)
		}
		for _, namespace := range l.namespaces {
			permissions = appendPermissions(permissions, namespace, l.rule)
		}
	}
	for _, audience := range s.Audiences {
		permissions = append(permissions, Permission{Audience: audience})
	}
	return newSet(permissions), nil
}

// Namespaces are the namespaces of the permissions, sorted; not the cluster.
func (s Set) Namespaces() []string {
	var namespaces []string
	for _, p := range s.permissions {
		if p.Namespace != "" {
			namespaces = append(namespaces, p.Namespace)
		}
	}
	slices.Sort(namespaces)
	return slices.Compact(namespaces)
}

// Of is the set of some permissions.
func Of(permissions ...Permission) Set { return newSet(permissions) }

// newSet sorts permissions in place. A permission with a name is dropped if the same one without a name, which sorts
// directly before it, is in the list: so two scopes that allow the same have the same Set.
func newSet(permissions []Permission) Set {
	slices.SortFunc(permissions, compare)
	kept := make([]Permission, 0, len(permissions))
	for _, p := range permissions {
		if n := len(kept); n > 0 && (kept[n-1] == p || kept[n-1] == nameless(p)) {
			continue
		}
		kept = append(kept, p)
	}
	return Set{kept}
}

// Permissions returns what is in the set, sorted.
func (s Set) Permissions() []Permission {
	return slices.Clone(s.permissions)
}

// Covers reports whether s allows everything in child, in every dimension: Missing of the two is empty.
func (s Set) Covers(child Set) bool {
	return len(child.Missing(s)) == 0
}

// Missing returns the permissions of s that parent does not cover, sorted; nil if s is within parent. A permission with
// a name is covered by itself and by the same one without a name; a permission without a name only by itself. Cluster
// rules of parent do not cover permissions in a namespace: scopes name their namespaces.
func (s Set) Missing(parent Set) []Permission {
	var missing []Permission
	for _, p := range s.permissions {
		if !parent.has(p) && (p.Name == "" || !parent.has(nameless(p))) {
			missing = append(missing, p)
		}
	}
	return missing
}

func (s Set) has(p Permission) bool {
	_, found := slices.BinarySearchFunc(s.permissions, p, compare)
	return found
}

func nameless(p Permission) Permission {
	p.Name = ""
	return p
}

// located is a rule of a scope, and where it applies: in namespaces, or on the cluster.
type located struct {
	field      string
	cluster    bool
	namespaces []string
	rule       rbacv1.PolicyRule
}

// rulesOf yields the rules of a scope in their order.
func rulesOf(s v1alpha1.Scope) iter.Seq[located] {
	return func(yield func(located) bool) {
		for i, e := range s.Namespaced {
			for j, r := range e.Rules {
				field := element(element("namespaced", i)+".rules", j)
				if !yield(located{field: field, namespaces: e.Namespaces, rule: fromNamespaced(r)}) {
					return
				}
			}
		}
		for i, r := range s.Cluster {
			if !yield(located{field: element("cluster", i), cluster: true, rule: fromCluster(r)}) {
				return
			}
		}
	}
}

func fromNamespaced(r v1alpha1.ResourceRule) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{
		APIGroups: r.APIGroups, Resources: r.Resources, ResourceNames: r.ResourceNames, Verbs: r.Verbs,
	}
}

func fromCluster(r v1alpha1.ClusterRule) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{
		APIGroups: r.APIGroups, Resources: r.Resources, ResourceNames: r.ResourceNames, Verbs: r.Verbs,
		NonResourceURLs: r.NonResourceURLs,
	}
}

// appendPermissions expands a rule that has passed checker.rule.
func appendPermissions(permissions []Permission, namespace string, r rbacv1.PolicyRule) []Permission {
	names := namesOf(r)
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				for _, name := range names {
					permissions = append(permissions, Permission{
						Namespace: namespace, APIGroup: group, Resource: resource, Verb: verb, Name: name,
					})
				}
			}
		}
	}
	for _, url := range r.NonResourceURLs {
		for _, verb := range r.Verbs {
			permissions = append(permissions, Permission{Verb: verb, URL: url})
		}
	}
	return permissions
}

// namesOf returns the names of a rule, or one empty name for a rule on any name.
func namesOf(r rbacv1.PolicyRule) []string {
	if len(r.ResourceNames) == 0 {
		return []string{""}
	}
	return r.ResourceNames
}
