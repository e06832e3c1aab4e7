package webhooks

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// approvalFacts are what the approval validator asks for.
type approvalFacts interface {
	FindPath(ctx context.Context, key types.NamespacedName) (*v1alpha1.DelegationPath, error)
	Path(ctx context.Context, path *v1alpha1.DelegationPath, now time.Time) delegation.Input
	MayApprove(ctx context.Context, who *v1alpha1.Approver, path types.NamespacedName) delegation.Answer
}

// approvalValidator denies decisions that could not count. A decision that was admitted counts only if it still does when the path
// becomes active.
type approvalValidator struct {
	recorder
	facts approvalFacts
}

// Handle validates one decision.
func (v *approvalValidator) Handle(ctx context.Context, req admission.Request) admission.Response {
	a, old, err := decodeTyped[v1alpha1.DelegationApproval](req)
	if err != nil {
		return v.unanswered(req, delegation.Input{}, malformed(err))
	}
	if old != nil { // the schema keeps its spec as it is
		return admission.Allowed("")
	}
	key := types.NamespacedName{Namespace: req.Namespace, Name: a.Spec.Path.Name}
	in := delegation.Input{Now: v.clock.Now()}
	if who := approver(req.UserInfo); a.Spec.Approver == nil || !equality.Semantic.DeepEqual(*a.Spec.Approver, who) {
		f := delegation.Finding{
			Reason: v1alpha1.ReasonNotPermittedToApprove, Field: "spec.approver",
			Message: "it does not say who decides: is the mutating webhook of Wayleave installed?",
		}
		return v.record(req, in, f.Reason, forbidden(req, f.String(), causes(in.Now, fieldOf, f)...))
	}
	path, err := v.facts.FindPath(ctx, key)
	if err != nil {
		return v.unanswered(req, in, failed(err))
	}
	if path != nil {
		in = v.facts.Path(ctx, path, v.clock.Now())
	}
	if f := delegation.JudgeDecision(in, a, v.facts.MayApprove(ctx, a.Spec.Approver, key)); f != nil {
		return v.record(req, in, f.Reason, forbidden(req, f.String(), causes(in.Now, fieldOf, *f)...))
	}
	reason := v1alpha1.ReasonApproved
	if a.Spec.Decision == v1alpha1.DecisionDenied {
		reason = v1alpha1.ReasonApprovalDenied
	}
	return v.record(req, in, reason, admission.Allowed(""))
}
