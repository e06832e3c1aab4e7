// Package webhooks answers the API server's admission requests: it decodes, asks internal/delegation, and answers. It
// makes no decision of its own, writes nothing, and has no rights: authority is in RBAC and ServiceAccounts.
package webhooks

import (
	"context"
	"fmt"

	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/facts"
)

// The HTTP paths that the webhook configurations name.
const (
	PathMutateDelegation   = "/mutate-delegation"
	PathValidateDelegation = "/validate-delegation"
	PathMutatePod          = "/mutate-pod"
	PathMutateTemplate     = "/mutate-template"
	PathValidateWorkload   = "/validate-workload"
	PathWarnOfLabel        = "/warn-of-label"
)

// Options are what the handlers are made from. Each takes only what it needs.
type Options struct {
	// Gather gathers the inputs of verdicts.
	Gather *facts.Gatherer
	// Audit gets a line for each decision.
	Audit *audit.Log
	// Strict denies also what depends on the present state of another object, which may be applied later.
	Strict bool
	// Clock is the time; nil means the real one.
	Clock clock.PassiveClock
}

// Setup registers the webhooks with a manager's server.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if err := facts.Index(ctx, mgr.GetFieldIndexer()); err != nil {
		return fmt.Errorf("setting up the webhooks: %w", err)
	}
	Register(mgr.GetWebhookServer(), o)
	return nil
}

// Register registers the webhooks with a server.
func Register(server webhook.Server, o Options) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	for path, handler := range handlers(o) {
		server.Register(path, &webhook.Admission{Handler: handler, RecoverPanic: new(true)})
	}
}

func handlers(o Options) map[string]admission.Handler {
	return map[string]admission.Handler{
		PathMutateDelegation:   newDelegationMutator(o),
		PathValidateDelegation: newDelegationValidator(o),
		PathMutatePod:          newPodMutator(o),
		PathMutateTemplate:     newTemplateMutator(o),
		PathValidateWorkload:   newWorkloadValidator(o),
		PathWarnOfLabel:        newLabelWarner(o),
	}
}
