package scope

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// The bounds of a scope. The schema caps each list, but CEL cannot afford to multiply them: within the schema alone
// one object may name 10^10 permissions, and a process that expands them runs out of memory.
const (
	// MaxEntryPermissions is how many permissions the rules of one entry of scope.namespaced may name in each of its
	// namespaces.
	MaxEntryPermissions = 256
	// MaxNamespaces is how many different namespaces a scope may name: each is a Role and a RoleBinding to write.
	MaxNamespaces = 32
	// MaxPermissions is how many permissions a whole scope may name, with those of each namespace, of the cluster rules
	// and the audiences added up.
	MaxPermissions = 1024

	// maxProblems ends the search: no one reads more, and each message costs memory.
	maxProblems = 16
	// maxText is the maximum length of a Kubernetes name, in bytes.
	maxText = 253
)

// Problem is one reason for which a scope is rejected.
type Problem struct {
	// Field is the path within the scope, such as namespaced[0].rules[1].verbs[0].
	Field string
	// Message is a sentence that ends with what to do.
	Message string
	// Risk is the risk that the path would have to accept; "" if nothing makes this fit.
	Risk Risk
}

// String is the field and the message.
func (p Problem) String() string {
	return p.Field + ": " + p.Message
}

// Validate returns what makes a scope malformed or too large, nil if nothing does. Sizes are multiplied, never
// expanded, and the search stops at the first bound that is passed: its work does not grow with the scope. Of several
// problems it names the first few.
func Validate(s v1alpha1.Scope) []Problem {
	c := checker{namespaces: map[string]bool{}}
	for i := 0; i < len(s.Namespaced) && !c.done(); i++ {
		c.entry(element("namespaced", i), s.Namespaced[i])
	}
	for i := 0; i < len(s.Cluster) && !c.done(); i++ {
		field := element("cluster", i)
		c.count(field, c.rule(field, fromCluster(s.Cluster[i])))
	}
	if !c.done() {
		c.count("audiences", min(len(s.Audiences), tooMany))
		c.texts("audiences", s.Audiences)
	}
	return c.problems
}

// tooMany represents every number of permissions that is too large, so that products do not overflow.
const tooMany = MaxPermissions + 1

// checker gathers problems and counts on the way.
type checker struct {
	problems    []Problem
	permissions int
	namespaces  map[string]bool
}

// done reports whether the search can end.
func (c *checker) done() bool {
	return len(c.problems) >= maxProblems || c.permissions > MaxPermissions || len(c.namespaces) > MaxNamespaces
}

func (c *checker) reject(field, format string, args ...any) {
	if len(c.problems) < maxProblems {
		c.problems = append(c.problems, Problem{Field: field, Message: fmt.Sprintf(format, args...)})
	}
}

// count adds permissions to those of the whole scope.
func (c *checker) count(field string, permissions int) {
	c.permissions = min(c.permissions+permissions, tooMany)
	if c.permissions > MaxPermissions {
		c.reject(field, "up to here the scope names more than %d permissions (apiGroups × resources × verbs × resourceNames × "+
			"namespaces, added up): name less, or divide the work between several paths", MaxPermissions)
	}
}

func (c *checker) entry(field string, e v1alpha1.NamespacedScope) {
	c.checkNamespaces(field+".namespaces", e.Namespaces)
	if len(e.Rules) == 0 {
		c.reject(field+".rules", "the entry has no rule: add one, or leave the entry out")
	}
	permissions := 0
	for i := 0; i < len(e.Rules) && !c.done(); i++ {
		permissions += c.rule(element(field+".rules", i), fromNamespaced(e.Rules[i]))
		if permissions > MaxEntryPermissions {
			c.reject(field, "the rules name more than %d permissions (apiGroups × resources × verbs × resourceNames, added up) "+
				"in each namespace: name less, or divide the work between several hops", MaxEntryPermissions)
			return
		}
	}
	c.count(field, product(permissions, len(e.Namespaces)))
}

