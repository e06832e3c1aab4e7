//go:build unix

package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
)

// labelled puts the label of hop isolate on an object itself.
func (f *fixture) labelled(o client.Object) client.Object {
	o.SetLabels(map[string]string{v1alpha1.LabelHop: "isolate"})
	return o
}

// TestWebhookWarnsOfMisplacedLabels: the label on a Job or CronJob itself has no effect, which a warning says; the object is
// admitted. What has the label in its template, or nowhere, gets no such warning: since the webhook warns of whatever
// declares no hop, that also says that such an object does not reach it.
func TestWebhookWarnsOfMisplacedLabels(t *testing.T) {
	f := setup(t)
	_, h := f.chain()
	f.usable(h.Name)
	const noEffect = "the label delegation.wayleave.dev/hop has no effect here"
	unlabelled := func(s *corev1.PodTemplateSpec) { s.Labels = nil }
	plainJob := func(name string) client.Object { return f.job(name, "", unlabelled) }
	plainCronJob := func(name string) client.Object {
		c := f.cronJob(name, "")
		c.Spec.JobTemplate.Spec.Template.Labels = nil
		return c
	}
	ofJobTemplate := f.cronJob("job-template", "")
	ofJobTemplate.Spec.JobTemplate.Spec.Template.Labels = nil
	ofJobTemplate.Spec.JobTemplate.Labels = map[string]string{v1alpha1.LabelHop: "isolate"}
	for name, test := range map[string]struct {
		o     client.Object
		patch string // applied after it was created; empty: its creation is what counts
		want  string // where the warning says that the label belongs; empty: no warning
	}{
		"a Job":                        {o: f.labelled(plainJob("job")), want: "put it in spec.template.metadata.labels"},
		"a CronJob":                    {o: f.labelled(plainCronJob("cron")), want: "put it in spec.jobTemplate.spec.template.metadata.labels"},
		"the jobTemplate of a CronJob": {o: ofJobTemplate, want: "put it in spec.jobTemplate.spec.template.metadata.labels"},
		"a Job that gets the label": {
			o: plainJob("later"), patch: `{"metadata":{"labels":{"delegation.wayleave.dev/hop":"isolate"}}}`,
			want: "put it in spec.template.metadata.labels",
		},
		"a Job that has both":               {o: f.labelled(f.job("both", "isolate"))},
		"a CronJob that has both":           {o: f.labelled(f.cronJob("cron-both", "isolate"))},
		"a Job that has it in its template": {o: f.job("right", "isolate")},
		"a Job that has neither":            {o: plainJob("plain")},
		"a CronJob that has neither":        {o: plainCronJob("plain-cron")},
		"another label of such a Job":       {o: f.labelled(plainJob("other")), patch: `{"metadata":{"labels":{"team":"sre"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			inner := *f
			inner.T = t
			c, warnings := inner.warned(f.by)
			create := c
			if test.patch != "" {
				create = inner.as(f.by)
			}
			inner.wantAllowed(create.Create(t.Context(), test.o))
			if test.patch != "" {
				inner.wantAllowed(c.Patch(t.Context(), test.o, client.RawPatch(types.MergePatchType, []byte(test.patch))))
			}
			if got := warnings.all(); !strings.Contains(got, test.want) || strings.Contains(got, noEffect) != (test.want != "") {
				t.Errorf("the warnings are %q, want %q", got, test.want)
			}
		})
	}
	if lines := f.admitted(func(r audit.Record) bool { return strings.HasSuffix(r.Object, "/job") }); len(lines) > 0 {
		t.Errorf("audit lines about a Job that declares no hop: %+v", lines)
	}
}
