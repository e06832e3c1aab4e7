package scope

import (
	rbacv1 "k8s.io/api/rbac/v1"
)

// MissingRequired returns the permissions that a workload requires and s does not allow, sorted; nil if s allows all.
// The rules are those of the annotation delegation.wayleave.dev/requires: they say what is done, not where. So s
// has a permission if it allows it in at least one namespace or on the cluster, and a missing one has the namespace
// AnyNamespace. This only reports early what RBAC would deny later: demanding each permission in every namespace would
// reject a workload that reads in one namespace and writes in another.
//
// Rules that are malformed, or name more than MaxEntryPermissions permissions, return problems, with fields such as
// [1].verbs[0], and nothing is compared. Wildcards need no special case: no scope has them, so they are always missing.
func (s Set) MissingRequired(rules []rbacv1.PolicyRule) ([]Permission, []Problem) {
	var c checker
	permissions := 0
	for i := 0; i < len(rules) && !c.done(); i++ {
		permissions += c.rule(element("", i), rules[i])
		if permissions > MaxEntryPermissions {
			c.reject(element("", i), "up to here the rules name more than %d permissions (apiGroups × resources × "+
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

// anywhere is s without the namespaces of its resources.
func (s Set) anywhere() Set {
	permissions := s.Permissions()
	for i, p := range permissions {
		if p.Resource != "" {
			permissions[i].Namespace = AnyNamespace
		}
	}
	return newSet(permissions)
}
