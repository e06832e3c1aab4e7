package workload

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestViolates: which levels a pod does not keep, in the words of Kubernetes; what admission adds to a pod is against none.
func TestViolates(t *testing.T) {
	restricted := func(spec *corev1.PodSpec) {
		spec.SecurityContext = &corev1.PodSecurityContext{
			RunAsNonRoot: new(true), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		}
		spec.Containers[0].SecurityContext = &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
	}
	for name, test := range map[string]struct {
		change func(*corev1.PodSpec)
		want   []v1alpha1.PodSecurityLevel
	}{
		"plain":      {func(*corev1.PodSpec) {}, []v1alpha1.PodSecurityLevel{v1alpha1.PodSecurityRestricted}},
		"restricted": {restricted, nil},
		"as admission makes it": {func(spec *corev1.PodSpec) {
			restricted(spec)
			spec.Volumes, spec.SchedulingGates = []corev1.Volume{TokenVolume()}, []corev1.PodSchedulingGate{{Name: v1alpha1.GateGrant}}
		}, nil},
		"with the network of the node": {func(spec *corev1.PodSpec) { spec.HostNetwork = true }, []v1alpha1.PodSecurityLevel{
			v1alpha1.PodSecurityBaseline, v1alpha1.PodSecurityRestricted,
		}},
		"with a privileged init container": {func(spec *corev1.PodSpec) {
			spec.InitContainers = []corev1.Container{{Name: "init", SecurityContext: &corev1.SecurityContext{Privileged: new(true)}}}
		}, []v1alpha1.PodSecurityLevel{v1alpha1.PodSecurityBaseline, v1alpha1.PodSecurityRestricted}},
	} {
		t.Run(name, func(t *testing.T) {
			spec := corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.com/main"}}}
			test.change(&spec)
			got := (&Workload{Kind: kindPod, Spec: spec}).violates()
			if diff := cmp.Diff(test.want, slices.Sorted(maps.Keys(got))); diff != "" {
				t.Errorf("(-want +got):\n%s\n%v", diff, got)
			}
		})
	}
	const words = `host namespaces (hostNetwork=true)`
	if got := (&Workload{Spec: corev1.PodSpec{HostNetwork: true}}).violates()[v1alpha1.PodSecurityBaseline]; got != words {
		t.Errorf("it says %q, want %q", got, words)
	}
}
