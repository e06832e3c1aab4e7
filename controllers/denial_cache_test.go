package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

func TestDenialCache(t *testing.T) {
	var c denialCache
	hop := &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{UID: "1", Generation: 1}}
	changed := hop.DeepCopy()
	changed.Generation++
	if c.get(hop, t0) != nil {
		t.Error("there is a denial before any was added")
	}
	c.add(hop, t0, delegation.Finding{Reason: v1alpha1.ReasonScopeExceedsCeiling})
	if got := c.get(hop, t0.Add(delegation.DeniedRetry-1)); got == nil || got.Reason != v1alpha1.ReasonScopeExceedsCeiling {
		t.Errorf("within the wait: %v", got)
	}
	if c.get(hop, t0.Add(delegation.DeniedRetry)) != nil || c.get(changed, t0) != nil {
		t.Error("a denial outlasts its wait, or a change of the hop")
	}
	other := hop.DeepCopy()
	other.UID = "2"
	c.add(other, t0.Add(2*time.Minute), delegation.Finding{})
	if len(c.byHop) != 1 {
		t.Errorf("%d denials are kept, want the last", len(c.byHop))
	}
}
