package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

const (
	// effectWithin is how long a pass waits for the API server to let the account do what it was granted, and effectPoll how
	// often it asks.
	effectWithin = 2 * time.Second
	effectPoll   = 5 * time.Millisecond
)

// countUses writes the uses that begin into the status, before anything is given to them. It fails with a conflict if the hop
// has changed since it was read.
func (r *HopReconciler) countUses(ctx context.Context, p *pass) error {
	hop := p.hop()
	if !delegation.InUse(p.next) || equality.Semantic.DeepEqual(hop.Status.Uses, p.next.Uses) {
		return nil
	}
	if err := r.record.uses(p.in, p.v, hop.Status.Uses, p.next.Uses); err != nil {
		return err
	}
	return r.record.writeHop(ctx, hop, p.next)
}

// openGates lets the pods start that may, once the API server lets their account do what it was granted, and says of the others
// why they do not.
func (r *HopReconciler) openGates(ctx context.Context, p *pass) error {
	var open, refused []gatedPod
	for _, g := range p.atGate {
		if g.refused == nil {
			open = append(open, g)
		} else {
			refused = append(refused, g)
		}
	}
	errs := []error{r.refuseAll(ctx, p, refused), r.noLongerHeld(ctx, p)}
	if len(open) == 0 {
		return errors.Join(errs...)
	}
	if err := r.awaitEffect(ctx, p); err != nil {
		return errors.Join(append(errs, err, r.holdAll(ctx, p))...)
	}
	if err := r.checkAgain(ctx, p); err != nil {
		return errors.Join(append(errs, err)...)
	}
	errs = append(errs, inParallel(open, func(g gatedPod) error { return r.open(ctx, p, g) }))
	if p.deniedOpen.Load() {
		p.again = delegation.Sooner(p.again, delegation.DeniedRetry)
	}
	return errors.Join(errs...)
}

// checkAgain fails with a conflict if the chain is not valid any more: writing a grant takes some time, in which a path may be
// revoked, or everything frozen. The next pass withdraws then.
func (r *HopReconciler) checkAgain(ctx context.Context, p *pass) error {
	var in delegation.Input
	var freeze delegation.Freeze
	if err := atOnce(
		func() (err error) { in, err = p.gather.Chain(ctx, p.hop(), r.clock.Now()); return err },
		func() error { freeze = p.gather.Freeze(ctx); return nil },
		func() error { return r.checkUpToDate(ctx, p.hop()) },
	); err != nil {
		return err
	}
	in.Facts = p.in.Facts
	in.Facts.Freeze = freeze
	if delegation.Evaluate(in).Outcome != delegation.Allow {
		return apierrors.NewConflict(hopResource, p.hop().Name, errStale)
	}
	return nil
}

// awaitEffect waits until the API server lets the account of a hop do what it was granted: its authorizer learns of a binding
// some milliseconds after it was written.
func (r *HopReconciler) awaitEffect(ctx context.Context, p *pass) error {
	account := types.NamespacedName{Namespace: p.hop().Namespace, Name: p.next.ServiceAccountName}
	err := wait.PollUntilContextTimeout(ctx, effectPoll, effectWithin, true, func(ctx context.Context) (bool, error) {
		return r.gather.InEffect(ctx, account, p.v.Scope).Outcome == delegation.Allow, nil
	})
	if wait.Interrupted(err) && ctx.Err() == nil {
		return errNotInEffect
	}
	return err
}

var errNotInEffect = errors.New("the API server does not let the account do yet what it was granted")

// open removes the gate of a pod and bounds how long it runs, in one update. It fails with a conflict if the pod is not the one
// any more that was decided about.
func (r *HopReconciler) open(ctx context.Context, p *pass, g gatedPod) error {
	now := &corev1.Pod{}
	if err := r.hops.Get(ctx, client.ObjectKeyFromObject(g.pod), now); err != nil {
		return client.IgnoreNotFound(err)
	}
	if now.UID != g.pod.UID || !equality.Semantic.DeepEqual(now.Spec, g.pod.Spec) || !equality.Semantic.DeepEqual(now.Labels, g.pod.Labels) {
		return apierrors.NewConflict(corev1.Resource("pods"), g.pod.Name, errStale)
	}
	deadline := delegation.Deadline(p.hop(), *delegation.LiveUse(p.next, g.Use.UID), p.v, r.clock.Now())
	if d := g.pod.Spec.ActiveDeadlineSeconds; d != nil {
		deadline = min(deadline, *d)
	}
	raw, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": now.UID, "resourceVersion": now.ResourceVersion},
		"spec":     map[string]any{"schedulingGates": nil, "activeDeadlineSeconds": deadline},
	})
	if err != nil {
		return fmt.Errorf("encoding a patch: %w", err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: now.Namespace, Name: now.Name}}
	err = r.stopper.client.Patch(ctx, pod, client.RawPatch(types.MergePatchType, raw))
	switch {
	case apierrors.IsNotFound(err):
		return nil
	case isDenied(err):
		p.deniedOpen.Store(true)
		return r.stopper.hold(ctx, now, delegation.Finding{Reason: v1alpha1.ReasonGrantDenied, Message: err.Error()}, metav1.NewTime(p.in.Now))
	case err != nil:
		return fmt.Errorf("opening the gate of pod %s: %w", client.ObjectKeyFromObject(pod), err)
	}
	return nil
}
