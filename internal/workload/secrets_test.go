package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// TestSecrets: each way in which a container reads a Secret, and those that are none.
func TestSecrets(t *testing.T) {
	local := func(name string) corev1.LocalObjectReference { return corev1.LocalObjectReference{Name: name} }
	from := func(name string) []corev1.EnvFromSource {
		return []corev1.EnvFromSource{
			{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: local(name)}},
			{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: local("no-config")}},
		}
	}
	env := func(name string) []corev1.EnvVar {
		return []corev1.EnvVar{
			{Name: "A", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
				LocalObjectReference: local(name), Key: "k", Optional: new(true),
			}}},
			{Name: "B", Value: "b"},
		}
	}
	volume := func(source corev1.VolumeSource) corev1.Volume { return corev1.Volume{VolumeSource: source} }
	spec := &corev1.PodSpec{
		ImagePullSecrets: []corev1.LocalObjectReference{local("no-pull")},
		Volumes: []corev1.Volume{
			volume(corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "volume", Optional: new(true)}}),
			volume(corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
				{Secret: &corev1.SecretProjection{LocalObjectReference: local("projected")}},
				{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: local("no-config")}},
			}}}),
			volume(corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}),
		},
		InitContainers: []corev1.Container{{EnvFrom: from("init-from"), Env: env("init-env")}},
		Containers:     []corev1.Container{{EnvFrom: from("from"), Env: env("env")}, {Env: env("env")}},
		EphemeralContainers: []corev1.EphemeralContainer{
			{EphemeralContainerCommon: corev1.EphemeralContainerCommon{EnvFrom: from("ephemeral-from"), Env: env("ephemeral-env")}},
		},
	}
	want := []string{"env", "ephemeral-env", "ephemeral-from", "from", "init-env", "init-from", "projected", "volume"}
	if diff := cmp.Diff(want, Secrets(spec)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
