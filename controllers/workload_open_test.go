package controllers

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/workload"
)

// TestRevokedWhileItsGrantWasMade: to write a grant takes some time, and a path that was revoked in it opens no gate.
func TestRevokedWhileItsGrantWasMade(t *testing.T) {
	for name, test := range map[string]struct {
		meanwhile func(*v1alpha1.DelegationPath)
		wantOpen  bool
	}{
		"nothing happens": {meanwhile: func(*v1alpha1.DelegationPath) {}, wantOpen: true},
		"it is revoked": {meanwhile: func(p *v1alpha1.DelegationPath) {
			p.Spec.Revoked = &v1alpha1.Revocation{Reason: "false alarm"}
		}},
		"it is suspended": {meanwhile: func(p *v1alpha1.DelegationPath) { p.Spec.Suspend = new(true) }},
	} {
		t.Run(name, func(t *testing.T) {
			path, hop, account := grantedHop()
			path.Spec = v1alpha1.DelegationPathSpec{
				Origin: &v1alpha1.Subject{User: "alice"}, Lifetime: v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: time.Hour}},
				Scope: v1alpha1.Scope{Audiences: []string{"vault"}},
			}
			path.Status.ActiveSince, hop.Status.ActiveSince = at(0), at(0)
			hop.Spec.Author, hop.Spec.InheritScope = path.Spec.Origin, new(true)
			hop.Status.Uses = &v1alpha1.Uses{Live: []v1alpha1.Use{{Kind: "Pod", Name: "dhop-run", UID: "pod", Since: *at(0), By: "alice"}}}
			pod := &corev1.Pod{
				ObjectMeta: metav1.ObjectMeta{
					Namespace: "agents", Name: "dhop-run", UID: "pod", Labels: map[string]string{v1alpha1.LabelHop: hop.Name},
				},
				Spec: corev1.PodSpec{
					ServiceAccountName: account, SchedulingGates: []corev1.PodSchedulingGate{{Name: v1alpha1.GateGrant}},
				},
			}
			test.meanwhile(path)
			r := reconciler(t, interceptor.Funcs{}, path, hop, pod)
			p := &pass{gather: r.gather}
			for object, key := range map[client.Object]client.ObjectKey{hop: client.ObjectKeyFromObject(hop), pod: client.ObjectKeyFromObject(pod)} {
				if err := r.live.Get(t.Context(), key, object); err != nil {
					t.Fatal(err)
				}
			}
			p.in, p.v, p.next = allowedFor(path, hop)
			yes := delegation.Answer{Outcome: delegation.Allow}
			p.in.Facts = delegation.Facts{
				Origin: yes, TokenSecrets: yes, TokenName: yes, Authors: []delegation.Answer{yes}, Ceiling: yes, HopNamespace: yes,
			}
			p.atGate = []gatedPod{{pod: pod, Declaration: facts.Declaration{Use: hop.Status.Uses.Live[0]}}}
			if err := r.openGates(t.Context(), p); (err == nil) != test.wantOpen || err != nil && !apierrors.IsConflict(err) {
				t.Errorf("opening: %v", err)
			}
			if err := r.live.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
				t.Fatal(err)
			}
			if workload.IsGated(pod) == test.wantOpen {
				t.Errorf("the gate has %v", pod.Spec.SchedulingGates)
			}
		})
	}
}
