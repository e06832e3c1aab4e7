package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/cache"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

func fakeWaits() (waits, *clocktesting.FakeClock) {
	clock := clocktesting.NewFakeClock(t0)
	expiring := func() *cache.Expiring { return cache.NewExpiringWithClock(clock) }
	return waits{denied: expiring(), written: expiring(), overwritten: expiring(), refused: expiring()}, clock
}

func TestDenialWaits(t *testing.T) {
	w, clock := fakeWaits()
	hop := &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{UID: "1", Generation: 1}}
	changed := hop.DeepCopy()
	changed.Generation++
	if w.denial(hop) != nil {
		t.Error("there is a denial before any was made")
	}
	w.deny(hop, delegation.Finding{Reason: v1alpha1.ReasonScopeExceedsCeiling})
	clock.Step(delegation.DeniedRetry - 1)
	if got := w.denial(hop); got == nil || got.Reason != v1alpha1.ReasonScopeExceedsCeiling {
		t.Errorf("within the wait: %v", got)
	}
	if w.denial(changed) != nil {
		t.Error("a denial outlasts a change of the hop")
	}
	clock.Step(1)
	if w.denial(hop) != nil {
		t.Error("a denial outlasts its wait")
	}
}

func TestPutBackWaits(t *testing.T) {
	w, clock := fakeWaits()
	role := delegation.Object{Kind: delegation.Role, Content: "what is granted"}
	wider, observed := role, role
	wider.Content, observed.UID = "more", "the one that exists"
	w.wrote("1", role, nil, false)
	if _, yes := w.wasPutBack("1", role); yes {
		t.Error("an object of a new identity counts as put back")
	}
	w.wrote("1", role, nil, true)
	if differs, yes := w.wasPutBack("1", observed); !yes || differs != nil {
		t.Errorf("put back %v, with %v", yes, differs)
	}
	if _, yes := w.wasPutBack("1", wider); yes {
		t.Error("what is desired now was never written, and waits")
	}
	w.wrote("1", wider, nil, true)
	if _, yes := w.wasPutBack("1", role); yes {
		t.Error("what was desired before, and is again, waits")
	}
	if _, yes := w.wasPutBack("2", role); yes {
		t.Error("a hop waits for another one")
	}
	if w.overwriting("1") != nil {
		t.Error("a hop is overwritten by nobody")
	}
	who := &delegation.Finding{Reason: v1alpha1.ReasonOverwritten, Message: "by a policy"}
	w.wrote("1", wider, who, true)
	if differs, yes := w.wasPutBack("1", wider); !yes || differs == nil || *differs != *who {
		t.Errorf("put back %v, with %v", yes, differs)
	}
	w.overwrite("1", delegation.Finding{Message: "by somebody else"})
	clock.Step(delegation.DeniedRetry)
	if _, yes := w.wasPutBack("1", wider); yes {
		t.Error("a put-back outlasts its wait")
	}
	if got := w.overwriting("1"); got == nil || *got != *who {
		t.Errorf("while it is put back again, the hop says %v", got)
	}
	clock.Step(delegation.DeniedRetry)
	if w.overwriting("1") != nil {
		t.Error("a hop is overwritten for ever")
	}
}

// TestRefusalWaits: what may be fixed is looked at again soon; a Job that is refused for good is not suspended again and again.
func TestRefusalWaits(t *testing.T) {
	w, clock := fakeWaits()
	w.refuse("fixable", delegation.Finding{Reason: v1alpha1.ReasonImageNotAllowed})
	w.refuse("final", delegation.Finding{Reason: v1alpha1.ReasonRevoked})
	clock.Step(delegation.DeniedRetry)
	if w.refusal("fixable") != nil || w.refusal("final") == nil {
		t.Errorf("after %s: %v, %v", delegation.DeniedRetry, w.refusal("fixable"), w.refusal("final"))
	}
	clock.Step(finalRetry)
	if w.refusal("final") != nil {
		t.Error("a refusal is never looked at again")
	}
}
