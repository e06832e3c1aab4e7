package webhooks

import (
	"context"
	"fmt"
	"slices"

	"gomodules.xyz/jsonpatch/v2"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/workload"
)

// podMutator gives a pod that declares a hop the hop's account, Wayleave's token volume in place of the injected one, and the
// gate at which it waits for the controller; a Pod that no controller makes is stamped with its author. It never denies for
// what a verdict would say: the workload validator does that afterwards.
type podMutator struct {
	recorder
	facts hopFacts
	// validator is asked before a pod is assigned; nil where it denies afterwards what it does not admit.
	validator *workloadValidator
}

func newPodMutator(o Options) *podMutator {
	m := &podMutator{recorder: o.recorder(), facts: o.Gather}
	if o.ReportOnly {
		m.validator = newWorkloadValidator(o)
	}
	return m
}

// Handle assigns one pod.
func (m *podMutator) Handle(ctx context.Context, req admission.Request) admission.Response {
	w, err := workload.Decode("Pod", req.Object.Raw)
	if err != nil || w == nil {
		return m.unanswered(req, delegation.Input{}, malformed(fmt.Errorf("reading a Pod: %w", err)))
	}
	name, declared := w.Hop()
	if !declared || name == "" || req.SubResource != "" {
		return admission.Allowed("")
	}
	key := hopKey(req, name)
	hop, err := m.facts.FindHop(ctx, key)
	if err != nil {
		return m.unstamped(req, namedHop(key), fmt.Errorf("reading hop %s: %w", key, err))
	}
	stamping, err := stampWorkload(req, w, nil, hop)
	if err != nil {
		return m.unstamped(req, namedHop(key), err)
	}
	assignment, err := m.assignment(ctx, req, w, hop, stamping)
	if err != nil {
		return m.unanswered(req, delegation.Input{Chain: delegation.Chain{Hops: []*v1alpha1.DelegationHop{hop}}}, failed(err))
	}
	return admission.Patched("", append(assignment, stamping...)...)
}

// assignment is the patch that makes a pod run as its hop; empty where it may not, and the workload validator says why: the
// account may be deleted already, and the API server would say no more than that it does not find it.
func (m *podMutator) assignment(
	ctx context.Context, req admission.Request, w *workload.Workload, hop *v1alpha1.DelegationHop, stamping []jsonpatch.Operation,
) ([]jsonpatch.Operation, error) {
	if hop == nil || hop.Status.ServiceAccountName == "" {
		return nil, nil
	}
	assignment := w.Assignment(hop.Status.ServiceAccountName)
	if m.validator != nil {
		if !m.validator.admits(ctx, req, slices.Concat(assignment, stamping)) {
			return nil, nil
		}
		return assignment, nil
	}
	in, err := m.facts.Hop(ctx, hop, m.clock.Now())
	if err != nil || delegation.Evaluate(in).Outcome != delegation.Allow {
		return nil, err
	}
	return assignment, nil
}
