package controllers

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
)

// upstreamChanges passes what changes the verdict on hops below a path or a hop. The rest of the status, such as how many
// hops a path counts, would requeue each of them for nothing, and a path may have thousands.
var upstreamChanges = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, after := e.ObjectOld, e.ObjectNew
	return before.GetUID() != after.GetUID() || before.GetGeneration() != after.GetGeneration() ||
		before.GetDeletionTimestamp().IsZero() != after.GetDeletionTimestamp().IsZero() ||
		!equality.Semantic.DeepEqual(verdictStatus(before), verdictStatus(after))
}}

// verdictStatus is the part of an upstream object's status that a verdict reads.
func verdictStatus(o client.Object) []any {
	switch upstream := o.(type) {
	case *v1alpha1.DelegationPath:
		return []any{upstream.Status.ActiveSince, upstream.Status.ExpiresAt, upstream.Status.Approval}
	case *v1alpha1.DelegationHop:
		s := upstream.Status
		return []any{s.ActiveSince, s.ExpiresAt, s.PathUID, s.ParentUID, s.Ended}
	}
	return nil
}

// comesOrGoes passes what was created or deleted, or has another author or parent.
var comesOrGoes = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*v1alpha1.DelegationHop)
	after, alsoHop := e.ObjectNew.(*v1alpha1.DelegationHop)
	return ok && alsoHop &&
		(before.Status.ParentUID != after.Status.ParentUID || !equality.Semantic.DeepEqual(before.Spec.Author, after.Spec.Author))
}}

// bindsOthers passes bindings that came or went, or give something to others than before.
var bindsOthers = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool { return !rbac.SameRights(e.ObjectOld, e.ObjectNew) }}

// tokenMoves passes hops that begin or end to keep their token in a Secret.
var tokenMoves = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*v1alpha1.DelegationHop)
	after, alsoHop := e.ObjectNew.(*v1alpha1.DelegationHop)
	return ok && alsoHop && delegation.TokenSecret(before) != delegation.TokenSecret(after)
}}

// claimChanges passes paths that begin or end to have the Secrets that they name for themselves.
var claimChanges = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*v1alpha1.DelegationPath)
	after, alsoPath := e.ObjectNew.(*v1alpha1.DelegationPath)
	return ok && alsoPath && (before.Generation != after.Generation || delegation.IsActive(before) != delegation.IsActive(after))
}}

// podChanges passes what changes something for the hop of a pod: the pod is created, moves on, waits at other gates, ends, or
// declares another hop than before. The Job controller removes its finalizer from a pod that it has counted, right before it
// says that the Job has ended.
var podChanges = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	before, ok := e.ObjectOld.(*corev1.Pod)
	after, alsoPod := e.ObjectNew.(*corev1.Pod)
	return ok && alsoPod && (before.Labels[v1alpha1.LabelHop] != after.Labels[v1alpha1.LabelHop] ||
		before.Status.Phase != after.Status.Phase || before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
		len(before.Spec.SchedulingGates) != len(after.Spec.SchedulingGates) || len(before.Finalizers) != len(after.Finalizers))
}}
