package scope

import (
	"slices"
	"sort"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// MissingFrom returns the permissions of s that no rule of the rights covers, sorted; nil if the rights allow all of s.
// Audiences are skipped: RBAC does not know them, so they are never missing here, and only the parent scope bounds
// them.
//
// The rights are read once and not indexed. The index is of s, which is bounded: for each verb, group, resource and
// name, the set of permissions that have it. Each string in a rule is then one look-up, so the work grows with the size
// of the rights, not with its product with the size of s, for any rules.
func (s Set) MissingFrom(rights Rights) []Permission {
	x := newIndex(s.permissions)
	x.subtract(x.inRBAC, rights.Cluster)
	for namespace, permissions := range x.namespaces {
		x.subtract(permissions, rights.Namespaced[namespace])
	}
	var missing []Permission
	for i, p := range s.permissions {
		if x.left.has(i) {
			missing = append(missing, p)
		}
	}
	return missing
}

// index maps each string to the permissions that have it, and tracks which are not covered yet.
type index struct {
	permissions []Permission
	left        mask // the permissions not covered so far

	inRBAC     mask // all but audiences
	namespaces map[string]mask
	groups     map[string]mask
	resources  map[string]mask
	verbs      map[string]mask
	names      map[string]mask

	// The permissions of URLs are contiguous: permissions[firstURL:endURL], sorted by URL.
	firstURL, endURL int

	matched, union mask // scratch
}

func newIndex(permissions []Permission) *index {
	x := &index{
		permissions: permissions, left: newMask(len(permissions)), inRBAC: newMask(len(permissions)),
		namespaces: map[string]mask{}, groups: map[string]mask{}, resources: map[string]mask{},
		verbs: map[string]mask{}, names: map[string]mask{},
		matched: newMask(len(permissions)), union: newMask(len(permissions)),
	}
	for i, p := range permissions {
		if p.Audience != "" {
			continue
		}
		x.inRBAC.set(i)
		x.left.set(i)
		x.enter(x.verbs, p.Verb, i)
		x.enter(x.verbs, rbacv1.VerbAll, i)
		if p.URL == "" {
			x.enterResource(i, p)
			continue
		}
		if x.endURL == 0 {
			x.firstURL = i
		}
		x.endURL = i + 1
	}
	return x
}

// enterResource enters a permission under its own strings and under every RBAC wildcard that matches it. A permission
// without a name is under no name, not even "": no rule with names covers it.
func (x *index) enterResource(i int, p Permission) {
	x.enter(x.groups, p.APIGroup, i)
	x.enter(x.groups, rbacv1.APIGroupAll, i)
	x.enter(x.resources, p.Resource, i)
	x.enter(x.resources, rbacv1.ResourceAll, i)
	if _, sub, isSub := strings.Cut(p.Resource, "/"); isSub {
		x.enter(x.resources, "*/"+sub, i)
	}
	if p.Name != "" {
		x.enter(x.names, p.Name, i)
	}
	if p.Namespace != "" {
		x.enter(x.namespaces, p.Namespace, i)
	}
}

func (x *index) enter(under map[string]mask, key string, i int) {
	m, found := under[key]
	if !found {
		m = newMask(len(x.permissions))
		under[key] = m
	}
	m.set(i)
}

// subtract removes from the uncovered permissions those in where that a rule covers.
func (x *index) subtract(where mask, rules []rbacv1.PolicyRule) {
	for i := range rules {
		if !where.meets(x.left) {
			return
		}
		if x.matchResources(where, &rules[i]) {
			x.left.remove(x.matched)
		}
		if x.matchURLs(where, &rules[i]) {
			x.left.remove(x.matched)
		}
	}
}

// matchResources leaves in x.matched the permissions on resources that the rule covers and reports whether there are
// any. Resources are compared first since they exclude most.
func (x *index) matchResources(where mask, r *rbacv1.PolicyRule) bool {
	if len(r.Resources) == 0 {
		return false
	}
	x.matched.intersection(where, x.left)
	return x.keep(x.resources, r.Resources) && x.keep(x.groups, r.APIGroups) && x.keep(x.verbs, r.Verbs) &&
		(len(r.ResourceNames) == 0 || x.keep(x.names, r.ResourceNames))
}

// keep removes from x.matched the permissions with none of the keys and reports whether any is left.
func (x *index) keep(under map[string]mask, keys []string) bool {
	x.union.clear()
	for _, key := range keys {
		x.union.add(under[key])
	}
	return x.matched.intersection(x.matched, x.union)
}

// matchURLs does for URLs what matchResources does. A rule with names applies to objects, so it covers no URL.
func (x *index) matchURLs(where mask, r *rbacv1.PolicyRule) bool {
	if len(r.NonResourceURLs) == 0 || len(r.ResourceNames) > 0 {
		return false
	}
	x.matched.intersection(where, x.left)
	if !x.keep(x.verbs, r.Verbs) {
		return false
	}
	x.union.clear()
	for _, pattern := range r.NonResourceURLs {
		x.union.setRange(x.urlRange(pattern))
	}
	return x.matched.intersection(x.matched, x.union)
}

// urlRange returns the range of permissions whose URL the pattern matches. To RBAC one or more stars at the end match
// any suffix.
func (x *index) urlRange(pattern string) (from, to int) {
	urls := x.permissions[x.firstURL:x.endURL]
	prefix, isPrefix := pattern, strings.HasSuffix(pattern, "*")
	if isPrefix {
		prefix = strings.TrimRight(pattern, "*")
	}
	from, _ = slices.BinarySearchFunc(urls, prefix, func(u Permission, prefix string) int {
		return strings.Compare(u.URL, prefix)
	})
	length := sort.Search(len(urls)-from, func(i int) bool {
		url := urls[from+i].URL
		return url != prefix && !(isPrefix && strings.HasPrefix(url, prefix))
	})
	return x.firstURL + from, x.firstURL + from + length
}
