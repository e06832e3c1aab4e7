package webhooks

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// assigned is a pod after admission by the assigner, as often as it comes round.
func assigned(t *testing.T, p *corev1.Pod, rounds int) *corev1.Pod {
	t.Helper()
	for range rounds {
		w, err := decodeWorkload("Pod", encode(t, p))
		if err != nil {
			t.Fatal(err)
		}
		patch, err := json.Marshal(assignment(w, account))
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
	c := newWorld(t).Gather.Cache.(client.Client)
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
				p.Spec.Volumes = []corev1.Volume{{Name: "mine"}}
				p.Spec.InitContainers = []corev1.Container{{Name: "side", Image: image, RestartPolicy: &always, VolumeMounts: []corev1.VolumeMount{mine("/a")}}, {Name: "setup", Image: image}}
				p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{mine("/b")}
			}, injected},
			want: func(p *corev1.Pod) {
				always := corev1.ContainerRestartPolicyAlways
				p.Spec.Volumes = []corev1.Volume{{Name: "mine"}, ownVolume()}
				p.Spec.InitContainers = []corev1.Container{
					{Name: "side", Image: image, RestartPolicy: &always, VolumeMounts: []corev1.VolumeMount{mine("/a"), ownMount()}},
					{Name: "setup", Image: image, VolumeMounts: []corev1.VolumeMount{ownMount()}},
				}
				p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{mine("/b"), ownMount()}
			},
		},
		"no automount, a volume of its own": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) {
				p.Spec.AutomountServiceAccountToken = new(false)
				p.Spec.Volumes = []corev1.Volume{{Name: "mine"}}
			}},
			want: func(p *corev1.Pod) { p.Spec.Volumes = []corev1.Volume{{Name: "mine"}, ownVolume()} },
		},
		"something else where tokens are": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) {
				p.Spec.Volumes, p.Spec.Containers[0].VolumeMounts = []corev1.Volume{{Name: "mine"}}, []corev1.VolumeMount{mine(tokenPath)}
			}},
			want: func(p *corev1.Pod) {
				p.Spec.Volumes, p.Spec.Containers[0].VolumeMounts = []corev1.Volume{{Name: "mine"}, ownVolume()}, []corev1.VolumeMount{mine(tokenPath)}
			},
		},
		"a grace of its own, short": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = new(int64(0)) }},
			want:  func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = new(int64(0)) },
		},
		"a grace of its own, long": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = new(int64(3600)) }},
		},
		"a name that is made up": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) { p.Name, p.GenerateName = "", "job-x7-" }},
			want:  func(p *corev1.Pod) { p.Name, p.GenerateName = "", "dhop-job-x7-" },
		},
		"a made-up name that needs no prefix": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) { p.Name, p.GenerateName = "", "dhop-x-" }},
			want:  func(p *corev1.Pod) { p.Name, p.GenerateName = "", "dhop-x-" },
		},
		"an account of somebody else, which is for the gatekeeper": {
			given: []func(*corev1.Pod){func(p *corev1.Pod) { p.Spec.ServiceAccountName = "robot" }},
			want:  func(p *corev1.Pod) { p.Spec.ServiceAccountName, p.Spec.DeprecatedServiceAccount = "robot", "" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			want := pod(func(p *corev1.Pod) {
				p.Spec.ServiceAccountName, p.Spec.DeprecatedServiceAccount = account, account
				p.Spec.AutomountServiceAccountToken = new(false)
				p.Spec.TerminationGracePeriodSeconds = new(int64(30))
				p.Spec.Volumes = []corev1.Volume{ownVolume()}
				p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{ownMount()}
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

// TestAssignerLeavesTheRestAlone: what is going to be refused keeps the account that it came with, so that the API
// server finds it and the gatekeeper can say why.
func TestAssignerLeavesTheRestAlone(t *testing.T) {
	for name, test := range map[string]struct {
		objects     []client.Object
		pod         *corev1.Pod
		subresource string
		want        bool
	}{
		"a hop that holds its grant": {objects: granted(), pod: pod(injected), want: true},
		"no label":                   {objects: granted(), pod: pod(injected, func(p *corev1.Pod) { p.Labels = nil })},
		"no hop":                     {pod: pod(injected)},
		"a subresource":              {objects: granted(), pod: pod(injected), subresource: "ephemeralcontainers"},
		"a hop without an identity": {objects: granted(func(_ *v1alpha1.DelegationPath, h *v1alpha1.DelegationHop) {
			h.Status.ServiceAccountName = ""
		}), pod: pod(injected)},
		"a hop that was revoked a moment ago": {objects: granted(func(_ *v1alpha1.DelegationPath, h *v1alpha1.DelegationHop) {
			h.Spec.Revoked = &v1alpha1.Revocation{Reason: "false alarm"}
		}), pod: pod(injected)},
		"a path that was suspended a moment ago": {objects: granted(func(p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) {
			p.Spec.Suspend = new(true)
		}), pod: pod(injected)},
	} {
		t.Run(name, func(t *testing.T) {
			req := request(t, "alice", "Pod", test.pod, nil)
			req.SubResource = test.subresource
			got := (&assigner{newWorld(t, test.objects...).base}).Handle(t.Context(), req)
			if !got.Allowed || (len(got.Patches) > 0) != test.want {
				t.Errorf("allowed %t, %d patches", got.Allowed, len(got.Patches))
			}
		})
	}
}

func TestMisassigned(t *testing.T) {
	in := delegation.Input{Chain: delegation.Chain{Hops: []*v1alpha1.DelegationHop{{Status: v1alpha1.DelegationHopStatus{ServiceAccountName: account}}}}}
	projects := func(name string, source corev1.VolumeProjection) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
				Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{source}},
			}})
		}
	}
	token := func(seconds int64, audience string) corev1.VolumeProjection {
		return corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "t", ExpirationSeconds: &seconds, Audience: audience}}
	}
	certificate := corev1.VolumeProjection{PodCertificate: &corev1.PodCertificateProjection{SignerName: "kubernetes.io/kube-apiserver-client-pod", KeyType: "ED25519"}}
	for name, test := range map[string]struct {
		change       func(*corev1.Pod)
		want         string
		wantTemplate string
	}{
		"as it was assigned": {change: func(*corev1.Pod) {}},
		"a config map":       {change: projects("mine", corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{}})},
		"no account":         {change: func(p *corev1.Pod) { p.Spec.ServiceAccountName = "default" }, want: "not given the hop's account"},
		"no prefix":          {change: func(p *corev1.Pod) { p.Name = "run" }, want: `begins with "dhop-"`},
		"automount":          {change: func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = new(true) }, want: "automountServiceAccountToken"},
		"automount unsaid":   {change: func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = nil }, want: "automountServiceAccountToken"},
		"a long grace":       {change: func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = new(int64(31)) }, want: "at most 30"},
		"another token":      {change: projects("mine", token(600, "")), want: `volume "mine" projects a token`, wantTemplate: `volume "mine" projects a token`},
		"a longer token":     {change: projects(tokenVolume, token(601, "")), want: "projects a token", wantTemplate: "projects a token"},
		"another audience":   {change: projects(tokenVolume, token(600, "vault")), want: "projects a token", wantTemplate: "projects a token"},
		"a certificate":      {change: projects("mine", certificate), want: `volume "mine" projects a certificate`, wantTemplate: `volume "mine" projects a certificate`},
		"a certificate beside our token": {change: func(p *corev1.Pod) {
			p.Spec.Volumes[0].Projected.Sources = append(p.Spec.Volumes[0].Projected.Sources, certificate)
		}, want: "projects a certificate", wantTemplate: "projects a certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			p := assigned(t, pod(injected), 1)
			test.change(p)
			w, err := decodeWorkload("Pod", encode(t, p))
			if err != nil {
				t.Fatal(err)
			}
			for template, want := range map[bool]string{false: test.want, true: test.wantTemplate} {
				w.template = template
				if got := misassigned(w, in); (got == "") != (want == "") || !strings.Contains(got, want) {
					t.Errorf("template %t: %q, want %q", template, got, want)
				}
			}
		})
	}
}
