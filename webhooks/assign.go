package webhooks

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// assigner gives a pod that declares a hop the hop's account, and a token volume of our own in place of the injected
// one, whose 3607 seconds are the one lifetime that the API server stretches to a year. It never refuses for what a
// verdict would say: the gatekeeper does that afterwards.
type assigner struct{ base }

const (
	// tokenSeconds is the life of a pod's token. The kubelet renews it while the pod runs.
	tokenSeconds = 600
	// maxGrace is how many seconds a pod may take to end: as long as it does, its token lives.
	maxGrace = 30
	// tokenVolume is the volume of our own; tokenPath is where client libraries look.
	tokenVolume = "delegation-token"
	tokenPath   = "/var/run/secrets/kubernetes.io/serviceaccount" //nolint:gosec // a path, no secret
	// injectedVolume begins the name of the volume that the API server injects.
	injectedVolume = "kube-api-access-"
)

// Handle assigns one pod.
func (h *assigner) Handle(ctx context.Context, req admission.Request) admission.Response {
	w, err := decodeWorkload("Pod", req.Object.Raw)
	if err != nil || w == nil {
		return malformed(fmt.Errorf("reading a Pod: %w", err))
	}
	name, declared := w.hop()
	if !declared || req.SubResource != "" {
		return admission.Allowed("")
	}
	hop, err := h.Gather.FindHop(ctx, hopKey(req, name))
	if err != nil {
		return failed(fmt.Errorf("reading hop %s: %w", hopKey(req, name), err))
	}
	if hop == nil || hop.Status.ServiceAccountName == "" {
		return admission.Allowed("") // there is nothing to assign; the gatekeeper says why
	}
	in, err := h.Gather.Hop(ctx, hop, h.Clock.Now())
	if err != nil {
		return failed(err)
	}
	if delegation.Evaluate(in).Outcome != delegation.Allow {
		// The account may be gone already, and the API server would say no more than that it does not find it.
		return admission.Allowed("")
	}
	return admission.Patched("", assignment(w, hop.Status.ServiceAccountName)...)
}

// assignment is the patch that makes a pod run as an account. On a pod that has been assigned it is empty, since
// admission may come round twice. Only what changes is patched: the pod may have fields that this program does not
// know.
func assignment(w *workload, account string) []jsonpatch.Operation {
	var patch []jsonpatch.Operation
	set := func(op, path string, value any) {
		patch = append(patch, jsonpatch.NewOperation(op, path, value))
	}
	spec := &w.spec
	if named := spec.ServiceAccountName; named == "" || named == "default" {
		set("add", "/spec/serviceAccountName", account)
		set("add", "/spec/serviceAccount", account)
	}
	if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
		set("add", "/spec/automountServiceAccountToken", false)
	}
	if g := spec.TerminationGracePeriodSeconds; g == nil || *g > maxGrace {
		set("add", "/spec/terminationGracePeriodSeconds", maxGrace)
	}
	if w.meta.Name == "" && !strings.HasPrefix(w.meta.GenerateName, v1alpha1.AccountPrefix) {
		set("add", "/metadata/generateName", v1alpha1.AccountPrefix+w.meta.GenerateName)
	}
	injected := injectedToken(spec.Volumes)
	put := placer(set)
	put("/spec/volumes", len(spec.Volumes), volumeNamed(spec.Volumes, tokenVolume), volumeNamed(spec.Volumes, injected), ownVolume())
	for i, c := range spec.InitContainers {
		put(fmt.Sprintf("/spec/initContainers/%d/volumeMounts", i), len(c.VolumeMounts), mountAt(c.VolumeMounts, injected), mountOf(c.VolumeMounts, injected), ownMount())
	}
	for i, c := range spec.Containers {
		put(fmt.Sprintf("/spec/containers/%d/volumeMounts", i), len(c.VolumeMounts), mountAt(c.VolumeMounts, injected), mountOf(c.VolumeMounts, injected), ownMount())
	}
	return patch
}

// placer puts an element into a list of the pod: nowhere if it is there already, in place of the injected one if there
// is one, else at the end. Indexes are -1 for what is not there.
func placer(set func(op, path string, value any)) func(list string, length, there, injected int, value any) {
	return func(list string, length, there, injected int, value any) {
		switch {
		case there >= 0:
		case injected >= 0:
			set("replace", fmt.Sprintf("%s/%d", list, injected), value)
		case length == 0:
			set("add", list, []any{value})
		default:
			set("add", list+"/-", value)
		}
	}
}

// injectedToken is the name of the volume in which the API server has put its own token; empty if there is none.
func injectedToken(volumes []corev1.Volume) string {
	for _, v := range volumes {
		if strings.HasPrefix(v.Name, injectedVolume) && projectsToken(v) {
			return v.Name
		}
	}
	return ""
}

func projectsToken(v corev1.Volume) bool {
	return v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool { return s.ServiceAccountToken != nil })
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

func ownMount() corev1.VolumeMount {
	return corev1.VolumeMount{Name: tokenVolume, MountPath: tokenPath, ReadOnly: true}
}

// ownVolume is what the API server injects by itself, but for the token's life.
func ownVolume() corev1.Volume {
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

// misassigned says what keeps a pod from being the hop's alone although the verdict allows it, and what would keep the
// pods of a template from it; empty if nothing does. It looks at the pod as it is after all mutation, by whomever.
func misassigned(w *workload, in delegation.Input) string {
	for _, v := range w.spec.Volumes {
		if problem := foreignCredential(v); problem != "" {
			return problem
		}
	}
	if w.template { // the rest is given to its pods as they are made
		return ""
	}
	spec, account := &w.spec, in.Chain.Last().Status.ServiceAccountName
	switch {
	case spec.ServiceAccountName != account:
		return fmt.Sprintf("the pod was not given the hop's account %q: is the mutating webhook of Wayleave installed?", account)
	case !strings.HasPrefix(w.meta.Name, v1alpha1.AccountPrefix) && !strings.HasPrefix(w.meta.GenerateName, v1alpha1.AccountPrefix):
		return fmt.Sprintf("a pod that runs under a hop has a name that begins with %q: rename it", v1alpha1.AccountPrefix)
	case spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken:
		return "automountServiceAccountToken must be false: leave it out"
	case spec.TerminationGracePeriodSeconds == nil || *spec.TerminationGracePeriodSeconds > maxGrace:
		return fmt.Sprintf("terminationGracePeriodSeconds must be at most %d", maxGrace)
	}
	return ""
}

// foreignCredential says whether a volume projects a credential of the pod's account other than our token. A
// certificate would be valid for an hour at least, whatever becomes of the hop.
func foreignCredential(v corev1.Volume) string {
	if v.Projected == nil {
		return ""
	}
	for _, source := range v.Projected.Sources {
		token := source.ServiceAccountToken
		if token != nil && (v.Name != tokenVolume || token.Audience != "" || token.ExpirationSeconds == nil || *token.ExpirationSeconds != tokenSeconds) {
			return fmt.Sprintf("volume %q projects a token: a pod that runs under a hop has the one token that it is given", v.Name)
		}
		if source.PodCertificate != nil {
			return fmt.Sprintf("volume %q projects a certificate of the pod's account, which would outlive the hop: leave it out", v.Name)
		}
	}
	return ""
}
