package workload

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

const (
	// tokenSeconds is the life of a pod's token. The kubelet renews it while the pod runs.
	tokenSeconds = 600
	// tokenVolume is the name of Wayleave's volume; tokenPath is where client libraries look for a token.
	tokenVolume = "delegation-token"
	tokenPath   = "/var/run/secrets/kubernetes.io/serviceaccount" //nolint:gosec // a path, no secret
	// injectedVolume begins the name of the volume that the API server injects.
	injectedVolume = "kube-api-access-"
)

// TokenVolume is the volume that the API server would inject, but for the token's life: the injected one asks for 3607
// seconds, the one number that the API server extends to a year.
func TokenVolume() corev1.Volume {
	return corev1.Volume{Name: tokenVolume, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		DefaultMode: ptr.To[int32](0o644),
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: ptr.To[int64](tokenSeconds)}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: "kube-root-ca.crt"},
				Items:                []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
				Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"},
			}}}},
		},
	}}}
}

// TokenMount mounts the token volume where client libraries look.
func TokenMount() corev1.VolumeMount {
	return corev1.VolumeMount{Name: tokenVolume, MountPath: tokenPath, ReadOnly: true}
}

// injectedToken is the name of the volume into which the API server has put its own token; empty if there is none.
func injectedToken(volumes []corev1.Volume) string {
	for _, v := range volumes {
		if strings.HasPrefix(v.Name, injectedVolume) && projectsToken(v) {
			return v.Name
		}
	}
	return ""
}

// isShort says whether a projected token lives as long as Wayleave's own.
func isShort(token *corev1.ServiceAccountTokenProjection) bool {
	return token.ExpirationSeconds != nil && *token.ExpirationSeconds == tokenSeconds
}

func projectsToken(v corev1.Volume) bool {
	return v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool {
		return s.ServiceAccountToken != nil
	})
}

func volumeNamed(volumes []corev1.Volume, name string) int {
	return slices.IndexFunc(volumes, func(v corev1.Volume) bool { return v.Name == name })
}

func mountOf(mounts []corev1.VolumeMount, volume string) int {
	return slices.IndexFunc(mounts, func(m corev1.VolumeMount) bool { return m.Name == volume })
}

// mountAt is the mount where client libraries look, unless it is that of the injected volume.
func mountAt(mounts []corev1.VolumeMount, injected string) int {
	return slices.IndexFunc(mounts, func(m corev1.VolumeMount) bool { return m.MountPath == tokenPath && m.Name != injected })
}
