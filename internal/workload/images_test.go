package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

func TestImagesAreOfAllContainers(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	data := corev1.VolumeSource{Image: &corev1.ImageVolumeSource{Reference: "data"}}
	spec := corev1.PodSpec{
		InitContainers:      []corev1.Container{{Image: "setup"}, {Image: "sidecar", RestartPolicy: &always}},
		Containers:          []corev1.Container{{Image: "main"}},
		EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Image: "debug"}}},
		Volumes:             []corev1.Volume{{Name: "none"}, {VolumeSource: data}},
	}
	if diff := cmp.Diff([]string{"setup", "sidecar", "main", "debug", "data"}, Images(&spec)); diff != "" {
		t.Error(diff)
	}
}
