package scope

import (
	"strconv"
	"strings"
	"unicode"
)

// AnyNamespace is the Namespace of a permission that a workload requires: the workload says what it does, not where.
// It never occurs in a Set that Parse returned.
const AnyNamespace = "*"

// Permission is the smallest piece of authority. Exactly one of Resource, URL and Audience is set.
type Permission struct {
	// Namespace is where the resource is. It is empty for cluster rules, for URLs and for audiences.
	Namespace string
	// APIGroup is the group of the resource; "" is the core group.
	APIGroup string
	// Resource is a plural name, with its subresource after a slash: "pods", "pods/log".
	Resource string
	// Verb is an API verb, or a lower-case HTTP method for a URL. It is empty for an audience.
	Verb string
	// Name is the name of a single object; "" means every name, and requests without one.
	Name string
	// URL is a non-resource URL path such as /metrics.
	URL string
	// Audience is a token audience.
	Audience string
}

// String reads like a sentence: `get secrets "db" in namespace payments`, `get /metrics`, `audience "vault"`.
func (p Permission) String() string {
	return phrase(p, p.Verb)
}

// compare orders permissions: resources before URLs before audiences, URLs with a common prefix next to each other, and
// a permission without a name directly before the same permission with one.
func compare(a, b Permission) int {
	if c := strings.Compare(a.Audience, b.Audience); c != 0 {
		return c
	}
	if c := strings.Compare(a.URL, b.URL); c != 0 {
		return c
	}
	if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
		return c
	}
	if c := strings.Compare(a.APIGroup, b.APIGroup); c != 0 {
		return c
	}
	if c := strings.Compare(a.Resource, b.Resource); c != 0 {
		return c
	}
	if c := strings.Compare(a.Verb, b.Verb); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}

// compareObjects is compare with the verbs of one object next to each other.
func compareObjects(a, b Permission) int {
	a.Name, a.Verb = a.Verb, a.Name
	b.Name, b.Verb = b.Verb, b.Name
	return compare(a, b)
}

// phrase describes verbs (one, or several joined by commas) on the object of a permission.
func phrase(p Permission, verbs string) string {
	switch {
	case p.Audience != "":
		return "audience " + strconv.Quote(p.Audience)
	case p.URL != "":
		return word(verbs) + " " + word(p.URL)
	case p.Namespace == "":
		return act(p, verbs) + " (cluster)"
	case p.Namespace == AnyNamespace:
		return act(p, verbs) + " in any namespace"
	default:
		return act(p, verbs) + " in namespace " + word(p.Namespace)
	}
}

// act is phrase without the namespace.
func act(p Permission, verbs string) string {
	if p.Resource == "" {
		return phrase(p, verbs)
	}
	s := word(verbs) + " " + word(kindOf(p.APIGroup, p.Resource))
	if p.Name != "" {
		s += " " + strconv.Quote(p.Name)
	}
	return s
}

// kindOf writes group and resource the way kubectl does: deployments.apps/scale.
func kindOf(group, resource string) string {
	if group == "" {
		return resource
	}
	kind, sub, isSub := strings.Cut(resource, "/")
	if !isSub {
		return kind + "." + group
	}
	return kind + "." + group + "/" + sub
}

// word is s as it is, or quoted if it contains characters that could forge a line in a log or terminal.
func word(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
