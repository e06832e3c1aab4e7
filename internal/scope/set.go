package scope

import (
	"iter"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Set is the authority that a scope names: at most MaxAtoms atoms, sorted, each once. It does not change. The zero Set
// is no authority at all: it grants nothing and covers nothing.
type Set struct {
	atoms []Atom
}

// Parse returns the authority that a scope names. If the scope is malformed or too large, the Set is empty and the
// problems, which are those of Validate, say why; such a scope must be refused. Parse does not ask what Amplifies asks:
// a wildcard is a literal in the Set, which covers nothing but itself.
func Parse(s v1alpha1.Scope) (Set, []Problem) {
	if problems := Validate(s); len(problems) > 0 {
		return Set{}, problems
	}
	var atoms []Atom
	for l := range rulesOf(s) {
		if l.cluster {
			atoms = appendAtoms(atoms, "", l.rule)
		}
		for _, namespace := range l.namespaces {
			atoms = appendAtoms(atoms, namespace, l.rule)
		}
	}
	for _, audience := range s.Audiences {
		atoms = append(atoms, Atom{Audience: audience})
	}
	return newSet(atoms), nil
}

// newSet sorts atoms in place. An atom with a name goes if the same without a name is there, which sorts right before it:
// so two scopes that allow the same have the same Set.
func newSet(atoms []Atom) Set {
	slices.SortFunc(atoms, compare)
	kept := make([]Atom, 0, len(atoms))
	for _, a := range atoms {
		if n := len(kept); n > 0 && (kept[n-1] == a || kept[n-1] == nameless(a)) {
			continue
		}
		kept = append(kept, a)
	}
	return Set{kept}
}

// Atoms returns what is in the set, sorted.
func (s Set) Atoms() []Atom {
	return slices.Clone(s.atoms)
}

// Covers reports whether everything in child is in s, in every dimension: Missing of the two is empty.
func (s Set) Covers(child Set) bool {
	return len(child.Missing(s)) == 0
}

// Missing returns the atoms of s that parent does not cover, sorted; nil if s is within parent. An atom with a name is
// covered by itself and by the same without a name; an atom without a name by itself alone. What parent may do on the
// cluster is not taken for a right in a namespace: scopes name their namespaces.
func (s Set) Missing(parent Set) []Atom {
	var missing []Atom
	for _, a := range s.atoms {
		if !parent.has(a) && (a.Name == "" || !parent.has(nameless(a))) {
			missing = append(missing, a)
		}
	}
	return missing
}

func (s Set) has(a Atom) bool {
	_, found := slices.BinarySearchFunc(s.atoms, a, compare)
	return found
}

func nameless(a Atom) Atom {
	a.Name = ""
	return a
}

// located is a rule of a scope, and where it holds: in namespaces, or on the cluster.
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

// appendAtoms expands a rule that has passed checker.rule.
func appendAtoms(atoms []Atom, namespace string, r rbacv1.PolicyRule) []Atom {
	names := namesOf(r)
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				for _, name := range names {
					atoms = append(atoms, Atom{
						Namespace: namespace, APIGroup: group, Resource: resource, Verb: verb, Name: name,
					})
				}
			}
		}
	}
	for _, url := range r.NonResourceURLs {
		for _, verb := range r.Verbs {
			atoms = append(atoms, Atom{Verb: verb, URL: url})
		}
	}
	return atoms
}

// namesOf returns the names of a rule, or one empty name for a rule about any name.
func namesOf(r rbacv1.PolicyRule) []string {
	if len(r.ResourceNames) == 0 {
		return []string{""}
	}
	return r.ResourceNames
}
