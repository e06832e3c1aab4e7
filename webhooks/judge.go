package webhooks

import (
	"context"
	"fmt"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
	"github.com/wayleave/wayleave/internal/scope"
)

// judge refuses paths and hops for what CEL cannot say: sums and products over lists, other objects, other people's
// rights. What may come right without a change to the object is let in with a warning, so that objects can be applied
// in any order; the controller grants nothing until it is right.
type judge struct{ base }

// Handle judges one object.
func (h *judge) Handle(ctx context.Context, req admission.Request) admission.Response {
	switch req.Kind.Kind {
	case "DelegationPath":
		return h.path(ctx, req)
	case "DelegationHop":
		return h.hop(ctx, req)
	}
	return malformed(fmt.Errorf("a %s is none of our kinds", req.Kind.Kind))
}

func (h *judge) path(ctx context.Context, req admission.Request) admission.Response {
	path, old := &v1alpha1.DelegationPath{}, &v1alpha1.DelegationPath{}
	if err := h.decode(req, path, old); err != nil {
		return malformed(err)
	}
	if req.Operation == admissionv1.Update && samePath(path, old) {
		return h.answered(req, delegation.Input{Path: path}, pathReason(path), admission.Allowed(""))
	}
	in := h.Gather.Path(ctx, path, h.Clock.Now())
	if finding := h.vouched(ctx, req, "spec.origin", path.Spec.Origin); finding != nil {
		return h.answered(req, in, finding.Reason, refuse(finding.String()))
	}
	return h.verdict(req, in, fmt.Sprintf("path %q", path.Name), v1alpha1.ReasonActive)
}

func (h *judge) hop(ctx context.Context, req admission.Request) admission.Response {
	hop, old := &v1alpha1.DelegationHop{}, &v1alpha1.DelegationHop{}
	if err := h.decode(req, hop, old); err != nil {
		return malformed(err)
	}
	if req.Operation == admissionv1.Update && sameHop(hop, old) {
		in := delegation.Input{Chain: delegation.Chain{Hops: []*v1alpha1.DelegationHop{hop}}}
		return h.answered(req, in, hopReason(hop), admission.Allowed(""))
	}
	in, err := h.Gather.Hop(ctx, hop, h.Clock.Now())
	if err != nil {
		return failed(err)
	}
	if finding := h.vouched(ctx, req, "spec.author", hop.Spec.Author); finding != nil {
		return h.answered(req, in, finding.Reason, refuse(finding.String()))
	}
	return h.verdict(req, in, fmt.Sprintf("hop %q", hop.Name), v1alpha1.ReasonGranted)
}

// closesCycle says whether a chain begins with a child of its last hop: without that hop there would be no cycle.
func closesCycle(chain delegation.Chain) bool {
	return len(chain.Hops) > 0 && delegation.ParentKey(chain.Hops[0]) == delegation.HopKey(chain.Last())
}

// decode reads the object of a request, and on an update the one that it replaces.
func (h *judge) decode(req admission.Request, object, old runtime.Object) error {
	if err := h.decoder.Decode(req, object); err != nil {
		return fmt.Errorf("decoding the object: %w", err)
	}
	if req.Operation != admissionv1.Update {
		return nil
	}
	if err := h.decoder.DecodeRaw(req.OldObject, old); err != nil {
		return fmt.Errorf("decoding the old object: %w", err)
	}
	return nil
}

// samePath says whether an update leaves everything as it is that decides what a path may do. Such an update is never
// refused: whoever may patch a path can suspend and revoke it, also when its origin has lost every right.
func samePath(path, old *v1alpha1.DelegationPath) bool {
	a, b := path.Spec.DeepCopy(), old.Spec.DeepCopy()
	for _, s := range []*v1alpha1.DelegationPathSpec{a, b} {
		s.Reason, s.Suspend, s.Revoked = "", nil, nil
	}
	return equality.Semantic.DeepEqual(a, b)
}

// sameHop says whether an update leaves everything of a hop as it is but revoked.
func sameHop(hop, old *v1alpha1.DelegationHop) bool {
	a, b := hop.Spec.DeepCopy(), old.Spec.DeepCopy()
	a.Revoked, b.Revoked = nil, nil
	return equality.Semantic.DeepEqual(a, b)
}

