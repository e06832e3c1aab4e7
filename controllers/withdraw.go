package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// hopGone is why everything is withdrawn from a hop that does not exist any more.
var hopGone = delegation.Finding{Reason: v1alpha1.ReasonHopNotFound, Message: "the hop does not exist any more"}

// withdrawHop takes everything from a hop and forgets its identity: if it comes back, it is as another one.
func (r *HopReconciler) withdrawHop(ctx context.Context, s *state, why delegation.Finding) error {
	if err := r.withdraw(ctx, delegation.HopKey(s.hop), s.hop, why, s.bearsOnDescendants()); err != nil {
		return err
	}
	s.next.ServiceAccountName, s.next.Credential = "", nil
	return nil
}

// bearsOnDescendants says whether what a hop is withdrawn for holds for the hops below it, too. What the controller was
// given to grant, and whose a Secret is, is asked for each hop by itself; a question without an answer waits for each
// by itself.
func (s *state) bearsOnDescendants() bool {
	return slices.ContainsFunc(s.verdict.Findings, func(f delegation.Finding) bool {
		return f.Reason != v1alpha1.ReasonScopeExceedsCeiling && f.Reason != v1alpha1.ReasonUndetermined
	})
}

// withdraw takes everything from a hop, which is nil if it is gone. The order matters: bindings first, its own and
// those of all hops below it where they fall with it, since the API server feels their absence at once; then what
// authenticates; then the roles, which give nothing by themselves; last what runs, since only the end of a process ends
// its open streams. What cannot be done holds up nothing that comes after it.
func (r *HopReconciler) withdraw(ctx context.Context, key types.NamespacedName, hop *v1alpha1.DelegationHop, why delegation.Finding, cascade bool) error {
	keys := []types.NamespacedName{key}
	var found error
	if cascade {
		if all, err := r.withDescendants(ctx, key); err != nil {
			found = err
		} else {
			keys = all
		}
	}
	return errors.Join(found, r.unbind(ctx, keys), r.removeGrant(ctx, key, hop), r.stopWorkloads(ctx, key, hop, why))
}

// removeGrant removes all that stands for a hop. Of a hop that holds something nothing is called withdrawn on the word
// of the cache, which may not have what was made a moment ago: the API server is asked before and after.
func (r *HopReconciler) removeGrant(ctx context.Context, key types.NamespacedName, hop *v1alpha1.DelegationHop) error {
	if hop == nil || hop.Status.ServiceAccountName == "" {
		observed, err := r.observe(ctx, key, everything)
		if err != nil {
			return err
		}
		return r.removeInOrder(ctx, observed)
	}
	observed, err := r.observe(ctx, key, func(o client.Object) (bool, error) {
		return o.GetLabels()[v1alpha1.LabelHopUID] != string(hop.UID), nil // the rest is asked for live
	})
	if err != nil {
		return err
	}
	live, err := r.observeAllLive(ctx, hop)
	if err != nil || len(observed)+len(live) == 0 {
		return err
	}
	if err := r.removeInOrder(ctx, append(observed, live...)); err != nil {
		return err
	}
	if live, err = r.observeAllLive(ctx, hop); err != nil || len(live) == 0 {
		return err
	}
	return fmt.Errorf("%s %s was deleted and still stands: see whether a finalizer holds it", live[0].Kind, live[0].Key)
}

func (r *HopReconciler) observeAllLive(ctx context.Context, hop *v1alpha1.DelegationHop) ([]delegation.Object, error) {
	objects, err := r.observeLive(ctx, hop)
	if err != nil {
		return nil, err
	}
	secrets, err := r.observeSecrets(ctx, hop)
	return append(objects, secrets...), err
}

// removeInOrder removes objects, those first whose absence is felt first. A step that fails holds up none of the later
// ones: who keeps us from deleting a binding must not thereby keep the account.
func (b *base) removeInOrder(ctx context.Context, objects []delegation.Object) error {
	var errs []error
	for _, step := range delegation.PlanFor(nil, objects).Remove {
		errs = append(errs, b.remove(ctx, step))
	}
	return errors.Join(errs...)
}

// unbind removes the bindings of hops, all at the same time.
func (b *base) unbind(ctx context.Context, hops []types.NamespacedName) error {
	var bindings []delegation.Object
	var errs []error
	for _, hop := range hops {
		of, err := b.observeBindings(ctx, hop)
		bindings, errs = append(bindings, of...), append(errs, err)
	}
	return errors.Join(append(errs, b.remove(ctx, bindings))...)
}

// writesAtOnce bounds how many objects one reconcile writes at the same time.
const writesAtOnce = 16

// remove deletes objects, at the same time. One that is gone, or is another one by now, is fine. It tries them all.
func (b *base) remove(ctx context.Context, objects []delegation.Object) error {
	errs := make([]error, len(objects))
	var group errgroup.Group
	group.SetLimit(writesAtOnce)
	for i, o := range objects {
		group.Go(func() error {
			errs[i] = b.removeOne(ctx, o)
			return nil
		})
	}
	_ = group.Wait() // each object has its own error
	return errors.Join(errs...)
}

