package webhooks

import (
	"context"
	"fmt"

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
}

func newPodMutator(o Options) *podMutator {
	return &podMutator{recorder: o.recorder(), facts: o.Gather}
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
		return m.unanswered(req, namedHop(key), failed(fmt.Errorf("reading hop %s: %w", key, err)))
	}
	if hop == nil || hop.Status.ServiceAccountName == "" {
		return admission.Allowed("") // there is nothing to assign; the workload validator says why
	}
	in, err := m.facts.Hop(ctx, hop, m.clock.Now())
	if err != nil {
		return m.unanswered(req, delegation.Input{Chain: delegation.Chain{Hops: []*v1alpha1.DelegationHop{hop}}}, failed(err))
	}
	if delegation.Evaluate(in).Outcome != delegation.Allow {
		// The account may be deleted already, and the API server would say no more than that it does not find it.
		return admission.Allowed("")
	}
	stamping, err := stampWorkload(req, w, nil, hop)
	if err != nil {
		return m.unstamped(req, in, err)
	}
	return admission.Patched("", append(w.Assignment(hop.Status.ServiceAccountName), stamping...)...)
}
