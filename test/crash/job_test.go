//go:build unix

package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

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

// create creates an object, a Job as admission would admit it, and remembers what it is.
func (r *run) create(ctx context.Context, o client.Object) error {
	if job, ok := o.(*batchv1.Job); ok {
		if err := admit(ctx, job); err != nil {
			return err
		}
	}
	if err := suite.admin.Create(ctx, o); err != nil {
		return err
	}
	r.uids[string(o.GetUID())] = "UID(" + o.GetName() + ")"
	return nil
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
	pod.SchedulingGates = append(pod.SchedulingGates, corev1.PodSchedulingGate{Name: v1alpha1.GateGrant})
	pod.Volumes = []corev1.Volume{workload.TokenVolume()}
	pod.Containers[0].VolumeMounts = []corev1.VolumeMount{workload.TokenMount()}
	return nil
}

// release has the pod of a Job, once it exists, pass the gate of a queue. It says that it waits at Wayleave's, as one does about
// which something could not be determined meanwhile.
func (r *run) release(ctx context.Context) error {
	pod, err := r.pod(ctx)
	if err != nil {
		return err
	}
	if err := patchStatus(ctx, pod, corev1.PodStatus{Conditions: []corev1.PodCondition{{
		Type: v1alpha1.ConditionPodGranted, Status: corev1.ConditionFalse, Reason: string(v1alpha1.ReasonUndetermined),
	}}}); err != nil {
		return err
	}
	return patch(ctx, pod, fmt.Sprintf(`{"spec":{"schedulingGates":[{"name":%q}]}}`, v1alpha1.GateGrant))
}

// finish has the pod of a Job end as if its container had.
func (r *run) finish(ctx context.Context) error {
	pod, err := r.pod(ctx)
	if err != nil {
		return err
	}
	return patchStatus(ctx, pod, corev1.PodStatus{
		Phase: corev1.PodSucceeded,
		ContainerStatuses: []corev1.ContainerStatus{{Name: "main", State: corev1.ContainerState{
			Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.Now()},
		}}},
	})
}

// pod waits for the pod of the Job of a run.
func (r *run) pod(ctx context.Context) (*corev1.Pod, error) {
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		var pods corev1.PodList
		if err := suite.admin.List(ctx, &pods, client.InNamespace(r.namespaces()[0])); err != nil {
			return nil, err
		}
		if len(pods.Items) == 1 {
			return &pods.Items[0], nil
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("the Job has %d pods", len(pods.Items))
		}
	}
}

func patchStatus(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) error {
	raw, err := json.Marshal(map[string]any{"status": status})
	if err != nil {
		return err
	}
	return suite.admin.Status().Patch(ctx, pod, client.RawPatch(types.StrategicMergePatchType, raw))
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