func pathReason(path *v1alpha1.DelegationPath) v1alpha1.Reason {
	if path.Spec.Revoked != nil {
		return v1alpha1.ReasonRevoked
	}
	if path.Spec.Suspend != nil && *path.Spec.Suspend {
		return v1alpha1.ReasonSuspended
	}
	return v1alpha1.ReasonActive
}

func hopReason(hop *v1alpha1.DelegationHop) v1alpha1.Reason {
	if hop.Spec.Revoked != nil {
		return v1alpha1.ReasonRevoked
	}
	return v1alpha1.ReasonActive
}

// maxDeclaredGroups bounds how many questions a declared subject costs.
const maxDeclaredGroups = 8

// vouched asks whether the requester may put this subject behind an object: itself, or one that it may impersonate.
// It returns what is wrong, nil if nothing is.
func (h *judge) vouched(ctx context.Context, req admission.Request, field string, subject *v1alpha1.Subject) *delegation.Finding {
	who := requester(req.UserInfo)
	if subject == nil || isSelf(who, *subject) {
		return nil // an absent subject is the verdict's to refuse
	}
	finding := &delegation.Finding{Reason: v1alpha1.ReasonOriginUnauthorized, Field: field}
	declared := *subject
	declared.Groups = foreignGroups(declared, rbac.Groups(v1alpha1.Subject{User: declared.User}))
	switch {
	case slices.Contains(declared.Groups, "system:masters"):
		finding.Message = field + " declares the group system:masters, which nobody may lend: leave it out"
	case len(declared.Groups) > maxDeclaredGroups:
		finding.Message = fmt.Sprintf("%s declares %d groups of somebody else, more than %d: declare those that the scope needs", field, len(declared.Groups), maxDeclaredGroups)
	default:
		answer := h.Gather.MayImpersonate(ctx, who, declared)
		switch answer.Outcome {
		case delegation.Allow:
			return nil
		case delegation.Deny:
			finding.Message = fmt.Sprintf("%s declares %q, and you may not act as them, since you may not %s: leave it out, or get the right to impersonate that user and each of its groups", field, declared.User, scope.Describe(answer.Missing))
		default:
			finding.Reason = v1alpha1.ReasonUndetermined
			finding.Message = fmt.Sprintf("it could not be found out whether you may act as %q: %s", declared.User, answer.Detail)
		}
	}
	return finding
}

// verdict answers with the verdict: it refuses for what the author of this very object has to mend, and warns of the
// rest.
func (h *judge) verdict(req admission.Request, in delegation.Input, name string, good v1alpha1.Reason) admission.Response {
	v := delegation.Evaluate(in)
	var refusals, warnings delegation.Verdict
	for _, f := range v.Findings {
		if mustMend(f, in.Chain) {
			refusals.Findings = append(refusals.Findings, f)
		} else if f.Reason != v1alpha1.ReasonNotYetValid {
			warnings.Findings = append(warnings.Findings, f)
		}
	}
	if f, ok := refusals.Find(v1alpha1.ReasonNotPermittedToDelegate); ok {
		refusals.Findings = []delegation.Finding{f} // what the path allows, and how it stands, is not for strangers
	}
	if len(refusals.Findings) > 0 {
		return h.answered(req, in, refusals.Reason(good), refuse(fmt.Sprintf("%s is refused: %s", name, refusals.RelativeMessage(in.Now))))
	}
	response := admission.Allowed("")
	if len(warnings.Findings) > 0 {
		response = response.WithWarnings(fmt.Sprintf("%s is given nothing now: %s", name, warnings.RelativeMessage(in.Now)))
	}
	return h.answered(req, in, v.Reason(good), response)
}

// mustMend says whether a finding is for the author of the object in the request to mend. What is wrong with another
// node of the chain, or with what the controller was given, is not.
func mustMend(f delegation.Finding, chain delegation.Chain) bool {
	switch {
	case f.Reason == v1alpha1.ReasonDepthExceeded:
		return true // whatever hangs below a hop that is too deep is deeper still
	case f.Reason == v1alpha1.ReasonChainBroken && closesCycle(chain):
		return true
	case f.Node != "" || f.Reason == v1alpha1.ReasonScopeExceedsCeiling:
		return false
	}
	return f.Reason.Class() == v1alpha1.ClassFixable || f.Reason == v1alpha1.ReasonUndetermined
}
