//go:build unix

package crash

import (
	"context"
	"encoding/json"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/workload"
)

// jobName begins as the name of each pod under a hop does.
const jobName = v1alpha1.AccountPrefix + "job"

// job is a Job whose pod declares a hop, as its author writes it. There is no node for the pod to run on.
func (r *run) job(hop string) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: r.namespaces()[0], Name: jobName},
		Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelHop: hop}},
			Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever,
				Containers:    []corev1.Container{{Name: "main", Image: image}},
			},
		}},
	}
}

// create creates an object; a Job as admission would admit it.
func (r *run) create(ctx context.Context, o client.Object) error {
	if job, ok := o.(*batchv1.Job); ok {
		if err := admit(ctx, job); err != nil {
			return err
		}
	}
	return suite.admin.Create(ctx, o)
}

// admit makes of a Job what admission would make of it and of its pods: it bears the stamp of its author, and they wait at the
// gate as the account that the hop has.
func admit(ctx context.Context, job *batchv1.Job) error {
	hop := &v1alpha1.DelegationHop{}
	key := types.NamespacedName{Namespace: job.Namespace, Name: job.Spec.Template.Labels[v1alpha1.LabelHop]}
	if err := suite.admin.Get(ctx, key, hop); err != nil {
		return err
	}
	job.Annotations = map[string]string{v1alpha1.AnnotationDeclaredBy: origin, v1alpha1.AnnotationDeclaredHop: string(hop.UID)}
	pod := &job.Spec.Template.Spec
	pod.ServiceAccountName = hop.Status.ServiceAccountName
	pod.AutomountServiceAccountToken = new(false)
	pod.TerminationGracePeriodSeconds = new(int64(30))
	pod.SchedulingGates = []corev1.PodSchedulingGate{{Name: v1alpha1.GateGrant}}
	pod.Volumes = []corev1.Volume{workload.TokenVolume()}
	pod.Containers[0].VolumeMounts = []corev1.VolumeMount{workload.TokenMount()}
	return nil
}

// finish has the pods of the Job of a run end as if their containers had.
func (r *run) finish(ctx context.Context) error {
	var pods corev1.PodList
	if err := suite.admin.List(ctx, &pods, client.InNamespace(r.namespaces()[0])); err != nil {
		return err
	}
	raw, err := json.Marshal(map[string]any{"status": corev1.PodStatus{
		Phase: corev1.PodSucceeded,
		ContainerStatuses: []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.Now()},
		}}},
	}})
	if err != nil {
		return err
	}
	for i := range pods.Items {
		if err := suite.admin.Status().Patch(ctx, &pods.Items[i], client.RawPatch(types.StrategicMergePatchType, raw)); err != nil {
			return err
		}
	}
	return nil
}

// uncounted says of a pod whose gate is about to be opened what is wrong; nil if the status of its hop counts its use.
func uncounted(ctx context.Context, key types.NamespacedName) error {
	pod, hop := &corev1.Pod{}, &v1alpha1.DelegationHop{}
	if err := suite.admin.Get(ctx, key, pod); err != nil {
		return client.IgnoreNotFound(err)
	}
	if err := suite.admin.Get(ctx, types.NamespacedName{Namespace: key.Namespace, Name: pod.Labels[v1alpha1.LabelHop]}, hop); err != nil {
		return err
	}
	if job := metav1.GetControllerOf(pod); job == nil || delegation.LiveUse(&hop.Status, string(job.UID)) == nil {
		return fmt.Errorf("the gate of pod %s was opened without its use being counted: %+v", key, hop.Status.Uses)
	}
	return nil
}
