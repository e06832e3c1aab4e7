package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/scope"
)

// grant writes the line of a grant before any permission of it is given: which identity may do what. A grant that is
// made again as it was, since another user deleted a part of it, has no other line.
func (r *recorder) grant(in delegation.Input, v delegation.Verdict, g delegation.Grant, plan delegation.Plan, inUse bool) error {
	if plan.Empty() || !g.HasRights(inUse) {
		return nil
	}
	hop := in.Chain.Last()
	of := objectKey{kindHop, delegation.HopKey(hop)}
	permissions := v.Scope.Permissions()
	now := fmt.Sprint(hop.UID, g.Incarnation, permissions)
	r.mu.Lock()
	before := r.granted[of]
	r.mu.Unlock()
	if now == before {
		return nil
	}
	err := r.audit.Write(audit.Record{
		Time: in.Now, Verb: audit.Grant, Actor: delegation.HopActor(v), Object: of.kind + " " + of.key.String(),
		Decision: v.Outcome.String(), Reason: v1alpha1.ReasonGranted,
		Message: fmt.Sprintf("incarnation %d, ServiceAccount %q, may %s", g.Incarnation, g.Account.Name, scope.Describe(permissions)),
	}.About(in))
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.granted == nil {
		r.granted = map[objectKey]string{}
	}
	r.granted[of] = now
	return nil
}

// uses writes a line for each use that begins, before it is counted.
func (r *recorder) uses(in delegation.Input, v delegation.Verdict, before, after *v1alpha1.Uses) error {
	live := map[string]bool{}
	if before != nil {
		for _, use := range before.Live {
			live[use.UID] = true
		}
	}
	hop := in.Chain.Last()
	for _, use := range after.Live {
		if live[use.UID] {
			continue
		}
		if err := r.audit.Write(audit.Record{
			Time: in.Now, Verb: audit.Use, Actor: use.By, Object: kindHop + " " + delegation.HopKey(hop).String(),
			Decision: v.Outcome.String(), Reason: v1alpha1.ReasonGranted,
			Message: fmt.Sprintf("%s %q (UID %s) begins a use, of %s", use.Kind, use.Name, use.UID, after.Summary),
		}.About(in)); err != nil {
			return err
		}
	}
	return nil
}

// deletions remembers each object of a kind as it last was when it is deleted, and enqueues it.
func (r *recorder) deletions(kind string) handler.EventHandler {
	return handler.Funcs{DeleteFunc: func(
		_ context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request],
	) {
		key := client.ObjectKeyFromObject(e.Object)
		r.addDeleted(objectKey{kind, key}, e.Object)
		q.Add(reconcile.Request{NamespacedName: key})
	}}
}

func (r *recorder) addDeleted(of objectKey, objects ...client.Object) {
	if len(objects) == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.deleted == nil {
		r.deleted = map[objectKey][]client.Object{}
	}
	r.deleted[of] = append(r.deleted[of], objects...)
}

// takeDeleted removes and returns the objects of a name that were deleted and have no line yet.
func (r *recorder) takeDeleted(of objectKey) []client.Object {
	r.mu.Lock()
	defer r.mu.Unlock()
	objects := r.deleted[of]
	delete(r.deleted, of)
	return objects
}

// deletion writes the lines of the objects of a name that were deleted. A line that cannot be written is tried again. Who
// deleted an object is in the API server's audit log alone.
func (r *recorder) deletion(ctx context.Context, of objectKey, gather *facts.Gatherer, now time.Time) error {
	var errs []error
	for _, object := range r.takeDeleted(of) {
		record := audit.Record{
			Time: now, Verb: audit.Delete, Actor: delegation.Unknown, Object: of.kind + " " + of.key.String(),
			Decision: delegation.Deny.String(),
		}
		switch o := object.(type) {
		case *v1alpha1.DelegationPath:
			record.Reason, record.Message = v1alpha1.ReasonPathNotFound, "the path was deleted"
			record = record.About(delegation.Input{Path: o})
		case *v1alpha1.DelegationHop:
			record.Reason, record.Message = v1alpha1.ReasonHopNotFound, "the hop was deleted"
			in, err := gather.Chain(ctx, o, now)
			if err != nil { // the hop itself is known
				in = delegation.Input{Chain: delegation.Chain{Hops: []*v1alpha1.DelegationHop{o}}}
			}
			record = record.About(in)
		}
		if err := r.audit.Write(record); err != nil {
			r.addDeleted(of, object)
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
