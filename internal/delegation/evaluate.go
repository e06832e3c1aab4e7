package delegation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// Evaluate judges a path, a hop, or a workload that declares a hop. Every node of the chain is judged afresh; nothing
// is taken over from an earlier verdict.
func Evaluate(in Input) Verdict {
	if in.Path != nil && !in.Path.DeletionTimestamp.IsZero() {
		in.Path = nil // what is going authorises nothing any more
	}
	e := &evaluation{in: in}
	e.path()
	for i := range in.Chain.Hops {
		e.hop(i)
	}
	e.findings = append(e.findings, in.Chain.Breaks...)
	e.grantable()
	e.workload()
	return e.verdict()
}

// evaluation walks down the chain and carries along what the next node is measured against.
type evaluation struct {
	in       Input
	findings []Finding

	written   v1alpha1.Scope
	scope     scope.Set               // of the node above
	end       time.Time               // of the node above
	begun     time.Time               // the same, but for the duration of what has not begun
	lifetimes []declared              // by the nodes above
	above     *v1alpha1.DelegationHop // the node above; nil: the path
}

func (e *evaluation) verdict() Verdict {
	worstFirst(e.findings)
	v := Verdict{Outcome: Allow, Findings: e.findings, NotAfter: e.end, Scope: e.scope}
	if len(e.findings) > 0 {
		v.NotAfter = e.begun
	}
	for _, f := range e.findings {
		if f.Reason != v1alpha1.ReasonUndetermined {
			v.Outcome = Deny
			break
		}
		v.Outcome = Undetermined
	}
	return v
}

func (e *evaluation) find(f Finding) { e.findings = append(e.findings, f) }

// pathPrefix begins the Node of a finding about the path.
const pathPrefix = "path "

// pathNode is how findings about the path name it when the question is about a hop.
func (e *evaluation) pathNode() string {
	if len(e.in.Chain.Hops) == 0 {
		return ""
	}
	return fmt.Sprintf(pathPrefix+"%s/%s", e.in.Path.Namespace, e.in.Path.Name)
}

func (e *evaluation) path() {
	p := e.in.Path
	if p == nil {
		if hop := e.in.Chain.Last(); hop != nil {
			e.find(Finding{Reason: v1alpha1.ReasonPathNotFound, Field: "spec.pathRef", Message: fmt.Sprintf("path %s does not exist", PathKey(hop))})
		} else if e.in.Workload == nil {
			e.find(Finding{Reason: v1alpha1.ReasonPathNotFound, Message: "the path does not exist"})
		}
		return
	}
	node := e.pathNode()
	e.revoked(p.Spec.Revoked, node)
	if p.Spec.Suspend != nil && *p.Spec.Suspend {
		e.find(Finding{Reason: v1alpha1.ReasonSuspended, Node: node, Field: "spec.suspend", Message: "the path is suspended until somebody sets suspend to false"})
	}
	asked := len(e.in.Chain.Hops) == 0
	e.ends(&p.Spec.Lifetime, p.Status.ActiveSince, p.Status.ExpiresAt, asked, node)
	if p.Spec.Lifetime.Duration == nil && p.Spec.Lifetime.NotAfter == nil {
		// The schema demands one. Should a path be without it all the same, no grant below it would ever go.
		e.find(Finding{Reason: v1alpha1.ReasonUndetermined, Node: node, Field: "spec.lifetime", Message: "it could not be found out when the path ends: give it a duration, or notAfter"})
	}
	e.written = p.Spec.Scope
	e.scope = e.parse(p.Spec.Scope, false, node)
	e.origin(p, node)
	if p.Status.ActiveSince == nil && !asked {
		e.find(Finding{Reason: v1alpha1.ReasonNotYetValid, Node: node, Message: "the path is not active yet"})
	}
}

func (e *evaluation) origin(p *v1alpha1.DelegationPath, node string) {
	if p.Spec.Origin == nil {
		e.find(Finding{Reason: v1alpha1.ReasonOriginUnauthorized, Node: node, Field: "spec.origin", Message: "the path has no origin: nobody's authority stands behind it; apply it again with the admission webhook in place"})
		return
	}
	who := p.Spec.Origin.User
	if isHopAccount(who) {
		e.find(Finding{Reason: v1alpha1.ReasonOriginUnauthorized, Node: node, Field: "spec.origin", Message: fmt.Sprintf("the origin %q is the identity of a hop, whose authority ends with its own path: let whoever stands behind that path start this one", who)})
		return
	}
	e.answer(e.in.Facts.Origin, Finding{Reason: v1alpha1.ReasonScopeExceedsOrigin, Node: node, Field: "spec.scope",
		Message: fmt.Sprintf("the origin %q may not itself %s: narrow the path, or give the origin that right (resources are plural, and the core group is \"\")", who, scope.Describe(e.in.Facts.Origin.Missing))},
		fmt.Sprintf("what the origin %q may do", who))
}

