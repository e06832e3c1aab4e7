package webhooks

import (
	"context"
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// gatekeeper judges pods, and the templates that make them, by the chain of the hop that they declare.
type gatekeeper struct{ base }

// runnable are the kinds that may declare a hop.
var runnable = map[string]bool{"Pod": true, "Job": true, "CronJob": true}

// Handle judges one workload.
func (h *gatekeeper) Handle(ctx context.Context, req admission.Request) admission.Response {
	w, err := decodeWorkload(req.Kind.Kind, req.Object.Raw)
	if err != nil || w == nil {
		return malformed(fmt.Errorf("reading a %s: %w", req.Kind.Kind, err))
	}
	old, err := decodeWorkload(req.Kind.Kind, req.OldObject.Raw)
	if err != nil {
		return malformed(fmt.Errorf("reading the old %s: %w", req.Kind.Kind, err))
	}
	if req.Operation == admissionv1.Update && old == nil {
		return malformed(fmt.Errorf("an update of a %s comes without the object that it replaces", req.Kind.Kind))
	}
	if req.Operation == admissionv1.Update && unchanged(w, old) {
		return admission.Allowed("")
	}
	if reason, problem := h.outOfPlace(req, w, old); problem != "" {
		return h.answered(req, delegation.Input{}, reason, refuse(problem))
	}
	name, declared := w.hop()
	if !declared {
		return admission.Allowed("") // an update that takes the label out of a template: from now on it is none of ours
	}
	return h.judge(ctx, req, w, name)
}

// outOfPlace says what is wrong with a declaration before any hop is looked at; empty if nothing is.
func (h *gatekeeper) outOfPlace(req admission.Request, w, old *workload) (v1alpha1.Reason, string) {
	name, declared := w.hop()
	if !w.template && req.Operation == admissionv1.Update {
		if before, wasDeclared := old.hop(); declared != wasDeclared || before != name {
			return v1alpha1.ReasonWorkloadNotAllowed, fmt.Sprintf("the label %s of a pod cannot be changed: make a new pod", v1alpha1.LabelHop)
		}
		if declared {
			return v1alpha1.ReasonWorkloadNotAllowed, "a pod that runs under a hop stays as it was admitted: no ephemeral containers, no other image, no other declaration; make a new pod"
		}
	}
	switch {
	case !declared && strings.HasPrefix(w.spec.ServiceAccountName, v1alpha1.AccountPrefix):
		return v1alpha1.ReasonWrongServiceAccount, fmt.Sprintf("ServiceAccount %q belongs to a hop: declare the hop with the label %s on the pod template and leave serviceAccountName out", w.spec.ServiceAccountName, v1alpha1.LabelHop)
	case declared && !runnable[w.kind]:
		return v1alpha1.ReasonWorkloadNotAllowed, fmt.Sprintf("a %s cannot run under a hop: the label %s is for Pods, Jobs and CronJobs", w.kind, v1alpha1.LabelHop)
	case declared && name == "":
		return v1alpha1.ReasonHopNotFound, fmt.Sprintf("the label %s is empty: name the hop, or leave the label out", v1alpha1.LabelHop)
	}
	return "", ""
}

// judge asks for the verdict. A pod is refused whatever the reason is; a template passes with a warning if its reason
// may pass by itself, so that path, hop and Job can be applied together. Whether the author may use the hop is known
// now or never: the pods of a template are made by a controller, which is not asked.
func (h *gatekeeper) judge(ctx context.Context, req admission.Request, w *workload, name string) admission.Response {
	in, err := h.input(ctx, req, w, name)
	if err != nil {
		return failed(err)
	}
	v := delegation.Evaluate(in)
	waits := w.template && v.Class() == v1alpha1.ClassWaiting && in.Workload.Use.Outcome == delegation.Allow
	if v.Outcome == delegation.Allow || waits {
		if problem := misassigned(w, in); problem != "" {
			return h.answered(req, in, v1alpha1.ReasonWorkloadNotAllowed, refuse(denial(name, in, problem)))
		}
	}
	if v.Outcome == delegation.Allow {
		return h.answered(req, in, v1alpha1.ReasonGranted, admission.Allowed(""))
	}
	if f, ok := v.Find(v1alpha1.ReasonNotPermittedToUse); ok {
		v.Findings = []delegation.Finding{f} // what the hop allows, and how it stands, is not for strangers
	}
	message := denial(name, in, v.RelativeMessage(in.Now))
	if waits {
		return h.answered(req, in, v.Reason(v1alpha1.ReasonGranted), admission.Allowed("").WithWarnings(message+"; its pods are refused until then"))
	}
	return h.answered(req, in, v.Reason(v1alpha1.ReasonGranted), refuse(message))
}

func (h *gatekeeper) input(ctx context.Context, req admission.Request, w *workload, name string) (delegation.Input, error) {
	key, now := hopKey(req, name), h.Clock.Now()
	use := delegation.Answer{Outcome: delegation.Allow}
	if !w.fromController(req) {
		use = h.Gather.MayUse(ctx, requester(req.UserInfo), key)
	}
	in := delegation.Input{Now: now}
	hop, err := h.Gather.FindHop(ctx, key)
	if err != nil {
		return in, fmt.Errorf("reading hop %s: %w", key, err)
	}
	if hop != nil {
		if in, err = h.Gather.Hop(ctx, hop, now); err != nil {
			return in, err
		}
	}
	in.Workload = w.asked(req, use)
	return in, nil
}

// denial is a refusal that reads like help.
func denial(name string, in delegation.Input, why string) string {
	of := ""
	if hop := in.Chain.Last(); hop != nil {
		of = fmt.Sprintf(" of path %q", delegation.PathKey(hop).String())
	}
	return fmt.Sprintf("hop %q%s may not be used: %s", name, of, why)
}
