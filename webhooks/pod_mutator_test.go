package webhooks

import (
	"slices"
	"strings"
	"testing"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestPodMutatorLeavesTheRestAlone: what is going to be denied keeps the account that it came with, so that the API
// server finds it and the workload validator can say why.
func TestPodMutatorLeavesTheRestAlone(t *testing.T) {
	for name, test := range map[string]struct {
		objects     []client.Object
		pod         *corev1.Pod
		subresource string
		want        bool
	}{
		"a hop that holds its grant": {objects: granted(), pod: pod(), want: true},
		"no label":                   {objects: granted(), pod: pod(func(p *corev1.Pod) { p.Labels = nil })},
		"no hop":                     {pod: pod()},
		"a subresource":              {objects: granted(), pod: pod(), subresource: "ephemeralcontainers"},
		"a hop without an identity": {objects: granted(func(_ *v1alpha1.DelegationPath, h *v1alpha1.DelegationHop) {
			h.Status.ServiceAccountName = ""
		}), pod: pod()},
		"a hop that was revoked a moment ago": {objects: granted(func(_ *v1alpha1.DelegationPath, h *v1alpha1.DelegationHop) {
			h.Spec.Revoked = &v1alpha1.Revocation{Reason: "false alarm"}
		}), pod: pod()},
		"a path that was suspended a moment ago": {objects: granted(func(p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) {
			p.Spec.Suspend = new(true)
		}), pod: pod()},
	} {
		t.Run(name, func(t *testing.T) {
			req := request(t, "alice", "Pod", test.pod, nil)
			req.SubResource = test.subresource
			got := newPodMutator(newWorld(t, test.objects...).Options).Handle(t.Context(), req)
			assigned := slices.ContainsFunc(got.Patches, func(p jsonpatch.Operation) bool { return strings.HasPrefix(p.Path, "/spec/") })
			if !got.Allowed || assigned != test.want {
				t.Errorf("allowed %t, patches %v", got.Allowed, got.Patches)
			}
		})
	}
}
