package delegation

import (
	"fmt"
	"slices"
	"time"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// Evaluate decides about a path, a hop, or a workload that declares a hop. Every node of the chain is evaluated afresh;
// nothing is taken from an earlier verdict.
func Evaluate(in Input) Verdict {
	if in.Path != nil && !in.Path.DeletionTimestamp.IsZero() {
		in.Path = nil // a path that is being deleted authorizes nothing
	}
	e := &evaluation{in: in}
	e.checkPath()
	for i := range in.Chain.Hops {
		e.checkHop(i)
	}
	e.findings = append(e.findings, in.Chain.Breaks...)
	e.checkEnded()
	e.checkTokenName()
	e.checkSecrets()
	e.checkHopNamespace()
	e.checkCeiling()
	e.checkExclusive()
	e.checkIsolation()
	e.checkWorkload()
	return e.verdict()
}

// evaluation walks down the chain and keeps what the next node is compared with. Each dimension is checked in a file of
// its own.
type evaluation struct {
	in       Input
	findings []Finding

	written   v1alpha1.Scope
	scope     scope.Set               // of the node above
	end       time.Time               // of the node above
	begun     time.Time               // the same, without the duration of what has not begun
	lifetimes []namedLifetime         // of the nodes above
	above     *v1alpha1.DelegationHop // the hop above; nil: the path

	approvals []v1alpha1.RecordedDecision
	denied    *v1alpha1.RecordedDecision
}

// node is one node of the chain: the path, or one of its hops.
type node struct {
	// name is how findings name the node; empty for the object that the question is about.
	name string
	// depth is 0 for the path, and counts the hops from 1.
	depth int
	// asked is true for the object that the question is about.
	asked bool
}

func isOpenQuestion(f Finding) bool { return f.Reason == v1alpha1.ReasonUndetermined }

// pathPrefix begins the Node of a finding about the path.
const pathPrefix = "path "

func (e *evaluation) pathNode() node {
	if len(e.in.Chain.Hops) == 0 {
		return node{asked: true}
	}
	return node{name: fmt.Sprintf(pathPrefix+"%s/%s", e.in.Path.Namespace, e.in.Path.Name)}
}

func (e *evaluation) hopNode(i int) node {
	n := node{depth: i + 1, asked: i == len(e.in.Chain.Hops)-1}
	if !n.asked {
		n.name = nodeName(e.in.Chain.Hops[i])
	}
	return n
}

func (e *evaluation) checkPath() {
	p := e.in.Path
	if p == nil {
		e.pathMissing()
		return
	}
	n := e.pathNode()
	e.checkRevocation(p.Spec.Revoked, n)
	e.checkSuspension(p, n)
	e.checkFreeze(nil, n)
	e.checkFloor()
	e.checkPathLifetime(p, n)
	e.checkPathScope(p, n)
	e.checkOrigin(p, n)
	e.checkTerms(p, n)
	e.checkApproval(p, n)
	e.checkTokenSecrets(n)
	if p.Status.ActiveSince == nil && !n.asked {
		e.report(Finding{Reason: v1alpha1.ReasonNotYetValid, Node: n.name, Message: "the path is not active yet"})
	}
}

func (e *evaluation) pathMissing() {
	f := Finding{Reason: v1alpha1.ReasonPathNotFound, Message: "the path does not exist"}
	if hop := e.in.Chain.Last(); hop != nil {
		if e.mayNotKnowPath(hop) {
			return
		}
		f.Field, f.Message = "spec.pathRef", fmt.Sprintf("path %s does not exist", PathKey(hop))
	} else if e.in.Workload != nil {
		return // the hop that it declares does not exist, which is reported instead
	}
	e.report(f)
}

// checkHop checks the i-th hop of the chain.
func (e *evaluation) checkHop(i int) {
	h, n := e.in.Chain.Hops[i], e.hopNode(i)
	if !h.DeletionTimestamp.IsZero() {
		e.report(Finding{Reason: v1alpha1.ReasonHopNotFound, Node: n.name, Message: "the hop is being deleted"})
	}
	e.checkRevocation(h.Spec.Revoked, n)
	e.checkFreeze(h, n)
	e.checkPlace(h, n)
	e.checkAuthor(h, n)
	hopScope := e.checkHopScope(h, n)
	e.checkHopLifetime(h, n)
	e.checkBounds(h, n)
	e.checkLevel(h, n)
	e.checkTokenLife(h, n)
	if h.Status.ActiveSince == nil && !n.asked {
		e.report(Finding{Reason: v1alpha1.ReasonParentNotReady, Node: n.name, Message: "the hop has not been granted anything yet"})
	}
	e.scope, e.above = hopScope, h
}

func (e *evaluation) report(f Finding) { e.findings = append(e.findings, f) }

// reportAnswer reports an answer that is not Allow: as the given finding if it is Deny, else as an open question.
func (e *evaluation) reportAnswer(a Answer, denied Finding, question string) {
	switch a.Outcome {
	case Allow:
	case Deny:
		e.report(denied)
	default:
		e.report(Finding{
			Reason: v1alpha1.ReasonUndetermined, Node: denied.Node, Field: denied.Field,
			Message: fmt.Sprintf("could not determine %s: %s", question, a.Detail),
		})
	}
}

// HasEnded says whether the objects of an input alone, without any fact that has to be looked up, give a final reason:
// something was revoked, or is past its end.
func HasEnded(in Input) bool { return Evaluate(in).Class() == v1alpha1.ClassFinal }

func (e *evaluation) verdict() Verdict {
	worstFirst(e.findings)
	if len(e.findings) > 0 && isFinal(e.findings[0]) {
		e.findings = slices.DeleteFunc(e.findings, isOpenQuestion) // nothing depends on them any more, and they are not asked
	}
	v := Verdict{
		Outcome: Allow, Findings: e.findings, NotAfter: e.end, Scope: e.scope, Made: e.in.Facts.Made, Approvals: e.approvals, Denied: e.denied,
	}
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
