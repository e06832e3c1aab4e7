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
	if isHopAccount(who) {
		e.report(denied(fmt.Sprintf("the author %q is the identity of a hop: it may not create hops", who)))
		return
	}
	e.reportAnswer(e.in.Facts.author(n.depth-1), denied(fmt.Sprintf(
		"the author %q is not the path's origin and does not hold the verb %s on the path: let the origin apply the hop, or "+
			"give its author that verb",
		who, v1alpha1.VerbDelegate)), fmt.Sprintf("whether the author %q may delegate", who))
}
