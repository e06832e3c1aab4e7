package controllers

import (
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// eitherSide passes events about objects that count, or counted until now: a ceiling that lost its label, a binding
// that lost its subject, bear on grants just as one that gained it.
func eitherSide(counts func(client.Object) bool) predicate.Predicate {
	p := predicate.NewPredicateFuncs(counts)
	return predicate.Funcs{
		CreateFunc: p.Create, DeleteFunc: p.Delete, GenericFunc: p.Generic,
		UpdateFunc: func(e event.UpdateEvent) bool { return counts(e.ObjectOld) || counts(e.ObjectNew) },
	}
}

// upstreamChanges passes what changes the verdict on hops below a path or a hop. The rest of a link's status, such as how
// many hops it counts, would wake each of them for nothing, and a path may have thousands.
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
		return []any{upstream.Status.ActiveSince, upstream.Status.ExpiresAt, upstream.Status.PathUID, upstream.Status.ParentUID}
	}
	return nil
}

// podChanges passes pods as they come, and those that declare another hop than before. What becomes of a pod later
// changes nothing for its hop.
var podChanges = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool { return declared(e.ObjectOld) != declared(e.ObjectNew) },
	DeleteFunc: func(event.DeleteEvent) bool { return false },
}

func declared(pod metav1.Object) string { return pod.GetLabels()[v1alpha1.LabelHop] }
