package webhooks

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// labelWarner warns of the label of a hop where it has no effect: in the metadata of a Job or CronJob, and not in that of
// the pod template. The match conditions of its webhook find such objects. It decides nothing, so what it can read has no
// audit line.
type labelWarner struct{ recorder }

func newLabelWarner(o Options) *labelWarner {
	return &labelWarner{o.recorder()}
}

// Handle warns of one object.
func (l *labelWarner) Handle(_ context.Context, req admission.Request) admission.Response {
	w, _, err := decodeWorkloads(req)
	if err != nil {
		return l.unanswered(req, delegation.Input{}, malformed(err))
	}
	if _, declared := w.Hop(); declared {
		return admission.Allowed("")
	}
	return admission.Allowed("").WithWarnings(fmt.Sprintf(
		"the label %s has no effect here, and the pods of this %s run under no hop: put it in %s",
		v1alpha1.LabelHop, w.Kind, w.Field("metadata.labels")))
}
