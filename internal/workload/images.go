package workload

import corev1 "k8s.io/api/core/v1"

// Images are the images of a pod: those of init containers, sidecars, containers and ephemeral containers, and those that
// are mounted as volumes.
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
	for _, v := range spec.Volumes {
		if v.Image != nil {
			images = append(images, v.Image.Reference)
		}
	}
	return images
}
