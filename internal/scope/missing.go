package scope

import (
	"slices"
	"sort"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// MissingFrom returns the permissions of s that no rule of the rights covers, sorted; nil if the rights allow all of s.
// Audiences are left out: RBAC says nothing of them, so they are never missing here, and whether one may be had is a
// matter of the parent scope alone.
//
// The rights are not prepared, they are read once. It is s, which is bounded, that is indexed: for each verb, group,
// resource and name, the set of permissions that have it. A rule then is one look-up for each string in it, so the work grows
// with the size of the rights and not with its product with the size of s, whatever the rules look like.
func (s Set) MissingFrom(rights Rights) []Permission {
	x := newIndex(s.permissions)
	x.subtract(x.inRBAC, rights.Cluster)
	for namespace, permissions := range x.namespaces {
		x.subtract(permissions, rights.Namespaced[namespace])
	}
	var missing []Permission
	for i, a := range s.permissions {
		if x.left.has(i) {
			missing = append(missing, a)
		}
	}
	return missing
}

// index tells for each string which permissions have it, and what is left of them.
type index struct {
	permissions []Permission
	left        mask // the permissions not covered so far

	inRBAC     mask // all but audiences
	namespaces map[string]mask
	groups     map[string]mask
	resources  map[string]mask
	verbs      map[string]mask
	names      map[string]mask

	// The permissions of URLs are neighbours: permissions[firstURL:endURL], sorted by URL.
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
	for i, a := range permissions {
		if a.Audience != "" {
			continue
		}
		x.inRBAC.set(i)
		x.left.set(i)
		x.enter(x.verbs, a.Verb, i)
		x.enter(x.verbs, rbacv1.VerbAll, i)
		if a.URL == "" {
			x.enterResource(i, a)
			continue
		}
		if x.endURL == 0 {
			x.firstURL = i
		}
		x.endURL = i + 1
	}
	return x
}

// enterResource enters a permission under its own strings and under every wildcard that RBAC lets match it. A permission without
// a name is under no name, not even "": no rule with names covers it.
func (x *index) enterResource(i int, a Permission) {
	x.enter(x.groups, a.APIGroup, i)
	x.enter(x.groups, rbacv1.APIGroupAll, i)
	x.enter(x.resources, a.Resource, i)
	x.enter(x.resources, rbacv1.ResourceAll, i)
	if _, sub, isSub := strings.Cut(a.Resource, "/"); isSub {
		x.enter(x.resources, "*/"+sub, i)
	}
	if a.Name != "" {
		x.enter(x.names, a.Name, i)
	}
	if a.Namespace != "" {
		x.enter(x.namespaces, a.Namespace, i)
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

// subtract takes from what is left the permissions of where that a rule covers.
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

// matchResources leaves in x.matched the permissions of resources that the rule covers and reports whether there are any.
// Resources come first since they rule out most.
func (x *index) matchResources(where mask, r *rbacv1.PolicyRule) bool {
	if len(r.Resources) == 0 {
		return false
	}
	x.matched.intersection(where, x.left)
	return x.keep(x.resources, r.Resources) && x.keep(x.groups, r.APIGroups) && x.keep(x.verbs, r.Verbs) &&
		(len(r.ResourceNames) == 0 || x.keep(x.names, r.ResourceNames))
}

// keep drops from x.matched what has none of the keys and reports whether anything is left.
func (x *index) keep(under map[string]mask, keys []string) bool {
	x.union.clear()
	for _, key := range keys {
		x.union.add(under[key])
	}
	return x.matched.intersection(x.matched, x.union)
}

// matchURLs does for URLs what matchResources does. A rule with names is about objects, so it covers no URL.
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

// urlRange returns where the permissions begin and end whose URL the pattern matches. RBAC takes a star at the end, and any
// number of them, for "whatever follows".
func (x *index) urlRange(pattern string) (from, to int) {
	urls := x.permissions[x.firstURL:x.endURL]
	prefix, isPrefix := pattern, strings.HasSuffix(pattern, "*")
	if isPrefix {
		prefix = strings.TrimRight(pattern, "*")
	}
	from, _ = slices.BinarySearchFunc(urls, prefix, func(a Permission, p string) int { return strings.Compare(a.URL, p) })
	length := sort.Search(len(urls)-from, func(i int) bool {
		url := urls[from+i].URL
		return url != prefix && !(isPrefix && strings.HasPrefix(url, prefix))
	})
	return x.firstURL + from, x.firstURL + from + length
}
