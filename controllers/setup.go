// Package controllers makes the cluster match the verdicts: it gathers what a verdict depends on, asks
// internal/delegation, and applies what that plans. It decides nothing.
package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/grants"
	"github.com/wayleave/wayleave/internal/metrics"
)

// Options configure the controllers.
type Options struct {
	// Gather gathers the inputs of verdicts.
	Gather *facts.Gatherer
	// Audit gets a line for each transition.
	Audit *audit.Log
	// Clock is the time; nil means the real one.
	Clock clock.PassiveClock
	// Kubeconfig says how the holder of a token that is no pod reaches the API server.
	Kubeconfig grants.Kubeconfig
	// MaxFactAge is how long a grant exists while a fact that decides cannot be determined.
	MaxFactAge time.Duration
	// RecheckEvery is how often paths and hops are looked at again although nothing has changed that is watched: authorizers other than
	// RBAC tell nobody when they change their mind.
	RecheckEvery time.Duration
	// SweepEvery is how often grants whose hop no longer exists are looked for.
	SweepEvery time.Duration
	// Concurrency is how many hops are reconciled at the same time.
	Concurrency int
	// ReportOnly leaves alone what declares a hop and does not run as it: admission let it pass with a warning.
	ReportOnly bool
	// Floor knows whether the policies are in effect; nil where none is required.
	Floor *FloorWatch
	// Registry gets the metrics; nil means that they are not served.
	Registry prometheus.Registerer
}

// pathConcurrency is how many paths are reconciled at the same time. A path's reconcile is short.
const pathConcurrency = 4

// Setup adds the controllers to a manager.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if err := index(ctx, mgr.GetFieldIndexer(), o.ReportOnly); err != nil {
		return err
	}
	c, live, events := mgr.GetClient(), mgr.GetAPIReader(), mgr.GetEventRecorder("wayleave")
	granter := &grants.Manager{Client: c, Live: live, Kubeconfig: o.Kubeconfig}
	served, err := metricsOf(c, o)
	if err != nil {
		return err
	}
	record := &recorder{status: c.Status(), objects: c, events: events, audit: o.Audit, metrics: served}
	unbinding, rights := newUnbinding(), newAuthority(mgr.GetCache(), o.Gather.Accounts, o.Gather.Controller)
	ofHops, ofPaths, err := o.watches(mgr)
	if err != nil {
		return err
	}
	path := &PathReconciler{
		hops: facts.Hops{Reader: c}, gather: o.Gather, grants: granter, record: record, clock: o.Clock, unbinding: unbinding, floor: ofPaths,
		authority: rights.toPaths, recheck: o.RecheckEvery,
	}
	if err := path.setup(mgr); err != nil {
		return fmt.Errorf("setting up the path controller: %w", err)
	}
	hop := &HopReconciler{
		hops: facts.Hops{Reader: c}, live: live, gather: o.Gather, grants: granter, record: record, clock: o.Clock, maxFactAge: o.MaxFactAge,
		stopper: newWorkloadStopper(c, live, events, o.ReportOnly), waits: newWaits(), declarers: newDeclarers(),
		unbinding: unbinding, floor: ofHops, authority: rights.toHops, recheck: o.RecheckEvery,
	}
	standby := &Standby{
		hops: facts.Hops{Reader: c}, gather: o.Gather, grants: granter, clock: o.Clock, elected: mgr.Elected(), stopper: hop.stopper,
	}
	if err := standby.setup(mgr); err != nil {
		return fmt.Errorf("setting up the standby controller: %w", err)
	}
	tokens := newTokenChecker(facts.Hops{Reader: c}, granter)
	superseded := newSupersededJobs(facts.Hops{Reader: c}, live, hop.waits)
	if err := hop.setup(mgr, o.Concurrency, tokens.lost, superseded.found); err != nil {
		return fmt.Errorf("setting up the hop controller: %w", err)
	}
	return addAll(mgr, rights, superseded, tokens, &Sweeper{cache: c, live: live, grants: granter, every: o.SweepEvery})
}

func addAll(mgr ctrl.Manager, runnables ...manager.Runnable) error {
	for _, r := range runnables {
		if err := mgr.Add(r); err != nil {
			return fmt.Errorf("setting up %T: %w", r, err)
		}
	}
	return nil
}

// watches has a manager run what looks at the policies, and at who can act as hops. The channels get something when a policy came or
// went, for hops and for paths.
func (o Options) watches(mgr ctrl.Manager) (hops, paths <-chan event.GenericEvent, err error) {
	if o.Gather.Isolation != nil {
		if err := mgr.Add(o.Gather.Isolation); err != nil {
			return nil, nil, fmt.Errorf("setting up the watch of RBAC: %w", err)
		}
	}
	return o.Floor.setup(mgr, o.Gather)
}

// metricsOf are the metrics of the controllers, registered if they are to be served.
func metricsOf(cache client.Reader, o Options) (*metrics.Controller, error) {
	m := metrics.NewController(cache, o.Clock)
	if o.Registry == nil {
		return m, nil
	}
	if err := o.Registry.Register(m); err != nil {
		return nil, fmt.Errorf("registering the metrics of the controllers: %w", err)
	}
	return m, nil
}

// queueOptions retry within seconds. With controller-runtime's default of 1000 s, one failed delete would leave a right in
// effect for a quarter of an hour.
func queueOptions(concurrency int) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: concurrency,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 5*time.Second),
	}
}
