package webhooks

import (
	"context"
	"encoding/json"
	"fmt"

	jsonpatchapply "github.com/evanphx/json-patch/v5"
	"gomodules.xyz/jsonpatch/v2"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/workload"
)

// wouldDeny is the audit annotation of a request that is denied where Wayleave does not only report. The API server puts the name
// of the webhook before it.
const wouldDeny = "would-deny"

// verdictWarn is the verdict, in audit lines and metrics, of what passes with a warning, and runs as without Wayleave.
const verdictWarn = "Warn"

// deny denies a workload, or reports that it would be denied. What takes the account of a hop is denied in any case: it would run
// as the hop. So is what a hop made: it would run outside its path.
func (v *workloadValidator) deny(
	req admission.Request, w *workload.Workload, in delegation.Input, reason v1alpha1.Reason, response admission.Response,
) admission.Response {
	if !v.reportOnly || workload.TakesAccount(&w.Spec) || madeByHop(req, in) {
		return v.record(req, in, reason, response)
	}
	message := response.Result.Message
	if w.Owner != nil { // whoever reads this looks for what a person made
		message += fmt.Sprintf(" (it is made by %s %q)", w.Owner.Kind, w.Owner.Name)
	}
	passes := admission.Allowed("").WithWarnings(
		"it runs as without Wayleave, which only reports that it would deny it: " + response.Result.Message)
	passes.AuditAnnotations = map[string]string{wouldDeny: fmt.Sprintf("%s: %s", reason, message)}
	return v.reported(req, in, reason, message, passes)
}

// madeByHop says whether a hop makes a workload, or made what makes it.
func madeByHop(req admission.Request, in delegation.Input) bool {
	return delegation.IsHopAccount(req.UserInfo.Username) || in.Workload != nil && delegation.IsHopAccount(in.Workload.Author)
}

// reported records a request that passes with a warning. Nothing is refused for an audit line that cannot be written.
func (r recorder) reported(
	req admission.Request, in delegation.Input, reason v1alpha1.Reason, message string, response admission.Response,
) admission.Response {
	if err := r.write(req, in, reason, verdictWarn, message); err != nil {
		response = response.WithWarnings(unwritten(err))
	}
	r.metrics.Decided(req.Kind.Kind, verdictWarn, reason)
	return response
}

// admits says whether a pod is going to be admitted once it is patched. What is not known is not admitted.
func (v *workloadValidator) admits(ctx context.Context, req admission.Request, operations []jsonpatch.Operation) bool {
	w, err := patched(req, operations)
	if err != nil {
		return false
	}
	name, _ := w.Hop()
	in, err := v.input(ctx, req, w, name)
	if err != nil {
		return false
	}
	_, response := v.answer(req, w, name, in)
	return response.Allowed
}

// patched is the pod of a request once it is patched.
func patched(req admission.Request, operations []jsonpatch.Operation) (*workload.Workload, error) {
	raw, err := json.Marshal(operations)
	if err != nil {
		return nil, fmt.Errorf("encoding a patch: %w", err)
	}
	patch, err := jsonpatchapply.DecodePatch(raw)
	if err != nil {
		return nil, fmt.Errorf("reading a patch: %w", err)
	}
	if raw, err = patch.Apply(req.Object.Raw); err != nil {
		return nil, fmt.Errorf("applying a patch: %w", err)
	}
	return workload.Decode(req.Kind.Kind, raw)
}
