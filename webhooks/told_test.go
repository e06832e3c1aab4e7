package webhooks

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestStrangersAreToldLittle: whoever may not use a hop is not told how it stands and what it allows.
func TestStrangersAreToldLittle(t *testing.T) {
	revoked := granted(func(p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) {
		p.Spec.Revoked = &v1alpha1.Revocation{Reason: "a secret", By: "bob", At: &metav1.Time{}}
	})
	for may, want := range map[bool]string{true: "Revoked by bob", false: "NotPermittedToUse"} {
		w := newWorld(t, revoked...)
		w.allowed["alice use delegationhops/isolate"] = may
		got := message((&gatekeeper{w.base}).Handle(t.Context(), request(t, "alice", "Job", job(), nil)))
		if !strings.Contains(got, want) || strings.Contains(got, "a secret") != may {
			t.Errorf("alice may use the hop: %t. She is told %q", may, got)
		}
	}
}

// TestTakingOverIsToldOf: whoever comes to stand behind a path by changing it learns so at once.
func TestTakingOverIsToldOf(t *testing.T) {
	path := func(spec object) object {
		return object{"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": "DelegationPath", "metadata": object{"name": "contain"}, "spec": spec}
	}
	old := object{"reason": "Alert", "lifetime": object{"duration": "1h"}, "origin": object{"user": "alice"}}
	for name, test := range map[string]struct {
		spec object
		want string
	}{
		"a shorter lifetime": {spec: with(old, object{"lifetime": object{"duration": "30m"}}), want: `the origin of DelegationPath "contain" is now "bob", in place of "alice"`},
		"another reason":     {spec: with(old, object{"reason": "Drill"})},
	} {
		w := newWorld(t)
		got := (&stamper{w.base}).Handle(t.Context(), request(t, "bob", "DelegationPath", path(test.spec), path(old)))
		if warned := strings.Join(got.Warnings, ""); !got.Allowed || (warned == "") != (test.want == "") || !strings.Contains(warned, test.want) {
			t.Errorf("%s: allowed %t, warned %q", name, got.Allowed, warned)
		}
	}
}
