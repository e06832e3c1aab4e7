package webhooks

import (
	"context"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
	"github.com/wayleave/wayleave/internal/scope"
)

// delegationFacts are what the delegation validator asks for.
type delegationFacts interface {
	impersonation
	PathToBeAdmitted(ctx context.Context, path *v1alpha1.DelegationPath, now time.Time) delegation.Input
	ToBeAdmitted(ctx context.Context, hop *v1alpha1.DelegationHop, now time.Time) (delegation.Input, error)
	Below(ctx context.Context, hop types.NamespacedName) (int, error)
	Chain(ctx context.Context, hop *v1alpha1.DelegationHop, now time.Time) (delegation.Input, error)
}

// delegationValidator denies paths and hops for what CEL cannot say: sums and products over lists, other objects, the
// rights of other users. What may come right without a change to the object is admitted with a warning, so that the
// objects of one commit can be applied in any order; the controller grants nothing until it is right.
type delegationValidator struct {
	recorder
	facts  delegationFacts
	strict bool
}

func newDelegationValidator(o Options) *delegationValidator {
	return &delegationValidator{recorder: o.recorder(), facts: o.Gather, strict: o.Strict}
}

// Handle validates one object.
func (v *delegationValidator) Handle(ctx context.Context, req admission.Request) admission.Response {
	switch req.Kind.Kind {
	case "DelegationPath":
		path, old, err := decodeTyped[v1alpha1.DelegationPath](req)
		if err != nil {
			return v.unanswered(req, knownOf(req), malformed(err))
		}
		return v.path(ctx, req, path, old)
	case "DelegationHop":
		hop, old, err := decodeTyped[v1alpha1.DelegationHop](req)
		if err != nil {
			return v.unanswered(req, knownOf(req), malformed(err))
		}
		return v.hop(ctx, req, hop, old)
	}
	unknown := fmt.Errorf("a %s is neither a DelegationPath nor a DelegationHop", req.Kind.Kind)
	return v.unanswered(req, delegation.Input{}, malformed(unknown))
}

func (v *delegationValidator) path(ctx context.Context, req admission.Request, path, old *v1alpha1.DelegationPath) admission.Response {
	if old != nil && samePath(path, old) {
		return v.noted(req, delegation.Input{Path: path}, pathReason(path))
	}
	if message := tooLarge(req); message != "" {
		return v.record(req, delegation.Input{Path: path}, v1alpha1.ReasonScopeInvalid, invalid(req, message))
	}
	in := v.facts.PathToBeAdmitted(ctx, path, v.clock.Now())
	if f := v.vouched(ctx, req, "spec.origin", path.Spec.Origin); f != nil {
		return v.record(req, in, f.Reason, forbidden(req, f.String(), causes(in.Now, fieldOf, *f)...))
	}
	response := v.answer(req, in, fmt.Sprintf("path %q", path.Name), v1alpha1.ReasonActive)
	for _, risk := range path.Spec.Scope.AcceptedRisks {
		if response.Allowed {
			response = response.WithWarnings(fmt.Sprintf("path %q accepts the risk %s: %s", path.Name, risk, opens[risk]))
		}
	}
	return response
}

// opens says what a risk opens, for the warning to who accepts it.
var opens = map[v1alpha1.Risk]string{
	v1alpha1.RiskStreams:         "a watch or a followed log that is open when the path is revoked goes on until the API server ends it",
	v1alpha1.RiskExec:            "its hops may do what the pods may that they enter, until the connection or the added container ends",
	v1alpha1.RiskWorkloads:       "its hops may make pods with any account and Secret of the scope's namespaces, which outlive the path",
	v1alpha1.RiskCustomResources: "controllers of others do with their own permissions what its hops write",
}

func (v *delegationValidator) hop(ctx context.Context, req admission.Request, hop, old *v1alpha1.DelegationHop) admission.Response {
	if old != nil && sameHop(hop, old) {
		return v.noted(req, v.chain(ctx, asStored(hop, old)), hopReason(hop, old))
	}
	if message := tooLarge(req); message != "" {
		in := delegation.Input{Chain: delegation.Chain{Hops: []*v1alpha1.DelegationHop{hop}}}
		return v.record(req, in, v1alpha1.ReasonScopeInvalid, invalid(req, message))
	}
	in, err := v.facts.ToBeAdmitted(ctx, hop, v.clock.Now())
	if err != nil {
		return v.unanswered(req, knownOf(req), failed(err))
	}
	if in.Below, err = v.facts.Below(ctx, delegation.HopKey(hop)); err != nil {
		return v.unanswered(req, in, failed(err))
	}
	if f := v.vouched(ctx, req, "spec.author", hop.Spec.Author); f != nil {
		return v.record(req, in, f.Reason, forbidden(req, f.String(), causes(in.Now, fieldOf, *f)...))
	}
	return v.answer(req, in, fmt.Sprintf("hop %q", hop.Name), v1alpha1.ReasonGranted)
}

// chain is what an audit line says of a hop about which nothing is asked: its chain where that can be read, else itself.
func (v *delegationValidator) chain(ctx context.Context, hop *v1alpha1.DelegationHop) delegation.Input {
	in, err := v.facts.Chain(ctx, hop, v.clock.Now())
	if err != nil {
		return delegation.Input{Chain: delegation.Chain{Hops: []*v1alpha1.DelegationHop{hop}}}
	}
	return in
}

