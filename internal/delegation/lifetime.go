package delegation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// checkPathLifetime checks that the path has an end and that it has not passed.
func (e *evaluation) checkPathLifetime(p *v1alpha1.DelegationPath, n node) {
	e.lifetimes = append(e.lifetimes, namedLifetime{&p.Spec.Lifetime, e.lifetimeOwner(n)})
	e.checkEnd(e.userLifetime(p), p.Status.ActiveSince, p.Status.ExpiresAt, n)
	if p.Spec.Lifetime.Duration == nil && p.Spec.Lifetime.NotAfter == nil {
		// The schema requires one. Without it nothing granted below this path would ever be deleted.
		e.report(Finding{
			Reason: v1alpha1.ReasonUndetermined, Node: n.name, Field: "spec.lifetime",
			Message: "could not determine when the path ends: give it a duration, or notAfter",
		})
	}
}

// userLifetime is the lifetime of a path, cut where its origin is a user: nobody can be asked whether they are still who they were.
func (e *evaluation) userLifetime(p *v1alpha1.DelegationPath) *v1alpha1.Lifetime {
	most := e.in.MaxUserLifetime
	if most == 0 || p.Spec.Origin == nil || IsServiceAccount(p.Spec.Origin.User) {
		return &p.Spec.Lifetime
	}
	cut := p.Spec.Lifetime
	if cut.Duration == nil || cut.Duration.Duration > most {
		cut.Duration = &metav1.Duration{Duration: most}
	}
	return &cut
}

// checkHopLifetime checks that a hop declares no more than the nodes above it, and that its end has not passed.
func (e *evaluation) checkHopLifetime(h *v1alpha1.DelegationHop, n node) {
	for _, above := range e.lifetimes {
		if excess := longer(h.Spec.Lifetime, above); excess != "" {
			e.report(Finding{
				Reason: v1alpha1.ReasonLifetimeExceedsParent, Node: n.name, Field: "spec.lifetime",
				Message: excess + ": shorten it, or leave it out",
			})
			break
		}
	}
	e.checkMaxDuration(h, n)
	e.lifetimes = append(e.lifetimes, namedLifetime{h.Spec.Lifetime, e.lifetimeOwner(n)})
	e.checkEnd(h.Spec.Lifetime, h.Status.ActiveSince, h.Status.ExpiresAt, n)
}

// checkMaxDuration checks that a use of a hop may not last longer than a node above; the schema compares with the hop itself.
func (e *evaluation) checkMaxDuration(h *v1alpha1.DelegationHop, n node) {
	if h.Spec.Workload == nil || h.Spec.Workload.MaxDuration == nil {
		return
	}
	for _, above := range e.lifetimes {
		if excess := longer(&v1alpha1.Lifetime{Duration: h.Spec.Workload.MaxDuration}, above); excess != "" {
			e.report(Finding{
				Reason: v1alpha1.ReasonLifetimeExceedsParent, Node: n.name, Field: "spec.workload.maxDuration",
				Message: excess + ": shorten it, or leave it out",
			})
			return
		}
	}
}

// checkEnd checks the end of a node and passes it down the chain. The object asked about begins with an Allow, so its
// duration counts from now if it has not begun.
func (e *evaluation) checkEnd(l *v1alpha1.Lifetime, since, recorded *metav1.Time, n node) {
	e.begun = earlier(e.end, end(l, since))
	e.end = e.begun
	if since == nil && n.asked {
		e.end = earlier(e.end, end(l, &metav1.Time{Time: e.in.Now.Truncate(time.Second)}))
	}
	over, yes := ended(e.in.Now, e.end, recorded)
	if !yes {
		return
	}
	if !e.alreadyExpired(over) {
		e.report(Finding{Reason: v1alpha1.ReasonExpired, Node: n.name, Field: "spec.lifetime", At: over, Message: "the lifetime has ended"})
	}
	e.begun, e.end = over, over
}

func (e *evaluation) lifetimeOwner(n node) string {
	switch {
	case len(e.lifetimes) == 0 && e.in.Path != nil:
		return "the path"
	case n.name != "":
		return n.name
	}
	return "this hop"
}

// alreadyExpired says whether a node above was found to have ended by then: its end is reported once.
func (e *evaluation) alreadyExpired(at time.Time) bool {
	return slices.ContainsFunc(e.findings, func(f Finding) bool {
		return f.Reason == v1alpha1.ReasonExpired && !f.At.After(at)
	})
}

// end is the earlier of a lifetime's two limits, zero if neither is known. A duration counts only once it has a beginning.
func end(l *v1alpha1.Lifetime, since *metav1.Time) time.Time {
	var at time.Time
	if l != nil && l.NotAfter != nil {
		at = known(l.NotAfter.Time)
	}
	if l != nil && l.Duration != nil && since != nil {
		at = earlier(at, known(since.Add(l.Duration.Duration)))
	}
	return at
}

// known truncates a time to the second: object times have no fractions, and rounding up would outlast the grant. It is
// never the zero time, which a user may write, and which would mean that there is no end.
func known(t time.Time) time.Time {
	if epoch := time.Unix(0, 0).UTC(); t.Before(epoch) {
		return epoch
	}
	return t.Truncate(time.Second)
}

// earlier is the earlier of two times of which either may be unknown.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

// ended says whether an end has passed, by the lifetime or by what the status recorded: an end that has passed once
// stays, whatever a later change of the lifetime says.
func ended(now, at time.Time, recorded *metav1.Time) (time.Time, bool) {
	if recorded != nil && !now.Before(recorded.Time) {
		return recorded.Time, true
	}
	return at, !at.IsZero() && !now.Before(at)
}

// namedLifetime is a lifetime, and how messages name its owner.
type namedLifetime struct {
	lifetime *v1alpha1.Lifetime
	owner    string
}

// longer says how a lifetime declares more than the one above it, a later point in time or a longer duration; empty where
// it does not. A hop that runs longer only because it began later is cut off, not denied, so that the answer never
// depends on when the question is asked.
func longer(l *v1alpha1.Lifetime, above namedLifetime) string {
	limit := above.lifetime
	if l == nil || limit == nil {
		return ""
	}
	if l.Duration != nil && limit.Duration != nil && l.Duration.Duration > limit.Duration.Duration {
		return fmt.Sprintf("%s is longer than %s's %s", brief(l.Duration.Duration), above.owner, brief(limit.Duration.Duration))
	}
	if l.NotAfter != nil && limit.NotAfter != nil && l.NotAfter.After(limit.NotAfter.Time) {
		return fmt.Sprintf("%s is later than %s's %s",
			l.NotAfter.UTC().Format(time.RFC3339), above.owner, limit.NotAfter.UTC().Format(time.RFC3339))
	}
	return ""
}

// brief formats a duration without zero units: 48h, not 48h0m0s.
func brief(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
