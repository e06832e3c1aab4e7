package workload

import corev1 "k8s.io/api/core/v1"

// Images are the images of all containers of a pod: init containers, sidecars, containers, ephemeral containers.
func Images(spec *corev1.PodSpec) []string {
	var images []string
	for _, c := range spec.InitContainers {
		images = append(images, c.Image)
	}
	for _, c := range spec.Containers {
		images = append(images, c.Image)
	}
	for _, c := range spec.EphemeralContainers {
		images = append(images, c.Image)
	}
	return images
}
