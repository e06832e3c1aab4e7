package scope

import (
	rbacv1 "k8s.io/api/rbac/v1"
)

// MissingRequired returns what a workload says that it needs and s does not allow, sorted; nil if s allows all of it.
// The rules are those of the annotation delegation.wayleave.dev/requires: they say what is done, not where. So a permission
// is there if s has it in at least one namespace or on the cluster, and a missing one has the namespace AnyNamespace.
// This only explains early what a workload would meet later: what it may do where is for RBAC to say, and to demand
// each permission in every namespace would refuse a workload that reads in one namespace and writes in another.
//
// Rules that are malformed, or name more than MaxEntryPermissions permissions, give problems, with fields such as [1].verbs[0];
// then nothing was compared. Wildcards need no rule of their own: no scope has them, so they are always missing.
func (s Set) MissingRequired(rules []rbacv1.PolicyRule) ([]Permission, []Problem) {
	var c checker
	permissions := 0
	for i := 0; i < len(rules) && !c.done(); i++ {
		permissions += c.rule(element("", i), rules[i])
		if permissions > MaxEntryPermissions {
			c.refuse(element("", i), "up to here the rules name more than %d permissions (apiGroups × resources × "+
				"verbs × resourceNames, added up): name less", MaxEntryPermissions)
			break
		}
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	var required []Permission
	for _, r := range rules {
		required = appendPermissions(required, AnyNamespace, r)
	}
	return newSet(required).Missing(s.anywhere()), nil
}

// anywhere is s with the places of its resources forgotten.
func (s Set) anywhere() Set {
	permissions := s.Permissions()
	for i, a := range permissions {
		if a.Resource != "" {
			permissions[i].Namespace = AnyNamespace
		}
	}
	return newSet(permissions)
}
