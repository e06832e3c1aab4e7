package delegation

import "github.com/wayleave/wayleave/api/v1alpha1"

func (e *evaluation) checkRevocation(r *v1alpha1.Revocation, n node) {
	if r == nil {
		return
	}
	f := Finding{Reason: v1alpha1.ReasonRevoked, Node: n.name, Field: "spec.revoked", Actor: r.By, Message: r.Reason}
	if r.At != nil {
		f.At = r.At.Time
	}
	e.report(f)
}

func (e *evaluation) checkSuspension(p *v1alpha1.DelegationPath, n node) {
	if p.Spec.Suspend != nil && *p.Spec.Suspend {
		e.report(Finding{
			Reason: v1alpha1.ReasonSuspended, Node: n.name, Field: "spec.suspend",
			Message: "the path is suspended: set spec.suspend to false to resume it",
		})
	}
}
