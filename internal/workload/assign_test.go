package workload

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// assigned is a pod after so many rounds of admission.
func assigned(t *testing.T, p *corev1.Pod, rounds int) *corev1.Pod {
	t.Helper()
	for range rounds {
		patch, err := json.Marshal(decode(t, "Pod", p).Assignment(account))
		if err != nil {
			t.Fatal(err)
		}
		p = patched(t, p, patch)
	}
	return p
}

// patched applies a JSON patch as the API server does.
func patched(t *testing.T, p *corev1.Pod, patch []byte) *corev1.Pod {
	t.Helper()
	c := fake.NewClientBuilder().Build()
	p = p.DeepCopy()
	name := p.Name
	p.Name, p.ResourceVersion = "stored", ""
	if err := c.Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if err := c.Patch(t.Context(), p, client.RawPatch(types.JSONPatchType, patch)); err != nil {
		t.Fatalf("applying %s: %v", patch, err)
	}
	p.Name, p.ResourceVersion, p.TypeMeta = name, "", metav1.TypeMeta{}
	return p
}

func TestAssignment(t *testing.T) {
	mine := func(path string) corev1.VolumeMount { return corev1.VolumeMount{Name: "mine", MountPath: path} }
	for name, test := range map[string]struct {
		given []func(*corev1.Pod)
		want  func(*corev1.Pod)
	}{
		"a pod with nothing but an image": {},
		"a pod as the API server hands it over": {
			given: []func(*corev1.Pod){injected},
		},
		"volumes, sidecars and mounts of its own": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) {
				always := corev1.ContainerRestartPolicyAlways
				p.Spec.Volumes = []corev1.Volume{scratch("mine")}
				p.Spec.InitContainers = []corev1.Container{
					{Name: "side", Image: image, RestartPolicy: &always, VolumeMounts: []corev1.VolumeMount{mine("/a")}},
					{Name: "setup", Image: image},
				}
				p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{mine("/b")}
			}, injected},
			want: func(p *corev1.Pod) {
				always := corev1.ContainerRestartPolicyAlways
				p.Spec.Volumes = []corev1.Volume{scratch("mine"), TokenVolume()}
				p.Spec.InitContainers = []corev1.Container{
					{Name: "side", Image: image, RestartPolicy: &always, VolumeMounts: []corev1.VolumeMount{mine("/a"), TokenMount()}},
					{Name: "setup", Image: image, VolumeMounts: []corev1.VolumeMount{TokenMount()}},
				}
				p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{mine("/b"), TokenMount()}
			},
		},
		"no automount, a volume of its own": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) {
				p.Spec.AutomountServiceAccountToken = new(false)
				p.Spec.Volumes = []corev1.Volume{scratch("mine")}
			}},
			want: func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{scratch("mine"), TokenVolume()} },
		},
		"something else where tokens are": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) {
				p.Spec.Volumes = []corev1.Volume{scratch("mine")}
				p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{mine(tokenPath)}
			}},
			want: func(p *corev1.Pod) {
				p.Spec.Volumes = []corev1.Volume{scratch("mine"), TokenVolume()}
				p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{mine(tokenPath)}
			},
		},
		"a token that a mesh injects": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{scratch("mine"), meshToken(43200)} }, injected},
			want: func(p *corev1.Pod) {
				p.Spec.Volumes = []corev1.Volume{scratch("mine"), meshToken(600), TokenVolume()}
			},
		},
		"a grace of its own, short": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = new(int64(0)) }},
			want:  func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = new(int64(0)) },
		},
		"a grace of its own, long": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = new(int64(3600)) }},
		},
		"a gate of its own": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/queue"}} }},
			want: func(p *corev1.Pod) {
				p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/queue"}, {Name: v1alpha1.GateGrant}}
			},
		},
		"a name that is made up": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) { p.Name, p.GenerateName = "", "job-x7-" }},
			want:  func(p *corev1.Pod) { p.Name, p.GenerateName = "", "dhop-job-x7-" },
		},
		"a made-up name that needs no prefix": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) { p.Name, p.GenerateName = "", "dhop-x-" }},
			want:  func(p *corev1.Pod) { p.Name, p.GenerateName = "", "dhop-x-" },
		},
		"another account, which the verdict denies": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.ServiceAccountName = "robot" }},
			want:  func(p *corev1.Pod) { p.Spec.ServiceAccountName, p.Spec.DeprecatedServiceAccount = "robot", "" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := pod(func(p *corev1.Pod) {
				p.Spec.ServiceAccountName, p.Spec.DeprecatedServiceAccount = account, account
				p.Spec.AutomountServiceAccountToken = new(false)
				p.Spec.TerminationGracePeriodSeconds = new(int64(30))
				p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: v1alpha1.GateGrant}}
				p.Spec.Volumes = []corev1.Volume{TokenVolume()}
				p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{TokenMount()}
			})
			if test.want != nil {
				test.want(want)
			}
			if diff := cmp.Diff(want, assigned(t, pod(test.given...), 1)); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(want, assigned(t, pod(test.given...), 2)); diff != "" {
				t.Errorf("the second round changes something: %s", diff)
			}
		})
	}
}
