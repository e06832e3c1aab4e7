package workload

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
)

// unfit says why a pod that runs under a hop may not have a volume; empty if it may. Judged is what is known to hold nothing
// beyond the pod's own namespace: a type that is new to this program, which then has no source at all, is refused as
// well. Audience says whether the hop may have tokens for an audience.
func (w *Workload) unfit(v corev1.Volume, audience func(string) bool) string {
	s := v.VolumeSource
	switch {
	case s.Projected != nil:
		for _, source := range s.Projected.Sources {
			if problem := w.unfitSource(v.Name, source, audience); problem != "" {
				return problem
			}
		}
		return ""
	case s.Ephemeral != nil && s.Ephemeral.VolumeClaimTemplate != nil && s.Ephemeral.VolumeClaimTemplate.Spec.VolumeName != "":
		return fmt.Sprintf("volume %q claims a volume by its name, which may be another tenant's: leave volumeName out", v.Name)
	case s.EmptyDir != nil, s.ConfigMap != nil, s.Secret != nil, s.DownwardAPI != nil, s.PersistentVolumeClaim != nil, s.Ephemeral != nil:
		return ""
	case s.Image != nil: // its reference is compared with the images of the hop
		return ""
	case s.CSI != nil:
		return fmt.Sprintf("volume %q is an inline CSI volume, whose driver may be given tokens and Secrets: use a PersistentVolumeClaim", v.Name)
	case s.HostPath != nil:
		return fmt.Sprintf("volume %q is a path of the node, where the credentials of all its pods are: leave it out", v.Name)
	}
	return fmt.Sprintf("volume %q is of a type that is not known to stay within the hop: use emptyDir, configMap, secret, "+
		"downwardAPI, projected, persistentVolumeClaim, ephemeral or image", v.Name)
}

// unfitSource is unfit for a source of a projected volume. A token for another audience is bound to the pod as Wayleave's own
// is, and as short; a certificate would be valid for an hour at least, whatever becomes of the hop.
func (w *Workload) unfitSource(volume string, source corev1.VolumeProjection, audience func(string) bool) string {
	switch {
	case source.ConfigMap != nil, source.Secret != nil, source.DownwardAPI != nil, source.ClusterTrustBundle != nil:
		return ""
	case source.PodCertificate != nil:
		return fmt.Sprintf("volume %q projects a certificate of the pod's account, which would outlive the hop: leave it out", volume)
	case source.ServiceAccountToken == nil:
		return fmt.Sprintf("volume %q projects what is not known to stay within the hop: leave it out", volume)
	}
	token := source.ServiceAccountToken
	switch {
	case token.Audience == "" && (volume != tokenVolume || !isShort(token)):
		return fmt.Sprintf("volume %q projects a token: a pod that runs under a hop has the one token that it is given", volume)
	case token.Audience != "" && !audience(token.Audience):
		return fmt.Sprintf("volume %q projects a token for audience %q: add it to scope.audiences of the hop and its path, or leave it out",
			volume, token.Audience)
	case token.Audience != "" && !isShort(token) && !w.Template: // the pods of a template get it when they are created
		return fmt.Sprintf("volume %q projects a token that does not live for %d seconds: is the mutating webhook of Wayleave installed?",
			volume, tokenSeconds)
	}
	return ""
}
