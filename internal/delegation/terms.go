package delegation

import (
	"fmt"
	"strconv"
	"time"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Terms are what the ceilings that a path uses demand of it. The platform team writes them as annotations on the ClusterRoles.
type Terms struct {
	// Approvals is how many people have to approve; zero means that none has to.
	Approvals int32
	// MaxLifetime is the longest duration of its lifetime; zero means any.
	MaxLifetime time.Duration
	// MaxDepth is how deep its chain may be; zero means any.
	MaxDepth int32
	// LifetimeOf and DepthOf are the ClusterRoles that say so.
	LifetimeOf, DepthOf string
	// Unknown is why they are not known; empty if they are.
	Unknown string
}

// Add adds what a ceiling demands, by its name and annotations: the strictest counts, and of several the first.
func (t *Terms) Add(role string, annotations map[string]string) {
	for _, term := range []struct {
		key  string
		read func(role, value string) (wants string)
	}{
		{v1alpha1.AnnotationRequiresApproval, t.addApprovals},
		{v1alpha1.AnnotationMaxLifetime, t.addLifetime},
		{v1alpha1.AnnotationMaxDepth, t.addDepth},
	} {
		value, ok := annotations[term.key]
		if !ok {
			continue
		}
		if wants := term.read(role, value); wants != "" && t.Unknown == "" {
			t.Unknown = fmt.Sprintf("annotation %s of ClusterRole %s is %q: name %s", term.key, role, value, wants)
		}
	}
}

func (t *Terms) addApprovals(_, value string) string {
	switch n, err := strconv.ParseInt(value, 10, 32); {
	case value == "false":
	case value == "true":
		t.Approvals = max(t.Approvals, 1)
	case err == nil && n >= 0 && n <= maxDecisions:
		t.Approvals = max(t.Approvals, int32(n))
	default:
		return fmt.Sprintf("true, or how many people from 1 to %d", maxDecisions)
	}
	return ""
}

func (t *Terms) addLifetime(role, value string) string {
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		return "a duration, such as 1h"
	}
	if t.MaxLifetime == 0 || d < t.MaxLifetime {
		t.MaxLifetime, t.LifetimeOf = d, role
	}
	return ""
}

func (t *Terms) addDepth(role, value string) string {
	n, err := strconv.ParseInt(value, 10, 32)
	if err != nil || n < 1 {
		return "how many hops may follow one another, such as 2"
	}
	if t.MaxDepth == 0 || n < int64(t.MaxDepth) {
		t.MaxDepth, t.DepthOf = int32(n), role
	}
	return ""
}

// checkTerms checks that a path keeps what the ceilings demand that it uses.
func (e *evaluation) checkTerms(p *v1alpha1.DelegationPath, n node) {
	t := e.in.Facts.Terms
	if t.Unknown != "" {
		e.report(Finding{
			Reason: v1alpha1.ReasonUndetermined, Node: n.name, Elsewhere: true,
			Message: "could not determine what the ceiling demands: " + t.Unknown,
		})
	}
	if d := p.Spec.Lifetime.Duration; t.MaxLifetime > 0 && (d == nil || d.Duration > t.MaxLifetime) {
		e.report(Finding{
			Reason: v1alpha1.ReasonLifetimeExceedsCeiling, Node: n.name, Field: "spec.lifetime.duration",
			Message: fmt.Sprintf("the ceiling %s, which the path uses, allows %s: name that or less", t.LifetimeOf, brief(t.MaxLifetime)),
		})
	}
	if t.MaxDepth > 0 && MaxDepth(p) > int(t.MaxDepth) {
		e.report(Finding{
			Reason: v1alpha1.ReasonDepthExceeded, Node: n.name, Field: "spec.hops.maxDepth",
			Message: fmt.Sprintf("the ceiling %s, which the path uses, allows %d: name that or less", t.DepthOf, t.MaxDepth),
		})
	}
}
