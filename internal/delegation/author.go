package delegation

import (
	"fmt"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// checkAuthor checks that the author of a hop may delegate on the path.
func (e *evaluation) checkAuthor(h *v1alpha1.DelegationHop, n node) {
	if e.in.Path == nil {
		return
	}
	denied := func(message string) Finding {
		return Finding{Reason: v1alpha1.ReasonNotPermittedToDelegate, Node: n.name, Field: "spec.author", Message: message}
	}
	if h.Spec.Author == nil {
		e.report(denied("the hop has no author; apply it again with the admission webhook in place"))
		return
	}
	who := h.Spec.Author.User
	if IsHopAccount(who) {
		e.checkDelegation(h, n)
		return
	}
	e.reportAnswer(e.in.Facts.author(n.depth-1), notPermitted(who, n), whetherPermitted(who))
	e.checkOwner(h.Spec.Author, h.Status.AuthorUID, e.in.Facts.authorAccount(n.depth-1), Finding{
		Reason: v1alpha1.ReasonOriginGone, Node: n.name, Field: "spec.author",
	})
}

func notPermitted(author string, n node) Finding {
	return Finding{Reason: v1alpha1.ReasonNotPermittedToDelegate, Node: n.name, Field: "spec.author", Message: fmt.Sprintf(
		"the author %q is not the path's origin and does not hold the verb %s on the path: let the origin apply the hop, or "+
			"give its author that verb", author, v1alpha1.VerbDelegate)}
}

func whetherPermitted(author string) string {
	return fmt.Sprintf("whether the author %q may delegate", author)
}

// mayNotKnowPath reports of a path that does not exist what would be reported if it did, where the author of a hop may
// neither read nor create it: who may create hops in one namespace is not told which paths exist in others.
func (e *evaluation) mayNotKnowPath(h *v1alpha1.DelegationHop) bool {
	if !AsksToKnowPath(e.in) {
		return false
	}
	e.reportAnswer(e.in.Facts.KnowsPath, notPermitted(h.Spec.Author.User, node{}), whetherPermitted(h.Spec.Author.User))
	return e.in.Facts.KnowsPath.Outcome != Allow
}

// NotKnownToDelegate is the one finding for the author of a hop who may not delegate on its path, or of whom that is not known,
// whatever else is found; nil where the question is about a path, or the author may.
func NotKnownToDelegate(in Input) *Finding {
	hop := in.Chain.Last()
	if hop == nil {
		return nil
	}
	e := &evaluation{in: in}
	if in.Path == nil || !in.Path.DeletionTimestamp.IsZero() {
		e.in.Path = nil
		e.mayNotKnowPath(hop)
	} else {
		e.checkAuthor(hop, e.hopNode(len(in.Chain.Hops)-1))
	}
	if len(e.findings) == 0 {
		return nil
	}
	return &e.findings[0]
}

// AsksToKnowPath says whether the verdict on a hop depends on whether its author may know that its path does not exist.
func AsksToKnowPath(in Input) bool {
	h := in.Chain.Last()
	exists := in.Path != nil && in.Path.DeletionTimestamp.IsZero()
	return h != nil && !exists && h.Status.PathUID == "" && h.Spec.Author != nil && PathKey(h).Namespace != h.Namespace
}
