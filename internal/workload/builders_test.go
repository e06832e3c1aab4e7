package workload

import (
	"encoding/json"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

const (
	account = "dhop-isolate.k3x9.1782910800"
	image   = "registry.example.com/isolate:1"
)

// pod is a pod that declares hop isolate.
func pod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "dhop-run", Labels: map[string]string{v1alpha1.LabelHop: "isolate"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

// injected is what the API server has put into a pod before any webhook sees it.
func injected(p *corev1.Pod) {
	volume := TokenVolume()
	volume.Name = "kube-api-access-x7k2p"
	volume.Projected.Sources[0].ServiceAccountToken.ExpirationSeconds = new(int64(3607))
	p.Spec.ServiceAccountName, p.Spec.DeprecatedServiceAccount = "default", "default"
	p.Spec.TerminationGracePeriodSeconds = new(int64(30))
	p.Spec.Volumes = append(p.Spec.Volumes, volume)
	for _, list := range [][]corev1.Container{p.Spec.InitContainers, p.Spec.Containers} {
		for i := range list {
			list[i].VolumeMounts = append(list[i].VolumeMounts, corev1.VolumeMount{Name: volume.Name, MountPath: tokenPath, ReadOnly: true})
		}
	}
}

// scratch is a volume of the pod's own.
func scratch(name string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}
}

// meshToken is a volume with a token for audience mesh, beside a bundle of certificates.
func meshToken(seconds int64) corev1.Volume {
	return corev1.Volume{Name: "mesh-token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{
			{ClusterTrustBundle: &corev1.ClusterTrustBundleProjection{Path: "ca.crt"}},
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", Audience: "mesh", ExpirationSeconds: &seconds}},
		},
	}}}
}

// template is the pod as a template.
func template(change ...func(*corev1.PodTemplateSpec)) corev1.PodTemplateSpec {
	t := corev1.PodTemplateSpec{ObjectMeta: pod().ObjectMeta, Spec: pod().Spec}
	for _, c := range change {
		c(&t)
	}
	return t
}

// job is a Job of the template.
func job(change ...func(*corev1.PodTemplateSpec)) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "run"}, Spec: batchv1.JobSpec{Template: template(change...)}}
}

func encode(t *testing.T, object any) []byte {
	t.Helper()
	raw, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func decode(t *testing.T, kind string, object any) *Workload {
	t.Helper()
	w, err := Decode(kind, encode(t, object))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// owner refers to a controller of a kind.
func owner(kind string) metav1.OwnerReference {
	return metav1.OwnerReference{APIVersion: "batch/v1", Kind: kind, Name: "run", UID: "j1", Controller: new(true)}
}
