package scope

import (
	"strconv"
	"strings"
	"unicode"
)

// AnyNamespace is the Namespace of a permission that a workload requires: the workload says what it does, not where.
// It never stands in a Set that Parse made.
const AnyNamespace = "*"

// Permission is the smallest piece of authority. Exactly one of Resource, URL and Audience is set.
type Permission struct {
	// Namespace is where the resource is. It is empty for cluster rules, for URLs and for audiences.
	Namespace string
	// APIGroup is the group of the resource; "" is the core group.
	APIGroup string
	// Resource is a plural name, with its subresource behind a slash: "pods", "pods/log".
	Resource string
	// Verb is an API verb, or an HTTP method in small letters for a URL. It is empty for an audience.
	Verb string
	// Name is the name of the one object that is meant; "" means every name, and requests that have none.
	Name string
	// URL is a non-resource URL path such as /metrics.
	URL string
	// Audience is an audience of tokens.
	Audience string
}

// String reads like a sentence: `get secrets "db" in namespace payments`, `get /metrics`, `audience "vault"`.
func (a Permission) String() string {
	return phrase(a, a.Verb)
}

// compare orders permissions: resources before URLs before audiences, URLs with a common beginning next to each other, and an
// permission without a name right before the same permission with one.
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

// phrase says what verbs (one, or several joined by commas) on the object of a mean.
func phrase(a Permission, verbs string) string {
	switch {
	case a.Audience != "":
		return "audience " + strconv.Quote(a.Audience)
	case a.URL != "":
		return word(verbs) + " " + word(a.URL)
	case a.Namespace == "":
		return act(a, verbs) + " (cluster)"
	case a.Namespace == AnyNamespace:
		return act(a, verbs) + " in any namespace"
	default:
		return act(a, verbs) + " in namespace " + word(a.Namespace)
	}
}

// act is phrase without the place.
func act(a Permission, verbs string) string {
	if a.Resource == "" {
		return phrase(a, verbs)
	}
	s := word(verbs) + " " + word(kindOf(a.APIGroup, a.Resource))
	if a.Name != "" {
		s += " " + strconv.Quote(a.Name)
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

// word is s as it is, or quoted if it holds something that could pass for another line of a log or of a terminal.
func word(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
