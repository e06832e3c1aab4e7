package controllers

import (
	"context"
	"fmt"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/floor"
	"github.com/wayleave/wayleave/internal/grants"
	"github.com/wayleave/wayleave/internal/workload"
)

// CacheOptions are those of the cache that the controllers need. Of ServiceAccounts and pods it holds only those that
// have to do with hops, and it drops managed fields, which are never read and can be half of an object. The namespace is the
// operator's. Where Wayleave only reports, anybody may have pods with the label: of one that does not run as a hop only its name is
// kept.
func CacheOptions(namespace string, reportOnly bool) cache.Options {
	pods := cache.ByObject{Label: withLabel(v1alpha1.LabelHop)}
	if reportOnly {
		pods.Transform = namesOfOthers
	}
	return cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&corev1.ServiceAccount{}: {Label: withLabel(grants.CacheLabel)},
			&corev1.Pod{}:            pods,
			&corev1.ConfigMap{}:      facts.FreezeCache(namespace),
			&admissionregistrationv1.ValidatingAdmissionPolicy{}:        {Label: withLabel(floor.Label)},
			&admissionregistrationv1.ValidatingAdmissionPolicyBinding{}: {Label: withLabel(floor.Label)},
		},
	}
}

// namesOfOthers keeps no more than the name of a pod that does not run as a hop.
func namesOfOthers(o any) (any, error) {
	pod, ok := o.(*corev1.Pod)
	if !ok || runsAsHop(pod) {
		return cache.TransformStripManagedFields()(o)
	}
	return &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: pod.Namespace, Name: pod.Name, UID: pod.UID, ResourceVersion: pod.ResourceVersion,
		Labels: map[string]string{v1alpha1.LabelHop: pod.Labels[v1alpha1.LabelHop]},
	}}, nil
}

func withLabel(key string) labels.Selector {
	exists, err := labels.NewRequirement(key, selection.Exists, nil)
	if err != nil { // the keys are constants
		panic(err)
	}
	return labels.NewSelector().Add(*exists)
}

// declaredIndex is the field index, a namespace/name, of pods by the hop that they declare. Where Wayleave only reports, those that
// do not run as a hop are not in it.
const declaredIndex = "declared"

func index(ctx context.Context, indexer client.FieldIndexer, reportOnly bool) error {
	if err := facts.Index(ctx, indexer); err != nil {
		return err
	}
	if err := grants.Index(ctx, indexer); err != nil {
		return err
	}
	if err := indexer.IndexField(ctx, &corev1.Pod{}, declaredIndex, func(o client.Object) []string {
		if key, ok := declaredHop(o); ok && (!reportOnly || runsAsHop(o)) {
			return []string{key.String()}
		}
		return nil
	}); err != nil {
		return fmt.Errorf("indexing pods by hop: %w", err)
	}
	return nil
}

// runsAsHop says whether a pod has the account of a hop.
func runsAsHop(o client.Object) bool {
	pod, ok := o.(*corev1.Pod)
	return ok && workload.TakesAccount(&pod.Spec)
}

// declaredHop is the hop that a pod declares. It is always one of the pod's own namespace: a label that says otherwise
// would hide the pod from the withdrawal of its hop.
func declaredHop(o client.Object) (types.NamespacedName, bool) {
	key := types.NamespacedName{Namespace: o.GetNamespace(), Name: o.GetLabels()[v1alpha1.LabelHop]}
	return key, key.Name != ""
}