// samePath says whether an update leaves everything as it is that decides what a path may do. Such an update is never
// denied: a user who may patch a path can suspend and revoke it, also when its origin has lost every right.
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

// hopReason is the reason of a hop whose update changes nothing but revoked: what the controller last said of it. Old is
// the hop as it is stored, with its status.
func hopReason(hop, old *v1alpha1.DelegationHop) v1alpha1.Reason {
	if hop.Spec.Revoked != nil {
		return v1alpha1.ReasonRevoked
	}
	ready := meta.FindStatusCondition(old.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil || ready.Reason == "":
		return v1alpha1.ReasonNotYetValid // the controller has not looked at it yet
	case ready.Status == metav1.ConditionTrue:
		return v1alpha1.ReasonGranted
	}
	return v1alpha1.Reason(ready.Reason)
}

// maxDeclaredGroups bounds how many questions a declared subject costs.
const maxDeclaredGroups = 8

// vouched asks whether the requester may name this subject as an object's origin or author: itself, or one that it may
// impersonate. It returns what is wrong, nil if nothing is.
func (v *delegationValidator) vouched(
	ctx context.Context, req admission.Request, field string, subject *v1alpha1.Subject,
) *delegation.Finding {
	who := requester(req.UserInfo)
	if subject == nil || isSelf(who, *subject) {
		return nil // the verdict denies what has no subject
	}
	finding := &delegation.Finding{Reason: v1alpha1.ReasonOriginUnauthorized, Field: field}
	declared := *subject
	declared.Groups = foreignGroups(declared, rbac.Groups(v1alpha1.Subject{User: declared.User}))
	switch {
	case slices.Contains(declared.Groups, "system:masters"):
		finding.Message = field + " declares the group system:masters, which cannot be delegated: leave it out"
		return finding
	case len(declared.Groups) > maxDeclaredGroups:
		finding.Message = fmt.Sprintf("%s declares %d groups to impersonate, more than %d: declare those that the scope needs",
			field, len(declared.Groups), maxDeclaredGroups)
		return finding
	}
	switch answer := v.facts.MayImpersonate(ctx, who, declared); answer.Outcome {
	case delegation.Allow:
		return nil
	case delegation.Deny:
		finding.Message = fmt.Sprintf("%s declares %q, and you may not act as them, since you may not %s: leave it out, "+
			"or get the right to impersonate that user and each of its groups",
			field, declared.User, scope.Describe(answer.Missing))
	default:
		finding.Reason = v1alpha1.ReasonUndetermined
		finding.Message = fmt.Sprintf("could not determine whether you may act as %q: %s", declared.User, answer.Detail)
	}
	return finding
}

// answer answers with the verdict: it denies for what the author of this very object has to fix, and warns of the rest.
func (v *delegationValidator) answer(req admission.Request, in delegation.Input, name string, good v1alpha1.Reason) admission.Response {
	verdict := delegation.Evaluate(in)
	if f := delegation.NotKnownToDelegate(in); f != nil {
		verdict.Findings = []delegation.Finding{*f} // the path's state and what it allows are not for other users
	}
	var denials, warnings delegation.Verdict
	for _, f := range verdict.Findings {
		if v.mustFix(f, in) {
			denials.Findings = append(denials.Findings, f)
		} else if f.Reason != v1alpha1.ReasonNotYetValid {
			warnings.Findings = append(warnings.Findings, f)
		}
	}
	if len(denials.Findings) > 0 {
		deny := forbidden
		if isInvalid(denials.Findings) {
			deny = invalid
		}
		message := fmt.Sprintf("%s is denied: %s", name, denials.RelativeMessage(in.Now))
		return v.record(req, in, denials.Reason(good), deny(req, message, causes(in.Now, fieldOf, denials.Findings...)...))
	}
	response := admission.Allowed("")
	if len(warnings.Findings) > 0 {
		response = response.WithWarnings(fmt.Sprintf("%s is granted nothing now: %s", name, warnings.RelativeMessage(in.Now)))
	}
	return v.record(req, in, verdict.Reason(good), response)
}

// mustFix says whether the author of the object in the request has to fix what was found before it is admitted. What
// depends on the present state of another object is for its author to fix only under strict admission, and never what
// is wrong with another node of the chain, or with what the controller was given.
func (v *delegationValidator) mustFix(f delegation.Finding, in delegation.Input) bool {
	if f.Reason.Class() != v1alpha1.ClassFixable && f.Reason != v1alpha1.ReasonUndetermined {
		return false
	}
	strict := v.strict || madeByIdentity(in) // a hop changes nothing above itself, so nothing comes that would mend it
	return !in.DependsOnOthers(f) || strict && f.Node == "" && !f.OfController()
}

// madeByIdentity says whether a hop is made by the identity of a hop.
func madeByIdentity(in delegation.Input) bool {
	hop := in.Chain.Last()
	return hop != nil && hop.Spec.Author != nil && delegation.IsHopAccount(hop.Spec.Author.User)
}
