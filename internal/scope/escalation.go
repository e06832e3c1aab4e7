package scope

import (
	"strings"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// DefaultOperatorNamespace is where Wayleave itself runs unless it is installed elsewhere.
const DefaultOperatorNamespace = "wayleave-system"

// Bearer is what matters of the one who would hold a scope.
type Bearer struct {
	// Token is whether it gets a token to take away (spec.token of a hop), so that what it runs is no pod that can be
	// ended.
	Token bool
	// OperatorNamespace is where Wayleave itself runs; empty means DefaultOperatorNamespace.
	OperatorNamespace string
}

// EscalationRisks returns what in a scope would let its bearer leave the path, whoever grants it: one problem for each kind
// of thing in each rule, naming the attack and the remedy; nil if there is nothing. At most a few are named. A scope
// that Validate refuses is not looked into: then the problems are those of Validate.
func EscalationRisks(s v1alpha1.Scope, b Bearer) []Problem {
	if problems := Validate(s); len(problems) > 0 {
		return problems
	}
	if b.OperatorNamespace == "" {
		b.OperatorNamespace = DefaultOperatorNamespace
	}
	j := judge{bearer: b}
	for l := range rulesOf(s) {
		j.rule(l)
	}
	for i, audience := range s.Audiences {
		j.seen = map[int]bool{}
		j.request(request{Permission: Permission{Audience: audience}, at: position{inAudiences: i}})
	}
	return j.problems
}

// field is the list of a rule that is to blame.
type field string

const (
	inAudiences field = "audiences"
	inGroups    field = "apiGroups"
	inNames     field = "resourceNames"
	inResources field = "resources"
	inURLs      field = "nonResourceURLs"
	inVerbs     field = "verbs"
)

// position says which element of each list a permission comes from.
type position map[field]int

// request is a permission with what the table of escalation risks asks about it. Its Namespace is empty: the rule holds in each of
// the namespaces, or on the cluster if there are none.
type request struct {
	Permission
	bearer     Bearer
	namespaces []string
	rule       string
	at         position
}

// parent is the resource without its subresource.
func (r request) parent() string {
	parent, _, _ := strings.Cut(r.Resource, "/")
	return parent
}

// judge holds permissions against the table.
type judge struct {
	bearer   Bearer
	problems []Problem
	seen     map[int]bool // rows that the present rule has met
}

func (j *judge) rule(l located) {
	j.seen = map[int]bool{}
	for v, verb := range l.rule.Verbs {
		for u, url := range l.rule.NonResourceURLs {
			j.request(request{
				Permission: Permission{Verb: verb, URL: url}, rule: l.field + ".", at: position{inVerbs: v, inURLs: u},
			})
		}
		for g, group := range l.rule.APIGroups {
			for r, resource := range l.rule.Resources {
				for n, name := range namesOf(l.rule) {
					j.request(request{
						Permission: Permission{APIGroup: group, Resource: resource, Verb: verb, Name: name}, namespaces: l.namespaces,
						rule: l.field + ".", at: position{inVerbs: v, inGroups: g, inResources: r, inNames: n},
					})
				}
			}
		}
	}
}

// request adds a problem for the first row of the table that the request meets. One row is named once a rule: eight
// verbs on one resource are one thing to mend.
func (j *judge) request(r request) {
	r.bearer = j.bearer
	for i, row := range escalationRisks {
		if !row.meets(r) {
			continue
		}
		if !j.seen[i] && len(j.problems) < maxProblems {
			j.seen[i] = true
			j.problems = append(j.problems, Problem{
				Field:   element(r.rule+string(row.blame), r.at[row.blame]),
				Message: act(r.Permission, r.Verb) + " does not fit in a scope: " + row.attack + "; " + row.remedy,
				Risk:    row.risk,
			})
		}
		return
	}
}
