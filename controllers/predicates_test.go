package controllers

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func TestUpstreamChanges(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*v1alpha1.DelegationPath)
		want   bool
	}{
		"nothing":             {change: func(*v1alpha1.DelegationPath) {}},
		"a count of hops":     {change: func(p *v1alpha1.DelegationPath) { p.Status.Hops = &v1alpha1.HopCounts{Total: new(int32(3))} }},
		"a condition":         {change: func(p *v1alpha1.DelegationPath) { p.Status.Conditions = []metav1.Condition{{Type: "Ready"}} }},
		"the spec":            {change: func(p *v1alpha1.DelegationPath) { p.Generation++ }, want: true},
		"it becomes active":   {change: func(p *v1alpha1.DelegationPath) { p.Status.ActiveSince = at(0) }, want: true},
		"its end is recorded": {change: func(p *v1alpha1.DelegationPath) { p.Status.ExpiresAt = at(0) }, want: true},
		"it is being deleted": {change: func(p *v1alpha1.DelegationPath) { p.DeletionTimestamp = at(0) }, want: true},
		"it was recreated":    {change: func(p *v1alpha1.DelegationPath) { p.UID = "2" }, want: true},
	} {
		before := &v1alpha1.DelegationPath{ObjectMeta: metav1.ObjectMeta{UID: "1", Generation: 1}}
		after := before.DeepCopy()
		c.change(after)
		if got := upstreamChanges.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestPodChanges(t *testing.T) {
	pod := func(hop string) *corev1.Pod {
		return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "x", Labels: map[string]string{v1alpha1.LabelHop: hop}}}
	}
	if !podChanges.Create(event.CreateEvent{Object: pod("a")}) {
		t.Error("a new pod is not looked at")
	}
	if podChanges.Update(event.UpdateEvent{ObjectOld: pod("a"), ObjectNew: pod("a")}) {
		t.Error("each step of a pod's life requeues its hop")
	}
	if !podChanges.Update(event.UpdateEvent{ObjectOld: pod("a"), ObjectNew: pod("b")}) {
		t.Error("a pod that declares another hop is not looked at")
	}
}
