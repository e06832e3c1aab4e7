package webhooks

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/internal/delegation"
)

// templateMutator stamps Jobs and CronJobs that declare a hop with their author, on whose right to use the hop their pods
// start. Templates are not changed.
type templateMutator struct {
	recorder
	facts hopFacts
}

func newTemplateMutator(o Options) *templateMutator {
	return &templateMutator{recorder: o.recorder(), facts: o.Gather}
}

// Handle stamps one Job or CronJob.
func (m *templateMutator) Handle(ctx context.Context, req admission.Request) admission.Response {
	w, old, err := decodeWorkloads(req)
	if err != nil {
		return m.unanswered(req, delegation.Input{}, malformed(err))
	}
	name, declared := w.Hop()
	if !declared || name == "" { // of an empty name the validator says what is wrong
		operations, err := w.Stamping(nil) // it may have declared one before
		if err != nil {
			return m.unanswered(req, delegation.Input{}, failed(err))
		}
		return admission.Patched("", operations...)
	}
	key := hopKey(req, name)
	hop, err := m.facts.FindHop(ctx, key)
	if err != nil {
		return m.unstamped(req, namedHop(key), fmt.Errorf("reading hop %s: %w", key, err))
	}
	operations, err := stampWorkload(req, w, old, hop)
	if err != nil {
		return m.unstamped(req, namedHop(key), err)
	}
	return admission.Patched("", operations...)
}
