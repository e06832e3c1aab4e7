//go:build unix

package gate

import (
	"fmt"
	"slices"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

// TestLostUse: a Job that is suspended and resumed goes on while its author may use the hop, and not afterwards, whoever
// resumes it.
func TestLostUse(t *testing.T) {
	t.Parallel()
	f := setup(t)
	begun, fresh := f.job("begun", f.forever(), suspended), f.job("fresh", f.once(), suspended)
	f.apply(begun, fresh)
	for range 2 {
		f.change(f.author, begun, resume)
		f.runs(begun)
		f.change(f.author, begun, suspend)
		f.ended(begun)
	}
	f.uses("1", 1)

	before := f.ran.count("dhop-")
	if err := suite.admin.Delete(t.Context(), f.use); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, job := range []*batchv1.Job{begun, fresh} {
		f.change(suite.admin, job, resume)
		f.refused(job, v1alpha1.ReasonNotPermittedToUse)
	}
	if ran, n := f.ran.count("dhop-")-before, f.allowed(now); ran > 0 || n > 0 {
		t.Errorf("%d pods have run, and %d requests were allowed, after the author lost use", ran, n)
	}
}

// TestSuspendedPath: a Job that does not try again goes on when its path does.
func TestSuspendedPath(t *testing.T) {
	t.Parallel()
	f := setup(t, maxUses(1))
	job := f.job("work", f.forever())
	f.apply(job)
	pod := f.runs(job)
	f.change(f.author, f.path, suspend)
	f.ended(job)
	f.nothingLeft(&rbacv1.RoleBindingList{}, &corev1.ServiceAccountList{})
	f.change(f.author, f.path, resume)
	if another := f.runs(job); another.Name == pod.Name || another.Spec.ServiceAccountName == pod.Spec.ServiceAccountName {
		t.Errorf("pod %s goes on as %s", another.Name, another.Spec.ServiceAccountName)
	}
	f.uses("1/1", 1)
}

// TestEvicted: a pod that is evicted is made again by its Job, and is part of the same use.
func TestEvicted(t *testing.T) {
	t.Parallel()
	f := setup(t, maxUses(1))
	disrupted := batchv1.PodFailurePolicyOnPodConditionsPattern{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}
	job := f.job("work", f.forever(), func(s *batchv1.JobSpec) {
		s.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{
			Action: batchv1.PodFailurePolicyActionIgnore, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{disrupted},
		}}}
	})
	f.apply(job)
	pod := f.runs(job)
	eviction := &policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: pod.Name}}
	if err := suite.admin.SubResource("eviction").Create(t.Context(), &pod, eviction); err != nil {
		t.Fatal(err)
	}
	f.ended(job, pod.Name)
	again := f.runs(job)
	if again.Name == pod.Name || again.Spec.ServiceAccountName != pod.Spec.ServiceAccountName {
		t.Errorf("pod %s runs as %s after %s as %s", again.Name, again.Spec.ServiceAccountName, pod.Name, pod.Spec.ServiceAccountName)
	}
	f.uses("1/1", 1)
}

// runs waits for a pod of a Job that runs and got an answer, and returns it.
func (f *fixture) runs(job *batchv1.Job) corev1.Pod {
	f.Helper()
	var pod corev1.Pod
	f.eventually("a pod of Job "+job.Name+" to run", func() error {
		pods := slices.DeleteFunc(f.podsOf(job.Name), func(p corev1.Pod) bool {
			return !p.DeletionTimestamp.IsZero() || p.Status.Phase != corev1.PodRunning
		})
		if len(pods) == 0 {
			return fmt.Errorf("none does")
		}
		pod = pods[0]
		return nil
	})
	f.answered(pod.Name)
	return pod
}

// ended waits until some pods of a Job do not exist any more, or all.
func (f *fixture) ended(job *batchv1.Job, names ...string) {
	f.Helper()
	f.eventually("the end of pods of Job "+job.Name, func() error {
		for _, pod := range f.podsOf(job.Name) {
			if len(names) == 0 || slices.Contains(names, pod.Name) {
				return fmt.Errorf("there is %s: %s", pod.Name, pod.Status.Phase)
			}
		}
		return nil
	})
}

const queueGate = "example.com/queue"

