package delegation

import (
	"fmt"
	"slices"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

func (e *evaluation) checkPathScope(p *v1alpha1.DelegationPath, n node) {
	e.written = p.Spec.Scope
	e.scope = e.parseScope(p.Spec.Scope, false, n)
}

// checkHopScope compares a hop's scope with the one above and returns it.
func (e *evaluation) checkHopScope(h *v1alpha1.DelegationHop, n node) scope.Set {
	own, token := e.scope, h.Spec.Token
	if h.Spec.Scope != nil {
		e.written = *h.Spec.Scope
	}
	if h.Spec.Scope != nil || token != nil { // a scope that is inherited unchanged was checked above
		own = e.parseScope(e.written, token != nil, n)
	}
	if missing := own.Missing(e.scope); len(missing) > 0 && e.in.Path != nil {
		e.exceedsAbove(n, false, "spec.scope", fmt.Sprintf("%s may not %s: leave it out, or widen %s",
			e.aboveName(), scope.Describe(missing), e.aboveKind()))
	}
	if token != nil && token.Audience != "" && !slices.Contains(e.written.Audiences, token.Audience) {
		e.exceedsAbove(n, h.Spec.Scope != nil, "spec.token.audience", fmt.Sprintf(
			"audience %q is not one of the scope's audiences: add it there, or name one of them", token.Audience))
	}
	return own
}

func (e *evaluation) exceedsAbove(n node, itself bool, field, message string) {
	reason := v1alpha1.ReasonScopeExceedsParent
	if e.above == nil {
		reason = v1alpha1.ReasonScopeExceedsPath
	}
	e.report(Finding{Reason: reason, Node: n.name, Itself: itself && n.asked, Field: field, Message: message})
}

func (e *evaluation) aboveName() string {
	if e.above == nil {
		return "the path"
	}
	return "the parent " + nodeName(e.above)
}

func (e *evaluation) aboveKind() string {
	if e.above == nil {
		return "the path"
	}
	return "the parent"
}

// parseScope checks a scope on its own and returns it; one that cannot be parsed allows nothing.
func (e *evaluation) parseScope(written v1alpha1.Scope, token bool, n node) scope.Set {
	set, problems := scope.Parse(written)
	if len(problems) > 0 {
		e.reportScope(v1alpha1.ReasonScopeInvalid, problems, n)
		return set
	}
	bearer := scope.Bearer{Token: token, Accepted: e.acceptedRisks(), OperatorNamespace: e.in.OperatorNamespace}
	e.reportRisks(scope.EscalationRisks(written, bearer), bearer, n)
	return set
}

// acceptedRisks are the risks that the path accepts. What a path that does not exist accepts is not known yet: a hop that
// is applied before its path must not be denied for it, and it is granted nothing.
func (e *evaluation) acceptedRisks() []v1alpha1.Risk {
	if e.in.Path == nil {
		return scope.AcceptableRisks
	}
	return e.in.Path.Spec.Scope.AcceptedRisks
}

func (e *evaluation) reportScope(reason v1alpha1.Reason, problems []scope.Problem, n node) {
	for _, p := range problems {
		e.report(Finding{Reason: reason, Node: n.name, Field: "spec.scope." + p.Field, Message: p.Message})
	}
}

// reportRisks reports escalation risks. One that the path of a hop could accept has to be fixed in the path.
func (e *evaluation) reportRisks(problems []scope.Problem, b scope.Bearer, n node) {
	for _, p := range problems {
		acceptable := n.depth > 0 && !b.Token && slices.Contains(scope.AcceptableRisks, p.Risk)
		e.report(Finding{
			Reason: v1alpha1.ReasonScopeAmplifies, Node: n.name, Elsewhere: acceptable, Field: "spec.scope." + p.Field, Message: p.Message,
		})
	}
}

// checkCeiling checks that the controller may grant the scope of the hop asked about.
func (e *evaluation) checkCeiling() {
	if len(e.in.Chain.Hops) == 0 {
		return
	}
	if gone := e.in.Facts.GoneNamespace; gone != "" && e.in.Facts.Ceiling.Outcome == Deny {
		e.report(NamespaceNotFound(fmt.Sprintf("namespace %q", gone)))
		return
	}
	e.reportAnswer(e.in.Facts.Ceiling, Finding{
		Reason: v1alpha1.ReasonScopeExceedsCeiling, Field: "spec.scope",
		Message: fmt.Sprintf(
			"the controller was not given the right to %s: bind a ClusterRole that allows it and is labelled %s=true to the controller there",
			scope.Describe(e.in.Facts.Ceiling.Missing), v1alpha1.LabelCeiling),
	}, "what the controller may grant")
}

// Places are the namespaces where a hop lives and where its scope lets it work, each once.
func Places(hop *v1alpha1.DelegationHop, written v1alpha1.Scope) []string {
	places := []string{hop.Namespace}
	for _, entry := range written.Namespaced {
		places = append(places, entry.Namespaces...)
	}
	slices.Sort(places)
	return slices.Compact(places)
}

// Binds says whether a hop has a binding in a namespace; the empty one means the whole cluster.
func Binds(hop *v1alpha1.DelegationHop, written v1alpha1.Scope, namespace string) bool {
	if namespace == "" {
		return len(written.Cluster) > 0
	}
	inScope := slices.ContainsFunc(written.Namespaced, func(s v1alpha1.NamespacedScope) bool {
		return slices.Contains(s.Namespaces, namespace)
	})
	return inScope || hop.Spec.Delegation != nil && namespace == hop.Namespace
}

// NamespaceNotFound is the finding about a namespace of a scope that does not exist.
func NamespaceNotFound(which string) Finding {
	return Finding{
		Reason: v1alpha1.ReasonNamespaceNotFound, Field: "spec.scope",
		Message: "a namespace of the scope does not exist, or is being deleted: create it, or leave it out: " + which,
	}
}

// WrittenScope is the scope of the hop asked about as its author wrote it: its own, or the one that it inherits. There
// is none where the chain to it is broken.
func WrittenScope(in Input) (v1alpha1.Scope, bool) {
	for _, h := range slices.Backward(in.Chain.Hops) {
		if h.Spec.Scope != nil {
			return *h.Spec.Scope, true
		}
	}
	if in.Path == nil || len(in.Chain.Breaks) > 0 {
		return v1alpha1.Scope{}, false
	}
	return in.Path.Spec.Scope, true
}