// checkNamespaces checks the namespaces of one entry and adds them to those of the scope.
func (c *checker) checkNamespaces(field string, namespaces []string) {
	if len(namespaces) == 0 {
		c.reject(field, "the entry has no namespace: name those in which its rules apply")
	}
	for i := 0; i < len(namespaces) && !c.done(); i++ {
		c.text(field, i, namespaces[i])
		if strings.Contains(namespaces[i], "*") {
			c.reject(element(field, i), "there is no wildcard for namespaces: name each one")
		}
		c.namespaces[namespaces[i]] = true
	}
	if len(c.namespaces) > MaxNamespaces {
		c.reject(field, "up to here the scope names more than %d namespaces: name fewer, or divide the work between "+
			"several paths", MaxNamespaces)
	}
}

// rule checks one rule and returns how many permissions it names, at most tooMany. A rule without verbs, groups or
// resources is rejected before any comparison: it names nothing, and a product with a zero in it passes every bound.
func (c *checker) rule(field string, r rbacv1.PolicyRule) int {
	if len(r.Verbs) == 0 {
		c.reject(field+".verbs", "the rule has no verb: name what may be done")
	}
	permissions := c.shape(field, r)
	if permissions == 0 || permissions > MaxPermissions {
		return permissions // a list may have any length here, so reading it is unbounded work
	}
	for i := 0; i < len(r.APIGroups) && !c.done(); i++ {
		if r.APIGroups[i] != "" { // the core group
			c.text(field+".apiGroups", i, r.APIGroups[i])
		}
	}
	c.texts(field+".resources", r.Resources)
	c.texts(field+".verbs", r.Verbs)
	c.texts(field+".resourceNames", r.ResourceNames)
	c.texts(field+".nonResourceURLs", r.NonResourceURLs)
	c.names(field, r)
	return permissions
}

// names rejects names where RBAC cannot compare them: the request to create an object, or to delete many, has no name. A
// subresource is created of an object that has one.
func (c *checker) names(field string, r rbacv1.PolicyRule) {
	if len(r.ResourceNames) == 0 || !slices.ContainsFunc(r.Resources, func(resource string) bool { return !strings.Contains(resource, "/") }) {
		return
	}
	for i, verb := range r.Verbs {
		if verb == "create" || verb == "deletecollection" {
			c.reject(element(field+".verbs", i), "RBAC cannot restrict %s by name, so the rule would never allow it: "+
				"give it a rule without resourceNames, or leave it out", verb)
		}
	}
}

// shape checks that the rule is either about resources or about URLs and returns its permissions as rule does; 0 if it
// is neither.
func (c *checker) shape(field string, r rbacv1.PolicyRule) int {
	if len(r.NonResourceURLs) > 0 {
		if len(r.APIGroups)+len(r.Resources)+len(r.ResourceNames) > 0 {
			c.reject(field, "the rule has nonResourceURLs and resources: make it two rules")
			return 0
		}
		return product(len(r.NonResourceURLs), len(r.Verbs))
	}
	if len(r.APIGroups) == 0 {
		c.reject(field+".apiGroups", `the rule has no API group: name it ("" is the core group)`)
	}
	if len(r.Resources) == 0 {
		c.reject(field+".resources", "the rule has no resource: name what it is about")
	}
	return product(len(r.APIGroups), len(r.Resources), len(r.Verbs), max(1, len(r.ResourceNames)))
}

func (c *checker) texts(field string, texts []string) {
	for i := 0; i < len(texts) && !c.done(); i++ {
		c.text(field, i, texts[i])
	}
}

// text rejects the empty string wherever it would have another meaning. An empty resource name would read as
// "any name" here, and RBAC lets it match every request that has none: list, watch, create.
func (c *checker) text(field string, i int, s string) {
	switch {
	case s == "":
		c.reject(element(field, i), "it is empty: give it a value, or leave it out")
	case len(s) > maxText:
		c.reject(element(field, i), "it is %d bytes long, and no name in Kubernetes has more than %d: shorten it", len(s), maxText)
	}
}

// element is the path of the i-th element of a list.
func element(field string, i int) string {
	return field + "[" + strconv.Itoa(i) + "]"
}

// product multiplies, and returns tooMany for every product above MaxPermissions.
func product(factors ...int) int {
	n := 1
	for _, f := range factors {
		n = min(n*min(f, tooMany), tooMany)
	}
	return n
}
