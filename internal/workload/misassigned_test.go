package workload

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

type misassignedCase struct {
	change       func(*corev1.Pod)
	want         string
	wantTemplate string
	wantField    string // inside the pod
}

func TestMisassigned(t *testing.T) {
	projects := func(name string, source corev1.VolumeProjection) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
				Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{source}},
			}})
		}
	}
	token := func(seconds int64, audience string) corev1.VolumeProjection {
		return corev1.VolumeProjection{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Path: "t", ExpirationSeconds: &seconds, Audience: audience,
		}}
	}
	certificate := corev1.VolumeProjection{PodCertificate: &corev1.PodCertificateProjection{
		SignerName: "kubernetes.io/kube-apiserver-client-pod", KeyType: "ED25519",
	}}
	volume := func(v corev1.Volume) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.Volumes = append(p.Spec.Volumes, v) }
	}
	source := func(s corev1.VolumeSource) func(*corev1.Pod) {
		return volume(corev1.Volume{Name: "mine", VolumeSource: s})
	}
	refused := func(change func(*corev1.Pod), want string) misassignedCase {
		return misassignedCase{change: change, want: want, wantTemplate: want, wantField: "spec.volumes[1]"}
	}
	for name, test := range map[string]misassignedCase{
		"an image":                {change: source(corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "data"}})},
		"a directory":             {change: volume(scratch("mine"))},
		"a claim":                 {change: source(corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{}})},
		"a token for an audience": {change: volume(meshToken(600))},
		"a claim of its own":      {change: source(corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}})},
		"a claim of a named volume": refused(source(corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{
			VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: corev1.PersistentVolumeClaimSpec{VolumeName: "theirs"}},
		}}), "claims a volume by its name"),
		"the node":                   refused(source(corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{}}), "is a path of the node"),
		"inline CSI":                 refused(source(corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{}}), "is an inline CSI volume"),
		"a server":                   refused(source(corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}), "of a type that is not known"),
		"a type that is new":         refused(volume(corev1.Volume{Name: "mine"}), "of a type that is not known"),
		"a source that is new":       refused(projects("mine", corev1.VolumeProjection{}), "projects what is not known"),
		"a token for a foreign name": refused(projects("mine", token(600, "vault")), `audience "vault": add it to scope.audiences`),
		"a long token for an audience": {
			change: volume(meshToken(43200)), want: "does not live for 600 seconds", wantField: "spec.volumes[1]",
		},
		"as it was assigned": {change: func(*corev1.Pod) {}},
		"a config map":       {change: projects("mine", corev1.VolumeProjection{ConfigMap: &corev1.ConfigMapProjection{}})},
		"no account": {
			change: func(p *corev1.Pod) { p.Spec.ServiceAccountName = "default" },
			want:   "not given the hop's account", wantField: "spec.serviceAccountName",
		},
		"no prefix": {change: func(p *corev1.Pod) { p.Name = "run" }, want: `begins with "dhop-"`, wantField: "metadata.name"},
		"automount": {
			change: func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = new(true) },
			want:   "automountServiceAccountToken", wantField: "spec.automountServiceAccountToken",
		},
		"automount unsaid": {
			change: func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = nil },
			want:   "automountServiceAccountToken", wantField: "spec.automountServiceAccountToken",
		},
		"a long grace": {
			change: func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = new(int64(31)) },
			want:   "at most 30", wantField: "spec.terminationGracePeriodSeconds",
		},
		"another token": {
			change: projects("mine", token(600, "")),
			want:   `volume "mine" projects a token`, wantTemplate: `volume "mine" projects a token`, wantField: "spec.volumes[1]",
		},
		"a longer token": {
			change: projects(tokenVolume, token(601, "")),
			want:   "projects a token", wantTemplate: "projects a token", wantField: "spec.volumes[1]",
		},
		"another audience": {
			change: projects(tokenVolume, token(600, "vault")),
			want:   `audience "vault"`, wantTemplate: `audience "vault"`, wantField: "spec.volumes[1]",
		},
		"a certificate": {
			change: projects("mine", certificate),
			want:   `volume "mine" projects a certificate`, wantTemplate: `volume "mine" projects a certificate`, wantField: "spec.volumes[1]",
		},
		"a certificate beside the token": {change: func(p *corev1.Pod) {
			p.Spec.Volumes[0].Projected.Sources = append(p.Spec.Volumes[0].Projected.Sources, certificate)
		}, want: "projects a certificate", wantTemplate: "projects a certificate", wantField: "spec.volumes[0]"},
	} {
		t.Run(name, func(t *testing.T) {
			p := assigned(t, pod(injected), 1)
			test.change(p)
			w := decode(t, "Pod", p)
			for template, want := range map[bool]string{false: test.want, true: test.wantTemplate} {
				w.Template = template
				got := w.Misassigned(account, func(a string) bool { return a == "mesh" })
				if (got == nil) != (want == "") {
					t.Fatalf("template %t: %v, want %q", template, got, want)
				}
				if got == nil {
					continue
				}
				if !strings.Contains(got.Message, want) || got.Field != w.Field(test.wantField) || got.Reason != v1alpha1.ReasonWorkloadNotAllowed {
					t.Errorf("template %t: %+v, want %q in %s", template, got, want, test.wantField)
				}
			}
		})
	}
}
