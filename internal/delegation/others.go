package delegation

import (
	"slices"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Reasons that are about the object in question, and about the user who writes it. Every other reason is about the
// present state of another object, which may be fixed by the commit that brings this one: tools for GitOps apply all
// objects of a commit in an order of their own, and Flux asks for a dry run of each before it applies any.
var (
	// ofDelegations are those of paths and hops. The rights of a path's origin are not an object of ours: like the API
	// server's own check of a new Role, they are asked for when the path is written.
	ofDelegations = []v1alpha1.Reason{
		v1alpha1.ReasonScopeInvalid, v1alpha1.ReasonScopeAmplifies, v1alpha1.ReasonScopeExceedsOrigin,
		v1alpha1.ReasonOriginUnauthorized, v1alpha1.ReasonNotPermittedToDelegate, v1alpha1.ReasonUndetermined,
	}
	// ofWorkloads are those of pods and templates. All else is about the hop that they declare, and its chain.
	ofWorkloads = []v1alpha1.Reason{v1alpha1.ReasonNotPermittedToUse, v1alpha1.ReasonWrongServiceAccount}
)

// DependsOnOthers says whether a finding of the verdict on this input is about the present state of an object other than
// the one in question. A final reason is not, unless it says so: no other object reverses it.
func (in Input) DependsOnOthers(f Finding) bool {
	own := ofDelegations
	if in.Workload != nil {
		own = ofWorkloads
	}
	switch {
	case f.Elsewhere:
		return true
	case f.Itself, isFinal(f):
		return false
	case f.Node != "":
		return true
	}
	return !slices.Contains(own, f.Reason)
}

// OfController says whether a finding is about what the controller was given to grant, and where it may work: that is
// asked for each hop, and is the platform team's to give.
func (f Finding) OfController() bool {
	return slices.Contains([]v1alpha1.Reason{
		v1alpha1.ReasonScopeExceedsCeiling, v1alpha1.ReasonNamespaceNotFound, v1alpha1.ReasonHopNamespaceNotBound,
	}, f.Reason)
}
