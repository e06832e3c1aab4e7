package workload

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// Secrets are the names of the Secrets that the containers of a pod can read, whether or not each has to exist: as volumes, and in their
// environment. Those with which the kubelet pulls images are not among them, since no container reads them.
func Secrets(spec *corev1.PodSpec) []string {
	var names []string
	for _, v := range spec.Volumes {
		if v.Secret != nil {
			names = append(names, v.Secret.SecretName)
		}
		if v.Projected != nil {
			for _, source := range v.Projected.Sources {
				if source.Secret != nil {
					names = append(names, source.Secret.Name)
				}
			}
		}
	}
	for _, c := range spec.InitContainers {
		names = append(names, inEnvironment(c.EnvFrom, c.Env)...)
	}
	for _, c := range spec.Containers {
		names = append(names, inEnvironment(c.EnvFrom, c.Env)...)
	}
	for _, c := range spec.EphemeralContainers {
		names = append(names, inEnvironment(c.EnvFrom, c.Env)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func inEnvironment(from []corev1.EnvFromSource, env []corev1.EnvVar) []string {
	var names []string
	for _, source := range from {
		if source.SecretRef != nil {
			names = append(names, source.SecretRef.Name)
		}
	}
	for _, variable := range env {
		if variable.ValueFrom != nil && variable.ValueFrom.SecretKeyRef != nil {
			names = append(names, variable.ValueFrom.SecretKeyRef.Name)
		}
	}
	return names
}
