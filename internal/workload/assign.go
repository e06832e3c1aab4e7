package workload

import (
	"fmt"
	"strings"

	"gomodules.xyz/jsonpatch/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// maxGrace is how many seconds a pod may take to end: its token is valid for as long.
const maxGrace = 30

// Assignment is the patch that makes a pod run as an account: its name, a token volume in place of the injected one, a
// bound on how long it takes to end, and the gate at which it waits. On a pod that has been assigned it is empty, since
// admission may come round twice. Only what changes is patched: the pod may have fields that this program does not know.
func (w *Workload) Assignment(account string) []jsonpatch.Operation {
	var p patch
	spec := &w.Spec
	if named := spec.ServiceAccountName; named == "" || named == "default" {
		p.set("add", "/spec/serviceAccountName", account)
		p.set("add", "/spec/serviceAccount", account)
	}
	if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
		p.set("add", "/spec/automountServiceAccountToken", false)
	}
	if g := spec.TerminationGracePeriodSeconds; g == nil || *g > maxGrace {
		p.set("add", "/spec/terminationGracePeriodSeconds", maxGrace)
	}
	if gates := spec.SchedulingGates; !hasGate(gates) {
		p.put("/spec/schedulingGates", len(gates), -1, -1, corev1.PodSchedulingGate{Name: v1alpha1.GateGrant})
	}
	if w.Meta.Name == "" && !strings.HasPrefix(w.Meta.GenerateName, v1alpha1.AccountPrefix) {
		p.set("add", "/metadata/generateName", v1alpha1.AccountPrefix+w.Meta.GenerateName)
	}
	injected := injectedToken(spec.Volumes)
	p.put("/spec/volumes", len(spec.Volumes), volumeNamed(spec.Volumes, tokenVolume), volumeNamed(spec.Volumes, injected), TokenVolume())
	p.shorten(spec.Volumes)
	p.mount("/spec/initContainers", spec.InitContainers, injected)
	p.mount("/spec/containers", spec.Containers, injected)
	return p.operations
}

// patch collects the operations of a JSON patch.
type patch struct{ operations []jsonpatch.Operation }

func (p *patch) set(op, path string, value any) {
	p.operations = append(p.operations, jsonpatch.NewOperation(op, path, value))
}

// put adds an element to a list of the pod: not at all where the list has it, in place of the injected one where there
// is one, else at the end. The indexes are -1 for what the list does not have.
func (p *patch) put(list string, length, own, injected int, value any) {
	switch {
	case own >= 0:
	case injected >= 0:
		p.set("replace", fmt.Sprintf("%s/%d", list, injected), value)
	case length == 0:
		p.set("add", list, []any{value})
	default:
		p.set("add", list+"/-", value)
	}
}

// shorten gives the tokens for other audiences, such as those that a mesh injects, the life of Wayleave's own.
func (p *patch) shorten(volumes []corev1.Volume) {
	for i, v := range volumes {
		if v.Projected == nil {
			continue
		}
		for j, source := range v.Projected.Sources {
			if token := source.ServiceAccountToken; token != nil && token.Audience != "" && !isShort(token) {
				p.set("add", fmt.Sprintf("/spec/volumes/%d/projected/sources/%d/serviceAccountToken/expirationSeconds", i, j), tokenSeconds)
			}
		}
	}
}

// mount mounts the token in each of some containers.
func (p *patch) mount(list string, containers []corev1.Container, injected string) {
	for i, c := range containers {
		p.put(fmt.Sprintf("%s/%d/volumeMounts", list, i), len(c.VolumeMounts),
			mountAt(c.VolumeMounts, injected), mountOf(c.VolumeMounts, injected), TokenMount())
	}
}
