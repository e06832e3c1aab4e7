// Package controllers makes the cluster be as the verdicts say: it gathers what a verdict depends on, asks
// internal/delegation, plans, and applies. It decides nothing by itself.
package controllers

import (
	"context"
	"fmt"
	"time"

	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
)

// FieldOwner is the owner of the fields that the controllers apply.
const FieldOwner = client.FieldOwner("wayleave")

// Options are what the controllers are told from outside.
type Options struct {
	// Gather gathers the inputs of verdicts.
	Gather *facts.Gatherer
	// Audit gets a line for each transition.
	Audit *audit.Log
	// Clock is the time; nil means the real one.
	Clock clock.PassiveClock
	// Kubeconfig says how a delegate that is no pod reaches the API server.
	Kubeconfig Kubeconfig
	// MaxFactAge is how long a grant stands while a fact that decides cannot be found out.
	MaxFactAge time.Duration
	// SweepEvery is how often what lost its hop is looked for.
	SweepEvery time.Duration
	// Concurrency is how many hops are worked on at the same time.
	Concurrency int
}

// base is what both reconcilers share.
type base struct {
	client.Client
	live     client.Reader
	recorder events.EventRecorder
	Options
}

// Setup adds the controllers to a manager.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if err := index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	b := base{Client: mgr.GetClient(), live: mgr.GetAPIReader(), recorder: mgr.GetEventRecorder("wayleave"), Options: o}
	if err := (&PathReconciler{base: b}).setup(mgr); err != nil {
		return fmt.Errorf("setting up the path controller: %w", err)
	}
	if err := (&HopReconciler{base: b}).setup(mgr); err != nil {
		return fmt.Errorf("setting up the hop controller: %w", err)
	}
	if err := mgr.Add(&Sweeper{base: b}); err != nil {
		return fmt.Errorf("setting up the sweep: %w", err)
	}
	return nil
}

// queueOptions retry within seconds. controller-runtime's default of 1000 s would leave a right standing for a quarter
// of an hour because of one failed delete.
func queueOptions(concurrency int) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: concurrency,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](50*time.Millisecond, 5*time.Second),
	}
}

// actor is who the audit log and the history name where nobody caused a transition.
const actor = "wayleave"

// transition writes the audit line of an object that has come to another state.
func (b *base) transition(in delegation.Input, object, who string, v delegation.Verdict, r audit.Record) error {
	r.Time, r.Verb, r.Object, r.Actor, r.Decision = in.Now, "transition", object, who, v.Outcome.String()
	return b.Audit.Write(r.About(in))
}
