package scope

import (
	rbacv1 "k8s.io/api/rbac/v1"
)

// MissingRequired returns what a workload says that it needs and s does not allow, sorted; nil if s allows all of it.
// The rules are those of the annotation delegation.wayleave.dev/requires: they say what is done, not where. So an atom
// is there if s has it in at least one namespace or on the cluster, and a missing one has the namespace AnyNamespace.
// This only explains early what a workload would meet later: what it may do where is for RBAC to say, and to demand
// each atom in every namespace would refuse a workload that reads in one namespace and writes in another.
//
// Rules that are malformed, or name more than MaxEntryAtoms atoms, give problems, with fields such as [1].verbs[0];
// then nothing was compared. Wildcards need no rule of their own: no scope has them, so they are always missing.
func (s Set) MissingRequired(rules []rbacv1.PolicyRule) ([]Atom, []Problem) {
	var c checker
	atoms := 0
	for i := 0; i < len(rules) && !c.done(); i++ {
		atoms += c.rule(element("", i), rules[i])
		if atoms > MaxEntryAtoms {
			c.refuse(element("", i), "up to here the rules name more than %d atoms (apiGroups × resources × "+
				"verbs × resourceNames, added up): name less", MaxEntryAtoms)
			break
		}
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	var required []Atom
	for _, r := range rules {
		required = appendAtoms(required, AnyNamespace, r)
	}
	return newSet(required).Missing(s.anywhere()), nil
}

// anywhere is s with the places of its resources forgotten.
func (s Set) anywhere() Set {
	atoms := s.Atoms()
	for i, a := range atoms {
		if a.Resource != "" {
			atoms[i].Namespace = AnyNamespace
		}
	}
	return newSet(atoms)
}
