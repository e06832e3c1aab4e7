package webhooks

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// TestLabelWarner: the warning names the field where the label belongs; what has the label there gets none.
func TestLabelWarner(t *testing.T) {
	unlabelled := job(func(p *corev1.PodTemplateSpec) { p.Labels = nil })
	cron := func(j *batchv1.Job) *batchv1.CronJob {
		return &batchv1.CronJob{Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: j.Spec}}}
	}
	for name, test := range map[string]struct {
		kind   string
		object any
		want   string // empty: no warning
	}{
		"a Job":                    {kind: "Job", object: unlabelled, want: "this Job run under no hop: put it in spec.template.metadata.labels"},
		"a CronJob":                {kind: "CronJob", object: cron(unlabelled), want: "put it in spec.jobTemplate.spec.template.metadata.labels"},
		"a Job that declares it":   {kind: "Job", object: job()},
		"a CronJob that does, too": {kind: "CronJob", object: cron(job())},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			got := newLabelWarner(w.Options).Handle(t.Context(), request(t, "alice", test.kind, test.object, nil))
			checkAnswer(t, got.Allowed, true, message(got), "", got.Warnings, test.want)
			if lines := w.lines(); len(lines) > 0 {
				t.Errorf("audit lines %+v", lines)
			}
		})
	}
}
