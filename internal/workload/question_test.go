package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

func TestQuestion(t *testing.T) {
	allow := delegation.Answer{Outcome: delegation.Allow}
	needs := func(text string) func(*corev1.PodTemplateSpec) {
		return func(p *corev1.PodTemplateSpec) { p.Annotations = map[string]string{v1alpha1.AnnotationRequires: text} }
	}
	ofCronJob := job(needs(`[{apiGroups: [""], resources: [pods], verbs: [list]}]`))
	ofCronJob.OwnerReferences = append(ofCronJob.OwnerReferences, owner("CronJob"))
	named := pod(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "robot" })
	for name, test := range map[string]struct {
		kind         string
		object       any
		fromTemplate bool
		want         delegation.Workload
	}{
		"a pod that names an account": {kind: "Pod", object: named, want: delegation.Workload{
			Kinds: []v1alpha1.WorkloadKind{"Pod"}, ServiceAccountName: "robot", Images: []string{image}, Use: allow,
		}},
		"a Job of a CronJob that needs something": {kind: "Job", object: ofCronJob, fromTemplate: true, want: delegation.Workload{
			Kinds: []v1alpha1.WorkloadKind{"CronJob"}, Template: true, Images: []string{image}, Use: allow,
			Requires: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}},
		}},
		"a Job that a user makes from a CronJob": {kind: "Job", object: ofCronJob, want: delegation.Workload{
			Kinds: []v1alpha1.WorkloadKind{"Job"}, Template: true, Manual: true, Images: []string{image}, Use: allow,
			Requires: []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}},
		}},
		"a Job whose needs are empty": {kind: "Job", object: job(needs("[]")), want: delegation.Workload{
			Kinds: []v1alpha1.WorkloadKind{"Job"}, Template: true, Images: []string{image}, Use: allow,
			RequiresProblem: "it names nothing: leave the annotation out if all of the hop's scope is needed",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got := decode(t, test.kind, test.object).Question(test.fromTemplate, allow)
			if _, violates := got.Violates[v1alpha1.PodSecurityBaseline]; violates || got.Violates[v1alpha1.PodSecurityRestricted] == "" {
				t.Errorf("it violates %v", got.Violates)
			}
			got.Violates = nil
			if diff := cmp.Diff(&test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestFieldOf: the fields of the hop are not the workload's.
func TestFieldOf(t *testing.T) {
	w := decode(t, "CronJob", job())
	for name, test := range map[string]struct {
		finding delegation.Finding
		want    string
	}{
		"what the workload requires": {
			finding: delegation.Finding{Field: requiresField},
			want:    "spec.jobTemplate.spec.template.metadata.annotations[delegation.wayleave.dev/requires]",
		},
		"the hop's lifetime":  {finding: delegation.Finding{Field: "spec.lifetime"}},
		"another hop's field": {finding: delegation.Finding{Field: requiresField, Node: "hop agents/triage"}},
		"no field":            {},
	} {
		if got := w.FieldOf(test.finding); got != test.want {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// TestRequiresFieldIsTheVerdicts: a verdict names what a workload requires by the field that FieldOf knows.
func TestRequiresFieldIsTheVerdicts(t *testing.T) {
	w := decode(t, "Job", job(func(p *corev1.PodTemplateSpec) { p.Annotations = map[string]string{v1alpha1.AnnotationRequires: "[]"} }))
	hop := &v1alpha1.DelegationHop{Spec: v1alpha1.DelegationHopSpec{Workload: &v1alpha1.Workload{}}}
	in := delegation.Input{
		Chain:    delegation.Chain{Hops: []*v1alpha1.DelegationHop{hop}},
		Workload: w.Question(false, delegation.Answer{Outcome: delegation.Allow}),
	}
	for _, f := range delegation.Evaluate(in).Findings {
		if w.FieldOf(f) == w.Field(requiresField) {
			return
		}
	}
	t.Error("no finding is about what the workload requires")
}
