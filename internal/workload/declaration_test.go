package workload

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func TestUnchanged(t *testing.T) {
	asIs := func(*corev1.Pod) {}
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"nothing":                {change: asIs, want: true},
		"another label":          {change: func(p *corev1.Pod) { p.Labels["team"] = "sre" }, want: true},
		"finalizers":             {change: func(p *corev1.Pod) { p.Finalizers = []string{"batch.kubernetes.io/job-tracking"} }, want: true},
		"the node":               {change: func(p *corev1.Pod) { p.Spec.NodeName = "n1" }, want: true},
		"an annotation":          {change: func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} }, want: true},
		"the label":              {change: func(p *corev1.Pod) { p.Labels[v1alpha1.LabelHop] = "other" }},
		"no label":               {change: func(p *corev1.Pod) { delete(p.Labels, v1alpha1.LabelHop) }},
		"an empty label":         {change: func(p *corev1.Pod) { p.Labels[v1alpha1.LabelHop] = "" }},
		"what it requires":       {change: func(p *corev1.Pod) { p.Annotations = map[string]string{v1alpha1.AnnotationRequires: "[]"} }},
		"the account":            {change: func(p *corev1.Pod) { p.Spec.ServiceAccountName = account }},
		"an image":               {change: func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil" }},
		"an ephemeral container": {change: func(p *corev1.Pod) { p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{}} }},
	} {
		t.Run("pod: "+name, func(t *testing.T) {
			if got := decode(t, "Pod", pod(test.change)).Unchanged(decode(t, "Pod", pod())); got != test.want {
				t.Errorf("unchanged is %t", got)
			}
		})
	}
	for name, test := range map[string]struct {
		change func(*corev1.PodTemplateSpec)
		want   bool
	}{
		"nothing":       {change: func(*corev1.PodTemplateSpec) {}, want: true},
		"another label": {change: func(p *corev1.PodTemplateSpec) { p.Labels["team"] = "sre" }, want: true},
		"an annotation": {change: func(p *corev1.PodTemplateSpec) { p.Annotations = map[string]string{"a": "b"} }, want: true},
		"where it runs": {change: func(p *corev1.PodTemplateSpec) {
			p.Spec.NodeSelector = map[string]string{"pool": "batch"}
			p.Spec.Tolerations = []corev1.Toleration{{Key: "batch"}}
			p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}}
			p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: "example.com/queue"}}
			p.Spec.PriorityClassName, p.Spec.Priority = "batch", new(int32(10))
		}, want: true},
		"the hop":          {change: func(p *corev1.PodTemplateSpec) { p.Labels[v1alpha1.LabelHop] = "other" }},
		"what it requires": {change: func(p *corev1.PodTemplateSpec) { p.Annotations = map[string]string{v1alpha1.AnnotationRequires: "[]"} }},
		"a label of ours":  {change: func(p *corev1.PodTemplateSpec) { p.Labels[v1alpha1.LabelHopUID] = "h" }},
		"no AppArmor": {change: func(p *corev1.PodTemplateSpec) {
			p.Annotations = map[string]string{corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix + "main": "unconfined"}
		}},
		"the command": {change: func(p *corev1.PodTemplateSpec) { p.Spec.Containers[0].Command = []string{"sh"} }},
	} {
		t.Run("template: "+name, func(t *testing.T) {
			if got := decode(t, "Job", job(test.change)).Unchanged(decode(t, "Job", job())); got != test.want {
				t.Errorf("unchanged is %t", got)
			}
		})
	}
	if decode(t, "Pod", pod()).Unchanged(nil) {
		t.Error("what replaces nothing is unchanged")
	}
}

