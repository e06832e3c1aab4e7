package controllers

import (
	"context"
	"fmt"
	"sync"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	toolscache "k8s.io/client-go/tools/cache"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/floor"
)

// FloorWatch knows which policies are not in effect as this release has them. It works in each replica, since each is ready only while
// the floor is whole.
type FloorWatch struct {
	required *floor.Floor
	cache    cache.Cache
	// hops and paths get something when a policy came or went.
	hops, paths chan event.GenericEvent

	mu sync.Mutex
	// gaps are the policies that are not in effect, with why; nil where nobody has looked yet.
	gaps map[string]string
}

// NewFloorWatch watches for all policies of a release.
func NewFloorWatch(required *floor.Floor, c cache.Cache) *FloorWatch {
	return &FloorWatch{required: required, cache: c, hops: make(chan event.GenericEvent, 1), paths: make(chan event.GenericEvent, 1)}
}

// setup has a manager run the watch, and a gatherer know what it finds; nothing where no policy is required. The channels get something
// when a policy came or went, for hops and for paths.
func (w *FloorWatch) setup(mgr ctrl.Manager, gather *facts.Gatherer) (hops, paths <-chan event.GenericEvent, err error) {
	if w == nil {
		return nil, nil, nil
	}
	if err := mgr.Add(w); err != nil {
		return nil, nil, fmt.Errorf("setting up the watch of the policies: %w", err)
	}
	gather.FloorGaps = w.Gaps
	return w.hops, w.paths, nil
}

// Start looks at each policy when it changes.
func (w *FloorWatch) Start(ctx context.Context) error {
	look := func(o any) {
		if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
			o = gone.Obj
		}
		if changed, ok := o.(client.Object); ok {
			w.changed(ctx, changed.GetName())
		}
	}
	for _, o := range []client.Object{
		&admissionregistrationv1.ValidatingAdmissionPolicy{}, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{},
	} {
		informer, err := w.cache.GetInformer(ctx, o)
		if err != nil {
			return fmt.Errorf("watching the policies: %w", err)
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: look, DeleteFunc: look, UpdateFunc: func(_, o any) { look(o) },
		}); err != nil {
			return fmt.Errorf("watching the policies: %w", err)
		}
	}
	<-ctx.Done()
	return nil
}

// NeedLeaderElection says that each replica watches.
func (w *FloorWatch) NeedLeaderElection() bool { return false }

// Names are the names of the policies that are required; none where nothing is.
func (w *FloorWatch) Names() []string {
	if w == nil {
		return nil
	}
	return w.required.Names()
}

// Gap says what is wrong with one of the policies; empty where nothing is.
func (w *FloorWatch) Gap(ctx context.Context, name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookAtAll(ctx)
	return w.gaps[name]
}

// Gaps says what is wrong with the policies in one sentence; empty where nothing is.
func (w *FloorWatch) Gaps(ctx context.Context) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookAtAll(ctx)
	for _, name := range w.required.Names() {
		if gap := w.gaps[name]; gap != "" {
			return delegation.FloorGap(name, gap, len(w.gaps)-1)
		}
	}
	return ""
}

// lookAtAll looks at the policies where nobody has yet: a controller works as soon as its caches are filled.
func (w *FloorWatch) lookAtAll(ctx context.Context) {
	if w.gaps != nil {
		return
	}
	w.gaps = map[string]string{}
	for _, name := range w.required.Names() {
		if gap := w.look(ctx, name); gap != "" {
			w.gaps[name] = gap
		}
	}
}

// changed looks at a policy again, and has all paths and hops be looked at where it came or went.
func (w *FloorWatch) changed(ctx context.Context, name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lookAtAll(ctx)
	before, now := w.gaps[name], w.look(ctx, name)
	if before == now || !w.required.Has(name) {
		return
	}
	if log := ctrl.Log.WithValues("policy", name); now == "" {
		delete(w.gaps, name)
		log.Info("a policy is in effect", "missing", len(w.gaps))
	} else {
		w.gaps[name] = now
		log.Info("a policy is not in effect: nothing new is granted", "why", now)
	}
	for _, told := range []chan event.GenericEvent{w.hops, w.paths} {
		select {
		case told <- event.GenericEvent{}:
		default: // they will look
		}
	}
}

// look compares what is installed under a name.
func (w *FloorWatch) look(ctx context.Context, name string) string {
	policy, binding := &admissionregistrationv1.ValidatingAdmissionPolicy{}, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}
	for _, o := range []client.Object{policy, binding} {
		err := w.cache.Get(ctx, client.ObjectKey{Name: name}, o)
		if client.IgnoreNotFound(err) != nil {
			return "could not be read: " + delegation.APIMessage(err, "there was no answer")
		}
		if apierrors.IsNotFound(err) && o == client.Object(policy) {
			policy = nil
		} else if apierrors.IsNotFound(err) {
			binding = nil
		}
	}
	return w.required.Gap(name, policy, binding)
}
