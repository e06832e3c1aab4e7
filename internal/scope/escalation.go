package scope

import (
	"slices"
	"strings"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// DefaultOperatorNamespace is where Wayleave itself runs unless it is installed elsewhere.
const DefaultOperatorNamespace = "wayleave-system"

// Bearer describes the identity that would hold a scope.
type Bearer struct {
	// Token is whether it gets a token in a Secret (spec.token of a hop). Its process is then not a pod that Wayleave can
	// end.
	Token bool
	// Accepted are the risks that the path of the bearer accepts.
	Accepted []Risk
	// OperatorNamespace is where Wayleave itself runs; empty means DefaultOperatorNamespace.
	OperatorNamespace string
}

// EscalationRisks returns what in a scope would let its bearer leave the path, for any origin: one problem for each
// risk in each rule, with the attack and the remedy; nil if there is none. At most a few are named. A scope that
// Validate rejects is not inspected: the problems are then those of Validate.
func EscalationRisks(s v1alpha1.Scope, b Bearer) []Problem {
	if problems := Validate(s); len(problems) > 0 {
		return problems
	}
	if b.OperatorNamespace == "" {
		b.OperatorNamespace = DefaultOperatorNamespace
	}
	f := riskFinder{bearer: b}
	for l := range rulesOf(s) {
		f.rule(l)
	}
	for i, audience := range s.Audiences {
		f.seen = map[int]bool{}
		f.request(request{Permission: Permission{Audience: audience}, at: position{inAudiences: i}})
	}
	return f.problems
}

// field is the list of a rule that contains the fault.
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

// request is a permission with the context that the table of escalation risks needs. Its Namespace is empty: the rule
// applies in each of the namespaces, or on the cluster if there are none.
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

// riskFinder compares permissions with the table of escalation risks.
type riskFinder struct {
	bearer   Bearer
	problems []Problem
	seen     map[int]bool // rows that the current rule has met
}

func (f *riskFinder) rule(l located) {
	f.seen = map[int]bool{}
	for v, verb := range l.rule.Verbs {
		for u, url := range l.rule.NonResourceURLs {
			f.request(request{
				Permission: Permission{Verb: verb, URL: url}, rule: l.field + ".", at: position{inVerbs: v, inURLs: u},
			})
		}
		for g, group := range l.rule.APIGroups {
			for r, resource := range l.rule.Resources {
				for n, name := range namesOf(l.rule) {
					f.request(request{
						Permission: Permission{APIGroup: group, Resource: resource, Verb: verb, Name: name}, namespaces: l.namespaces,
						rule: l.field + ".", at: position{inVerbs: v, inGroups: g, inResources: r, inNames: n},
					})
				}
			}
		}
	}
}

// request adds a problem for the first row of the table that the request meets. A row is reported once for each rule:
// eight verbs on one resource are one fault to fix.
func (f *riskFinder) request(r request) {
	r.bearer = f.bearer
	for i, row := range escalationRisks {
		if row.risk != "" && slices.Contains(f.bearer.Accepted, row.risk) || !row.meets(r) {
			continue
		}
		if !f.seen[i] && len(f.problems) < maxProblems {
			f.seen[i] = true
			f.problems = append(f.problems, Problem{
				Field:   element(r.rule+string(row.blame), r.at[row.blame]),
				Message: act(r.Permission, r.Verb) + " does not fit in a scope: " + row.attack + "; " + row.remedy,
				Risk:    row.risk,
			})
		}
		return
	}
}