// TestRevoked: whenever a path is revoked while a pod passes the gate, the pod gets no answer afterwards, and the end is the same.
// TestJob is the twin: there nobody revokes.
func TestRevoked(t *testing.T) {
	gated := func(pod *corev1.Pod) bool { return len(pod.Spec.SchedulingGates) > 0 }
	for name, step := range map[string]struct {
		watch client.ObjectList
		when  func(runtime.Object) bool
		held  bool // by another gate, until the path is revoked
	}{
		"before the gate": {&corev1.PodList{}, func(o runtime.Object) bool { return gated(o.(*corev1.Pod)) }, true},
		"its use is counted": {&v1alpha1.DelegationHopList{}, func(o runtime.Object) bool {
			uses := o.(*v1alpha1.DelegationHop).Status.Uses
			return uses != nil && len(uses.Live) > 0
		}, false},
		"its permissions exist": {&rbacv1.RoleBindingList{}, func(o runtime.Object) bool {
			return o.(*rbacv1.RoleBinding).Labels[v1alpha1.LabelHopUID] != ""
		}, false},
		"its gate is open": {&corev1.PodList{}, func(o runtime.Object) bool { return !gated(o.(*corev1.Pod)) }, false},
		"its container runs": {&corev1.PodList{}, func(o runtime.Object) bool {
			return slices.ContainsFunc(o.(*corev1.Pod).Status.ContainerStatuses, hasRun)
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, maxUses(1))
			job := f.job("work", f.forever(), func(s *batchv1.JobSpec) {
				if step.held {
					s.Template.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: queueGate}}
				}
			})
			f.revokedWhen(step.watch, step.when, job)
			if step.held && f.ran.count("dhop-") > 0 {
				t.Error("a pod has run")
			}
		})
	}
}

// revokedWhen creates a Job, revokes the path when something is seen, and demands what is to be true then.
func (f *fixture) revokedWhen(list client.ObjectList, when func(runtime.Object) bool, job *batchv1.Job) {
	f.Helper()
	namespace := f.ns
	if _, ok := list.(*rbacv1.RoleBindingList); ok {
		namespace = f.on
	}
	seen := make(chan struct{}, 1)
	f.watch(list, namespace, func(o runtime.Object) {
		if when(o) {
			select {
			case seen <- struct{}{}:
			default:
			}
		}
	})
	f.apply(job)
	select {
	case <-seen:
	case <-time.After(patience):
		f.Fatalf("waited %s for the moment", patience)
	}
	f.change(f.author, f.path, revoke)
	f.state(v1alpha1.ReasonRevoked)
	now := time.Now()
	f.refused(job, v1alpha1.ReasonRevoked)
	f.nothingLeft(&rbacv1.RoleList{}, &rbacv1.RoleBindingList{}, &corev1.ServiceAccountList{})
	f.uses(f.hop.Status.Uses.Summary, 0)
	if n := f.allowed(now); n > 0 {
		f.Errorf("%d requests were allowed after the hop was revoked", n)
	}
	f.Logf("%s uses, %d pods have run, %d requests were allowed before",
		f.hop.Status.Uses.Summary, f.ran.count("dhop-"), f.allowed(time.Time{}))
}

// TestControllerDown: while the controller is down a pod waits, and nobody can have it run; then it runs. It runs alone.
func TestControllerDown(t *testing.T) {
	f := setup(t, maxUses(1))
	if err := suite.wayleave.Scale(t.Context(), operator.Controller, 0); err != nil {
		t.Fatal(err)
	}
	job := f.job("work", f.once())
	f.apply(job)
	var pod corev1.Pod
	f.eventually("a pod that waits at the gate", func() error {
		pods := f.podsOf(job.Name)
		if len(pods) != 1 || !slices.ContainsFunc(pods[0].Status.Conditions, func(c corev1.PodCondition) bool {
			return c.Type == corev1.PodScheduled && c.Reason == corev1.PodReasonSchedulingGated
		}) {
			return fmt.Errorf("there are %d", len(pods))
		}
		pod = pods[0]
		return nil
	})
	if err := suite.admin.Patch(t.Context(), pod.DeepCopy(), client.RawPatch("application/merge-patch+json",
		[]byte(`{"spec":{"schedulingGates":null}}`))); err == nil {
		t.Error("an administrator has taken the gate off")
	}
	binding := &corev1.Binding{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: pod.Name}, Target: corev1.ObjectReference{Kind: "Node", Name: suite.node},
	}
	if err := suite.admin.SubResource("binding").Create(t.Context(), &pod, binding); err == nil {
		t.Error("an administrator has bound the pod to the node")
	}
	if n := f.ran.count("dhop-"); n > 0 || f.allowed(time.Time{}) > 0 {
		t.Errorf("%d pods have run", n)
	}
	if err := suite.wayleave.Scale(t.Context(), operator.Controller, 2); err != nil {
		t.Fatal(err)
	}
	f.ends(job, batchv1.JobComplete)
	f.answered(pod.Name)
	f.idle("1/1", pod.Spec.ServiceAccountName)
}
