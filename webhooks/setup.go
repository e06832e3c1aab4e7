// Package webhooks answers the API server's admission requests. It decodes, asks internal/delegation, and answers. It
// decides nothing by itself, writes nothing, and holds no right: authority lives in RBAC and ServiceAccounts.
package webhooks

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/rbac"
)

// The paths that the webhook configurations name.
const (
	PathStamp     = "/stamp-delegation"
	PathJudge     = "/judge-delegation"
	PathAssign    = "/assign-pod"
	PathAdmission = "/judge-workload"
)

// Options are what the webhooks are told from outside.
type Options struct {
	// Gather gathers the inputs of verdicts.
	Gather *facts.Gatherer
	// Audit gets a line for each decision.
	Audit *audit.Log
	// Clock is the time; nil means the real one.
	Clock clock.PassiveClock
}

type base struct {
	Options
	decoder admission.Decoder
}

// Setup registers the webhooks with a manager's server.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if err := rbac.Index(ctx, mgr.GetFieldIndexer()); err != nil {
		return fmt.Errorf("setting up the webhooks: %w", err)
	}
	Register(mgr.GetWebhookServer(), mgr.GetScheme(), o)
	return nil
}

// Register registers the webhooks with a server.
func Register(server webhook.Server, scheme *runtime.Scheme, o Options) {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	b := base{Options: o, decoder: admission.NewDecoder(scheme)}
	for path, handler := range map[string]admission.Handler{
		PathStamp:     &stamper{b},
		PathJudge:     &judge{b},
		PathAssign:    &assigner{b},
		PathAdmission: &gatekeeper{b},
	} {
		server.Register(path, &webhook.Admission{Handler: handler, RecoverPanic: new(true)})
	}
}
