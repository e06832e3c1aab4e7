// Package webhooks answers the API server's admission requests: it decodes, asks internal/delegation, and answers. It
// makes no decision of its own, writes nothing, and has no rights: authority is in RBAC and ServiceAccounts.
package webhooks

import (
	"context"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/metrics"
)

// The HTTP paths that the webhook configurations name.
const (
	PathMutateDelegation   = "/mutate-delegation"
	PathValidateDelegation = "/validate-delegation"
	PathMutatePod          = "/mutate-pod"
	PathMutateTemplate     = "/mutate-template"
	PathValidateWorkload   = "/validate-workload"
	PathWarnOfLabel        = "/warn-of-label"
	PathMutateApproval     = "/mutate-approval"
	PathValidateApproval   = "/validate-approval"
)

// Options are what the handlers are made from. Each takes only what it needs.
type Options struct {
	// Gather gathers the inputs of verdicts.
	Gather *facts.Gatherer
	// Audit gets a line for each decision.
	Audit *audit.Log
	// Strict denies also what depends on the present state of another object, which may be applied later.
	Strict bool
	// ReportOnly lets Jobs and Pods pass that would be denied, with a warning. They run as they do without Wayleave.
	ReportOnly bool
	// Clock is the time; nil means the real one.
	Clock clock.PassiveClock
	// Registry gets the metrics; nil means that they are not served.
	Registry prometheus.Registerer

	metrics *metrics.Admission
}

func (o Options) recorder() recorder {
	return recorder{log: o.Audit, clock: o.Clock, metrics: o.metrics, reportOnly: o.ReportOnly}
}

// Setup registers the webhooks with a manager's server.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if err := facts.Index(ctx, mgr.GetFieldIndexer()); err != nil {
		return fmt.Errorf("setting up the webhooks: %w", err)
	}
	if o.metrics = metrics.NewAdmission(); o.Registry != nil {
		if err := o.Registry.Register(o.metrics); err != nil {
			return fmt.Errorf("registering the metrics of the webhooks: %w", err)
		}
	}
	if o.Gather.Isolation != nil {
		if err := mgr.Add(o.Gather.Isolation); err != nil {
			return fmt.Errorf("setting up the watch of RBAC: %w", err)
		}
	}
	register(mgr.GetWebhookServer(), o)
	return nil
}

// register registers the webhooks with a server.
func register(server webhook.Server, o Options) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	for path, handler := range handlers(o) {
		server.Register(path, &webhook.Admission{Handler: timed{handler, o.metrics, o.Clock}, RecoverPanic: new(true)})
	}
}

// timed measures how long the answers of a handler take.
type timed struct {
	admission.Handler
	metrics *metrics.Admission
	clock   clock.PassiveClock
}

// Handle answers as the handler does.
func (t timed) Handle(ctx context.Context, req admission.Request) admission.Response {
	begin := t.clock.Now()
	response := t.Handler.Handle(ctx, req)
	t.metrics.Answered(req.Kind.Kind, t.clock.Since(begin))
	return response
}

func handlers(o Options) map[string]admission.Handler {
	return map[string]admission.Handler{
		PathMutateDelegation:   newDelegationMutator(o),
		PathValidateDelegation: newDelegationValidator(o),
		PathMutatePod:          newPodMutator(o),
		PathMutateTemplate:     newTemplateMutator(o),
		PathValidateWorkload:   newWorkloadValidator(o),
		PathWarnOfLabel:        newLabelWarner(o),
		PathMutateApproval:     &approvalMutator{o.recorder()},
		PathValidateApproval:   &approvalValidator{recorder: o.recorder(), facts: o.Gather},
	}
}
