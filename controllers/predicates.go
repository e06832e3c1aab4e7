package controllers

import (
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
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
		return []any{upstream.Status.ActiveSince, upstream.Status.ExpiresAt}
	case *v1alpha1.DelegationHop:
		s := upstream.Status
		return []any{s.ActiveSince, s.ExpiresAt, s.PathUID, s.ParentUID, s.Ended}
	}
	return nil
}

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

// podChanges passes pods when they are created, and those that declare another hop than before. Nothing else that happens
// to a pod changes anything for its hop.
var podChanges = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetLabels()[v1alpha1.LabelHop] != e.ObjectNew.GetLabels()[v1alpha1.LabelHop]
	},
	DeleteFunc: func(event.DeleteEvent) bool { return false },
}