func TestUndeclarable(t *testing.T) {
	const immutable = "of a pod cannot be changed"
	const label = "metadata.labels[" + v1alpha1.LabelHop + "]"
	unlabelled := func(p *corev1.Pod) { p.Labels = nil }
	empty := func(p *corev1.Pod) { p.Labels[v1alpha1.LabelHop] = "" }
	named := func(account string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Spec.ServiceAccountName = account }
	}
	takes := named(account)
	for name, test := range map[string]struct {
		kind       string // Pod where nothing is said
		pod, old   *corev1.Pod
		wantReason v1alpha1.Reason // empty: nothing is wrong
		wantField  string
		want       string
	}{
		"a pod":                        {pod: pod()},
		"a pod that declares nothing":  {pod: pod(unlabelled)},
		"a Job":                        {kind: "Job", pod: pod()},
		"a CronJob":                    {kind: "CronJob", pod: pod()},
		"a Deployment without a label": {kind: "Deployment", pod: pod(unlabelled)},
		"a Deployment": {
			kind: "Deployment", pod: pod(),
			wantReason: "WorkloadNotAllowed", wantField: "spec.template." + label, want: "a Deployment cannot run under a hop",
		},
		"an empty label": {pod: pod(empty), wantReason: "HopNotFound", wantField: label, want: "is empty"},
		"the account of a hop without the label": {
			pod: pod(unlabelled, takes), wantReason: "WrongServiceAccount", wantField: "spec.serviceAccountName", want: "belongs to a hop",
		},
		"the account of a hop in the template of a CronJob": {
			kind: "CronJob", pod: pod(unlabelled, takes), wantReason: "WrongServiceAccount",
			wantField: "spec.jobTemplate.spec.template.spec.serviceAccountName", want: "belongs to a hop",
		},
		"an account of somebody else with a name like a hop's": {
			pod: pod(unlabelled, named("dhop-web")), wantReason: "WrongServiceAccount", wantField: "spec.serviceAccountName",
			want: `names that begin with dhop- are reserved by Wayleave: replace ServiceAccount "dhop-web"`,
		},
		"the same in the template of a Deployment": {
			kind: "Deployment", pod: pod(unlabelled, named("dhop-web.team.a")), wantReason: "WrongServiceAccount",
			wantField: "spec.template.spec.serviceAccountName", want: "are reserved by Wayleave",
		},
		"an account of somebody else": {pod: pod(unlabelled, named("web-dhop-"))},
		"the label given to a pod": {
			pod: pod(), old: pod(unlabelled),
			wantReason: "WorkloadNotAllowed", wantField: label, want: immutable,
		},
		"the label taken from a pod": {
			pod: pod(unlabelled), old: pod(),
			wantReason: "WorkloadNotAllowed", wantField: label, want: immutable,
		},
		"the label emptied": {
			pod: pod(unlabelled), old: pod(empty),
			wantReason: "WorkloadNotAllowed", wantField: label, want: immutable,
		},
		"a pod's image":                   {pod: pod(), old: pod(takes), wantReason: "WorkloadNotAllowed", want: "stays as it was admitted"},
		"a pod that declares nothing yet": {pod: pod(unlabelled), old: pod(unlabelled)},
		"the label given to a Job":        {kind: "Job", pod: pod(), old: pod(unlabelled)},
		"the label taken from a Job":      {kind: "Job", pod: pod(unlabelled), old: pod()},
	} {
		t.Run(name, func(t *testing.T) {
			read := func(p *corev1.Pod) *Workload {
				if p == nil {
					return nil
				}
				w, err := From(p)
				if err != nil {
					t.Fatal(err)
				}
				if test.kind != "" {
					w.Kind, w.Template = test.kind, true
				}
				return w
			}
			got := read(test.pod).Undeclarable(read(test.old))
			if test.wantReason == "" {
				if got != nil {
					t.Errorf("found %v", got)
				}
				return
			}
			if got == nil || got.Reason != test.wantReason || got.Field != test.wantField || !strings.Contains(got.Message, test.want) {
				t.Errorf("found %+v, want %s in %s: %s", got, test.wantReason, test.wantField, test.want)
			}
		})
	}
}