// hop judges the i-th node of the chain.
func (e *evaluation) hop(i int) {
	h := e.in.Chain.Hops[i]
	asked := i == len(e.in.Chain.Hops)-1
	node := ""
	if !asked {
		node = nodeName(h)
	}
	if !h.DeletionTimestamp.IsZero() {
		e.find(Finding{Reason: v1alpha1.ReasonHopNotFound, Node: node, Message: "the hop is being deleted"})
	}
	e.revoked(h.Spec.Revoked, node)
	e.place(h, i, node)
	e.author(h, i, node)

	hopScope := e.hopScope(h, node)
	for _, above := range e.lifetimes {
		if excess := longer(h.Spec.Lifetime, above.lifetime); excess != "" {
			e.find(Finding{Reason: v1alpha1.ReasonLifetimeExceedsParent, Node: node, Field: "spec.lifetime", Message: fmt.Sprintf(excess+": shorten it, or leave it out", above.whose)})
			break
		}
	}
	e.ends(h.Spec.Lifetime, h.Status.ActiveSince, h.Status.ExpiresAt, asked, node)
	if h.Status.ActiveSince == nil && !asked {
		e.find(Finding{Reason: v1alpha1.ReasonParentNotReady, Node: node, Message: "the hop was not granted anything yet"})
	}
	e.scope, e.above = hopScope, h
}

// place judges where in the chain, and where in the cluster, a hop stands.
func (e *evaluation) place(h *v1alpha1.DelegationHop, i int, node string) {
	p := e.in.Path
	if p == nil {
		return
	}
	if pinned := h.Status.PathUID; pinned != "" && pinned != string(p.UID) {
		e.find(Finding{Reason: v1alpha1.ReasonChainBroken, Node: node, Field: "spec.pathRef", Message: "the path was made anew since this hop was linked to it: make the hop anew, too"})
	}
	depth := i + 1
	if limit := MaxDepth(p); depth > limit {
		e.find(Finding{Reason: v1alpha1.ReasonDepthExceeded, Node: node, Field: "spec.parentRef", Message: fmt.Sprintf("the hop has depth %d, the path allows %d: raise hops.maxDepth of the path, or name an earlier parent", depth, limit)})
	}
	if allowed := HopNamespaces(p); !slices.Contains(allowed, h.Namespace) {
		e.find(Finding{Reason: v1alpha1.ReasonNamespaceNotAllowed, Node: node, Field: "metadata.namespace", Message: fmt.Sprintf("the path does not let hops live in namespace %q: add it to hops.namespaces of the path", h.Namespace)})
	}
}

func (e *evaluation) author(h *v1alpha1.DelegationHop, i int, node string) {
	if e.in.Path == nil {
		return
	}
	if h.Spec.Author == nil {
		e.find(Finding{Reason: v1alpha1.ReasonNotPermittedToDelegate, Node: node, Field: "spec.author", Message: "the hop has no author; apply it again with the admission webhook in place"})
		return
	}
	who := h.Spec.Author.User
	if isHopAccount(who) {
		e.find(Finding{Reason: v1alpha1.ReasonNotPermittedToDelegate, Node: node, Field: "spec.author", Message: fmt.Sprintf("the author %q is the identity of a hop: it may not make hops", who)})
		return
	}
	e.answer(e.in.Facts.author(i), Finding{Reason: v1alpha1.ReasonNotPermittedToDelegate, Node: node, Field: "spec.author",
		Message: fmt.Sprintf("the author %q is not the path's origin and does not hold the verb %s on the path: let the origin apply the hop, or give its author that verb", who, v1alpha1.VerbDelegate)},
		fmt.Sprintf("whether the author %q may delegate", who))
}