func (b *base) removeOne(ctx context.Context, o delegation.Object) error {
	object := typed(o)
	err := b.Delete(ctx, object, client.Preconditions{UID: &o.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("deleting %s %s: %w", o.Kind, o.Key, err)
}

// typed is an empty object of the kind and key.
func typed(o delegation.Object) client.Object {
	meta := metav1.ObjectMeta{Namespace: o.Key.Namespace, Name: o.Key.Name}
	switch o.Kind {
	case delegation.ServiceAccount:
		return &corev1.ServiceAccount{ObjectMeta: meta}
	case delegation.Secret:
		return &corev1.Secret{ObjectMeta: meta}
	case delegation.Role:
		return &rbacv1.Role{ObjectMeta: meta}
	case delegation.RoleBinding:
		return &rbacv1.RoleBinding{ObjectMeta: meta}
	case delegation.ClusterRole:
		return &rbacv1.ClusterRole{ObjectMeta: meta}
	default:
		return &rbacv1.ClusterRoleBinding{ObjectMeta: meta}
	}
}

// stopGrace is how many seconds a pod has to end when its hop is withdrawn. Where the Job controller deletes the pod of a
// suspended Job before we do, the pod has its own grace, which admission bounds.
const stopGrace = 5

// stopWorkloads suspends the Jobs that declare a hop and deletes its pods: in this order, since a pod that goes while
// its Job is not suspended counts as a failure of the Job. The Jobs stay, and the pods that have ended: they are
// evidence, and a GitOps tool would only make the Jobs anew.
func (r *HopReconciler) stopWorkloads(ctx context.Context, key types.NamespacedName, hop *v1alpha1.DelegationHop, why delegation.Finding) error {
	known := podList()
	if err := r.List(ctx, known, client.MatchingFields{hopIndex: key.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing the pods of hop %s: %w", key, err)
	}
	// Of a hop that is gone nothing tells whether it held anything, but for pods: they are only made under a hop that does.
	// Without them its Jobs may as well wait for a hop that is still to come.
	held := hop != nil && hop.Status.ServiceAccountName != ""
	if !held && len(known.Items) == 0 {
		return nil
	}
	errs := []error{r.suspendJobs(ctx, key, why), r.stopPods(ctx, key, client.MatchingLabels{v1alpha1.LabelHop: key.Name})}
	if held { // a label can be taken off a pod
		errs = append(errs, r.stopPods(ctx, key, client.MatchingFields{"spec.serviceAccountName": hop.Status.ServiceAccountName}))
	}
	return errors.Join(errs...)
}

// stopPods deletes those of a hop's pods that are selected and have not ended, as the API server knows them: a pod may
// be too new for the cache.
func (r *HopReconciler) stopPods(ctx context.Context, hop types.NamespacedName, selected client.ListOption) error {
	var pods corev1.PodList
	if err := r.live.List(ctx, &pods, client.InNamespace(hop.Namespace), selected); err != nil {
		return fmt.Errorf("listing the pods of hop %s: %w", hop, err)
	}
	var errs []error
	for i := range pods.Items {
		pod := &pods.Items[i]
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if pod.DeletionTimestamp.IsZero() && !ended {
			errs = append(errs, r.stopPod(ctx, pod))
		}
	}
	return errors.Join(errs...)
}

// stopPod deletes a pod, which has a moment to end.
func (r *HopReconciler) stopPod(ctx context.Context, pod *corev1.Pod) error {
	err := r.Delete(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: pod.Namespace, Name: pod.Name}},
		client.Preconditions{UID: &pod.UID}, client.GracePeriodSeconds(stopGrace))
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("deleting pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}

func podList() *metav1.PartialObjectMetadataList {
	pods := &metav1.PartialObjectMetadataList{}
	pods.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("PodList"))
	return pods
}

// suspendJobs suspends the Jobs of a namespace that declare a hop. They are listed live: withdrawal is rare, and a
// watch of all Jobs of the cluster would cost more.
func (r *HopReconciler) suspendJobs(ctx context.Context, hop types.NamespacedName, why delegation.Finding) error {
	var jobs batchv1.JobList
	if err := r.live.List(ctx, &jobs, client.InNamespace(hop.Namespace)); err != nil {
		return fmt.Errorf("listing the Jobs of hop %s: %w", hop, err)
	}
	var errs []error
	for i := range jobs.Items {
		job := &jobs.Items[i]
		if job.Spec.Template.Labels[v1alpha1.LabelHop] != hop.Name || finished(job) || job.Spec.Suspend != nil && *job.Spec.Suspend {
			continue
		}
		patch := fmt.Sprintf(`{"metadata":{"uid":%q},"spec":{"suspend":true}}`, job.UID)
		err := r.Patch(ctx, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: job.Name}}, client.RawPatch(types.MergePatchType, []byte(patch)))
		switch {
		case apierrors.IsNotFound(err) || apierrors.IsConflict(err):
		case err != nil:
			errs = append(errs, fmt.Errorf("suspending Job %s/%s: %w", job.Namespace, job.Name, err))
		default:
			r.recorder.Eventf(job, nil, corev1.EventTypeWarning, string(why.Reason), "Suspend", "%s", note(fmt.Sprintf("suspended: hop %s was withdrawn: %s", hop, why)))
		}
	}
	return errors.Join(errs...)
}

func finished(job *batchv1.Job) bool {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}
