package delegation

import (
	"fmt"
	"slices"
	"strings"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// bound is what a node above lists, and how messages name it.
type bound struct {
	of    string
	lists []string
}

// checkBounds checks that what may run under a hop is no more than the path, and the hops above it, list.
func (e *evaluation) checkBounds(h *v1alpha1.DelegationHop, n node) {
	w := h.Spec.Workload
	if w == nil || e.in.Path == nil {
		return
	}
	inPath := e.in.Path.Spec.Hops
	if inPath == nil {
		inPath = &v1alpha1.HopBounds{}
	}
	above := e.runsAbove(n)
	images, secrets := []bound{}, []bound{{"the path, in hops.secrets,", inPath.Secrets}}
	if len(inPath.Images) > 0 {
		images = append(images, bound{"the path, in hops.images,", inPath.Images})
	}
	if above != nil {
		secrets = append(secrets, bound{nodeName(above), above.Spec.Workload.Secrets})
	}
	if IsHopAccount(authorOf(h)) {
		if above != nil {
			e.checkNarrower(w, above, n)
			images = append(images, bound{nodeName(above), above.Spec.Workload.Images})
		} else if len(images) == 0 {
			images = append(images, bound{"the path, in hops.images,", nil})
		}
	}
	e.checkListed(w.Images, images, covers, Finding{Reason: v1alpha1.ReasonImageNotAllowed, Node: n.name, Field: "spec.workload.images"})
	e.checkListed(w.Secrets, secrets, func(a, b string) bool { return a == b },
		Finding{Reason: v1alpha1.ReasonSecretNotInScope, Node: n.name, Field: "spec.workload.secrets"})
}

// checkNarrower checks that what the identity of a hop made runs what that hop may, and each use no longer.
func (e *evaluation) checkNarrower(w *v1alpha1.Workload, above *v1alpha1.DelegationHop, n node) {
	for _, kind := range w.Kinds {
		if !slices.Contains(above.Spec.Workload.Kinds, kind) {
			e.report(Finding{
				Reason: v1alpha1.ReasonWorkloadNotAllowed, Node: n.name, Field: "spec.workload.kinds",
				Message: fmt.Sprintf("%s, which made the hop, does not allow kind %s: leave it out", nodeName(above), kind),
			})
			return
		}
	}
	if most := above.Spec.Workload.MaxDuration; most != nil && (w.MaxDuration == nil || w.MaxDuration.Duration > most.Duration) {
		e.report(Finding{
			Reason: v1alpha1.ReasonLifetimeExceedsParent, Node: n.name, Field: "spec.workload.maxDuration",
			Message: fmt.Sprintf("a use of %s, which made the hop, lasts %s at most: name that or less", nodeName(above), most.Duration),
		})
	}
}

// checkListed reports what is on a list of a hop and not on one above, the first of them.
func (e *evaluation) checkListed(list []string, above []bound, covers func(above, own string) bool, f Finding) {
	for _, b := range above {
		var beyond []string
		for _, own := range list {
			if !slices.ContainsFunc(b.lists, func(theirs string) bool { return covers(theirs, own) }) {
				beyond = append(beyond, own)
			}
		}
		if len(beyond) > 0 {
			f.Message = fmt.Sprintf("%s does not list %s: leave it out, or add it there", b.of, quoteSome(beyond))
			e.report(f)
			return
		}
	}
}

// runsAbove is the nearest hop above a node under which something may run; nil if there is none.
func (e *evaluation) runsAbove(n node) *v1alpha1.DelegationHop {
	for _, h := range slices.Backward(e.in.Chain.Hops[:n.depth-1]) {
		if h.Spec.Workload != nil {
			return h
		}
	}
	return nil
}

// covers says whether every image that matches one pattern matches another one.
func covers(pattern, narrower string) bool {
	prefix, open := strings.CutSuffix(narrower, "*")
	if !open {
		return imageMatches(pattern, narrower)
	}
	most, all := strings.CutSuffix(pattern, "*")
	return all && strings.HasPrefix(prefix, most) && !strings.Contains(prefix[len(most):], "@")
}

func authorOf(h *v1alpha1.DelegationHop) string {
	if h.Spec.Author == nil {
		return ""
	}
	return h.Spec.Author.User
}

// AsksForSecrets says whether the verdict depends on whether the author of a hop may get the Secrets that it lists. What the identity of a
// hop makes lists those that its own pods read.
func AsksForSecrets(h *v1alpha1.DelegationHop) bool {
	return h.Spec.Workload != nil && len(h.Spec.Workload.Secrets) > 0 && h.Spec.Author != nil && !IsHopAccount(h.Spec.Author.User)
}

// checkSecrets checks that the author of the hop asked about may get the Secrets that it lists.
func (e *evaluation) checkSecrets() {
	h := e.in.Chain.Last()
	if h == nil || !AsksForSecrets(h) {
		return
	}
	who, listed := h.Spec.Author.User, quoteSome(h.Spec.Workload.Secrets)
	e.reportAnswer(e.in.Facts.Secrets, Finding{
		Reason: v1alpha1.ReasonSecretNotInScope, Itself: true, Field: "spec.workload.secrets",
		Message: fmt.Sprintf("the author %q may not get Secrets %s in namespace %q: leave out those that they may not, or give them that right",
			who, listed, h.Namespace),
	}, fmt.Sprintf("whether the author %q may get Secrets %s", who, listed))
}