// hopScope judges a hop's scope against the one above and returns it.
func (e *evaluation) hopScope(h *v1alpha1.DelegationHop, node string) scope.Set {
	reason := v1alpha1.ReasonScopeExceedsParent
	if e.above == nil {
		reason = v1alpha1.ReasonScopeExceedsPath
	}
	own, token := e.scope, h.Spec.Token
	if h.Spec.Scope != nil {
		e.written = *h.Spec.Scope
	}
	if h.Spec.Scope != nil || token != nil { // what is inherited as it is was judged above
		own = e.parse(e.written, token != nil, node)
	}
	if missing := own.Missing(e.scope); len(missing) > 0 && e.in.Path != nil {
		e.find(Finding{Reason: reason, Node: node, Field: "spec.scope", Message: fmt.Sprintf("%s may not %s: leave it out, or widen %s", e.aboveName(), scope.Describe(missing), e.aboveKind())})
	}
	if token != nil && token.Audience != "" && !slices.Contains(e.written.Audiences, token.Audience) {
		e.find(Finding{Reason: reason, Node: node, Field: "spec.token.audience", Message: fmt.Sprintf("audience %q is not one of the scope's audiences: add it there, or name one of them", token.Audience)})
	}
	return own
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

// parse judges a scope by itself and returns it; one that cannot be judged allows nothing.
func (e *evaluation) parse(written v1alpha1.Scope, token bool, node string) scope.Set {
	set, problems := scope.Parse(written)
	if len(problems) > 0 {
		e.problems(v1alpha1.ReasonScopeInvalid, problems, node)
		return set
	}
	bearer := scope.Bearer{Token: token, OperatorNamespace: e.in.OperatorNamespace}
	e.problems(v1alpha1.ReasonScopeAmplifies, scope.EscalationRisks(written, bearer), node)
	return set
}

func (e *evaluation) problems(reason v1alpha1.Reason, problems []scope.Problem, node string) {
	for _, p := range problems {
		e.find(Finding{Reason: reason, Node: node, Field: "spec.scope." + p.Field, Message: p.Message})
	}
}

func (e *evaluation) revoked(r *v1alpha1.Revocation, node string) {
	if r == nil {
		return
	}
	f := Finding{Reason: v1alpha1.ReasonRevoked, Node: node, Field: "spec.revoked", Actor: r.By, Message: r.Reason}
	if r.At != nil {
		f.At = r.At.Time
	}
	e.find(f)
}

// ends judges the end of a node and carries it down the chain. What is asked about begins with an Allow, so that its
// duration counts from now if it has not begun.
func (e *evaluation) ends(l *v1alpha1.Lifetime, since, recorded *metav1.Time, asked bool, node string) {
	whose := "this hop"
	if node != "" {
		whose = node
	}
	if len(e.lifetimes) == 0 && e.in.Path != nil {
		whose = "the path"
	}
	e.lifetimes = append(e.lifetimes, declared{l, whose})
	e.begun = earlier(e.end, end(l, since))
	e.end = e.begun
	if since == nil && asked {
		e.end = earlier(e.end, end(l, &metav1.Time{Time: e.in.Now.Truncate(time.Second)}))
	}
	over, yes := ended(e.in.Now, e.end, recorded)
	if !yes {
		return
	}
	if !e.alreadyExpired(over) {
		e.find(Finding{Reason: v1alpha1.ReasonExpired, Node: node, Field: "spec.lifetime", At: over, Message: "the lifetime has ended"})
	}
	e.begun, e.end = over, over
}

// alreadyExpired says whether a node above was found to have ended by then: its end is told once.
func (e *evaluation) alreadyExpired(at time.Time) bool {
	return slices.ContainsFunc(e.findings, func(f Finding) bool {
		return f.Reason == v1alpha1.ReasonExpired && !f.At.After(at)
	})
}

// grantable judges whether the controller may grant the scope of the hop asked about.
func (e *evaluation) grantable() {
	if len(e.in.Chain.Hops) == 0 {
		return
	}
	e.answer(e.in.Facts.Ceiling, Finding{Reason: v1alpha1.ReasonScopeExceedsCeiling, Field: "spec.scope",
		Message: fmt.Sprintf("the controller was not given the right to %s: bind a ClusterRole that allows it and is labelled %s=true to the controller there", scope.Describe(e.in.Facts.Ceiling.Missing), v1alpha1.LabelCeiling)},
		"what the controller may grant")
}

// answer turns an answer that is not Allow into a finding: the given one for a Deny.
func (e *evaluation) answer(a Answer, denied Finding, question string) {
	switch a.Outcome {
	case Allow:
	case Deny:
		e.find(denied)
	default:
		e.find(Finding{Reason: v1alpha1.ReasonUndetermined, Node: denied.Node, Field: denied.Field, Message: fmt.Sprintf("it could not be found out %s: %s", question, a.Detail)})
	}
}

// isHopAccount says whether a user is the identity of a hop. Were it the origin of another path, that one would live on
// when its own is revoked until somebody asked again; and two that stand for each other would live for ever.
func isHopAccount(user string) bool {
	account, ok := strings.CutPrefix(user, "system:serviceaccount:")
	_, name, _ := strings.Cut(account, ":")
	return ok && strings.HasPrefix(name, v1alpha1.AccountPrefix)
}

// MaxDepth is how deep a chain of the path may be.
func MaxDepth(p *v1alpha1.DelegationPath) int {
	if p.Spec.Hops == nil {
		return 1
	}
	return max(1, int(p.Spec.Hops.MaxDepth))
}

// HopNamespaces are the namespaces in which the hops of a path may live.
func HopNamespaces(p *v1alpha1.DelegationPath) []string {
	if p.Spec.Hops == nil || len(p.Spec.Hops.Namespaces) == 0 {
		return []string{p.Namespace}
	}
	return p.Spec.Hops.Namespaces
}

// WrittenScope is the scope of the hop asked about as somebody wrote it: its own, or the one that it inherits. There is
// none where the chain to it is broken.
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
