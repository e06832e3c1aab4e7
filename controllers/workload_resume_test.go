package controllers

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

func jobOf(hop string, change ...func(*batchv1.Job)) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "run", UID: "run"}}
	j.Spec.Template.Labels = map[string]string{v1alpha1.LabelHop: hop}
	for _, c := range change {
		c(j)
	}
	return j
}

func isSuspended(j *batchv1.Job) { j.Spec.Suspend = new(true) }

func isMarked(j *batchv1.Job) {
	j.Annotations = map[string]string{v1alpha1.AnnotationSuspendedFor: "Suspended", v1alpha1.AnnotationSuspendedHop: "hop"}
}

// jobState is what a test looks at.
type jobState struct {
	Suspended bool
	Mark      map[string]string
	Events    string // the beginning of each
}

func (r *HopReconciler) stateOf(t *testing.T, name string) jobState {
	t.Helper()
	job := &batchv1.Job{}
	if err := r.live.Get(t.Context(), client.ObjectKey{Namespace: "agents", Name: name}, job); err != nil {
		t.Fatal(err)
	}
	got := jobState{Suspended: suspended(job), Mark: job.Annotations}
	recorder, _ := r.stopper.events.(*events.FakeRecorder)
	for len(recorder.Events) > 0 {
		event, _, _ := strings.Cut(<-recorder.Events, ":")
		got.Events += event
	}
	return got
}

// TestMarkOfSuspension: the mark is for what may pass, and for a hop that is there to come back.
func TestMarkOfSuspension(t *testing.T) {
	marked := func(reason string) map[string]string {
		return map[string]string{v1alpha1.AnnotationSuspendedFor: reason, v1alpha1.AnnotationSuspendedHop: "hop"}
	}
	for name, test := range map[string]struct {
		reason v1alpha1.Reason
		job    *batchv1.Job
		gone   bool // the hop was deleted
		want   jobState
	}{
		"the path is suspended": {
			reason: v1alpha1.ReasonSuspended, job: jobOf("isolate"),
			want: jobState{Suspended: true, Mark: marked("Suspended"), Events: "Warning Suspended suspended"},
		},
		"a question is open for too long": {
			reason: v1alpha1.ReasonUndetermined, job: jobOf("isolate"),
			want: jobState{Suspended: true, Mark: marked("Undetermined"), Events: "Warning Undetermined suspended"},
		},
		"a scope that can be narrowed again": {
			reason: v1alpha1.ReasonScopeExceedsOrigin, job: jobOf("isolate"),
			want: jobState{Suspended: true, Mark: marked("ScopeExceedsOrigin"), Events: "Warning ScopeExceedsOrigin suspended"},
		},
		"revoked": {
			reason: v1alpha1.ReasonRevoked, job: jobOf("isolate"), want: jobState{Suspended: true, Events: "Warning Revoked suspended"},
		},
		"expired, with a mark of an earlier suspension": {
			reason: v1alpha1.ReasonExpired, job: jobOf("isolate", isMarked),
			want: jobState{Suspended: true, Events: "Warning Expired suspended"},
		},
		"the hop was deleted": {
			reason: v1alpha1.ReasonHopNotFound, job: jobOf("isolate"), gone: true,
			want: jobState{Suspended: true, Events: "Warning HopNotFound suspended"},
		},
		"somebody suspended it before": {
			reason: v1alpha1.ReasonSuspended, job: jobOf("isolate", isSuspended), want: jobState{Suspended: true},
		},
		"a Job of another hop": {reason: v1alpha1.ReasonSuspended, job: jobOf("triage")},
	} {
		t.Run(name, func(t *testing.T) {
			_, hop, account := grantedHop()
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Namespace: "agents", Name: "dhop-run", Labels: map[string]string{v1alpha1.LabelHop: hop.Name},
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(test.job, batchv1.SchemeGroupVersion.WithKind("Job"))},
			}}
			pod.Spec.ServiceAccountName = account
			r := reconciler(t, interceptor.Funcs{}, test.job, pod)
			if test.gone {
				hop = nil
			}
			key := client.ObjectKey{Namespace: "agents", Name: "isolate"}
			if _, err := r.stopper.stop(t.Context(), key, hop, nil, delegation.Finding{Reason: test.reason}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, r.stateOf(t, "run")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestReportOnly: when a hop is withdrawn, what runs as the hop ends, and what was let through with a warning goes on.
func TestReportOnly(t *testing.T) {
	_, granted, account := grantedHop()
	inUse := func(hop *v1alpha1.DelegationHop) {
		hop.Status.Uses = &v1alpha1.Uses{Live: []v1alpha1.Use{{Kind: v1alpha1.WorkloadJob, Name: "run", UID: "run"}}}
	}
	for name, test := range map[string]struct {
		change  func(*v1alpha1.DelegationHop)
		account string // of the pod; empty if there is none
		deny    bool   // it does not only report
		ends    bool
	}{
		"it runs as the hop":                   {account: account, ends: true},
		"it runs as itself":                    {account: "ci"},
		"it runs as itself, which is not let":  {account: "ci", deny: true, ends: true},
		"it has no pod yet":                    {},
		"it has no pod yet, and may have none": {deny: true, ends: true},
		"it waits for a retry":                 {change: inUse, ends: true},
	} {
		t.Run(name, func(t *testing.T) {
			hop, job := granted.DeepCopy(), jobOf("isolate")
			if test.change != nil {
				test.change(hop)
			}
			objects := []client.Object{hop, job}
			pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
				Namespace: "agents", Name: "dhop-run", UID: "pod", Labels: map[string]string{v1alpha1.LabelHop: hop.Name},
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))},
			}}
			if pod.Spec.ServiceAccountName = test.account; test.account != "" {
				objects = append(objects, pod)
			}
			r := reconcilerFor(t, !test.deny, interceptor.Funcs{}, objects...)
			why := delegation.Finding{Reason: v1alpha1.ReasonRevoked}
			left, err := r.stopper.stop(t.Context(), client.ObjectKeyFromObject(hop), hop, nil, why)
			if err != nil {
				t.Fatal(err)
			}
			if got := r.stateOf(t, "run"); got.Suspended != test.ends {
				t.Errorf("the Job is %+v", got)
			}
			if left.running != (test.ends && test.account != "") {
				t.Errorf("it leaves %+v", left)
			}
			err = r.live.Get(t.Context(), client.ObjectKeyFromObject(pod), pod)
			if gone := apierrors.IsNotFound(err); gone != (test.ends || test.account == "") {
				t.Errorf("the pod: %v", err)
			}
			if ended, err := r.stopper.allEnded(t.Context(), hop, t0); !ended || err != nil {
				t.Errorf("something is waited for: %v", err)
			}
		})
	}
}

// TestPodOfAnotherAccountInALiveUse: a pod that came while Wayleave only reported runs as itself, also if a later one of its Job runs under
// the hop. It ends once Wayleave does more than report.
func TestPodOfAnotherAccountInALiveUse(t *testing.T) {
	path, hop, account := grantedHop()
	hop.Status.Uses = &v1alpha1.Uses{Live: []v1alpha1.Use{{Kind: v1alpha1.WorkloadJob, Name: "run", UID: "run"}}}
	for _, runsAs := range []string{account, "own"} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "agents", Name: "dhop-run", UID: "pod", Labels: map[string]string{v1alpha1.LabelHop: hop.Name},
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(jobOf("isolate"), batchv1.SchemeGroupVersion.WithKind("Job"))},
		}}
		pod.Spec.ServiceAccountName = runsAs
		r := reconciler(t, interceptor.Funcs{}, path, hop.DeepCopy(), pod)
		now := &v1alpha1.DelegationHop{}
		if err := r.hops.Get(t.Context(), client.ObjectKeyFromObject(hop), now); err != nil {
			t.Fatal(err)
		}
		p := &pass{pods: []*corev1.Pod{pod}}
		p.in, p.v, p.next = allowedFor(path, now)
		if err := r.stopUnseen(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		err := r.live.Get(t.Context(), client.ObjectKeyFromObject(pod), &corev1.Pod{})
		if gone := apierrors.IsNotFound(err); gone != (runsAs != account) {
			t.Errorf("the pod that runs as %s: %v", runsAs, err)
		}
	}
}

// TestAllPagesAreStopped: others may fill a namespace, so pods are read some at a time, and none is missed.
func TestAllPagesAreStopped(t *testing.T) {
	_, hop, account := grantedHop()
	pod := func(name string) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
			Namespace: "agents", Name: name, UID: types.UID(name), Labels: map[string]string{v1alpha1.LabelHop: hop.Name},
		}}
		p.Spec.ServiceAccountName = account
		return p
	}
	first, second := pod("dhop-1"), pod("dhop-2")
	r := reconciler(t, interceptor.Funcs{List: func(
		ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption,
	) error {
		var o client.ListOptions
		o.ApplyOptions(opts)
		pods, ok := list.(*corev1.PodList)
		if !ok || o.Limit == 0 {
			return c.List(ctx, list, opts...)
		}
		if o.Continue == "" {
			pods.Items, pods.Continue = []corev1.Pod{*first}, "more"
		} else {
			pods.Items, pods.Continue = []corev1.Pod{*second}, ""
		}
		return nil
	}}, hop, first, second)
	why := delegation.Finding{Reason: v1alpha1.ReasonRevoked}
	if ended, err := r.stopper.allEnded(t.Context(), hop, t0); ended || err != nil {
		t.Errorf("all has ended: %t, %v", ended, err)
	}
	if _, err := r.stopper.stop(t.Context(), client.ObjectKeyFromObject(hop), hop, nil, why); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*corev1.Pod{first, second} {
		if err := r.live.Get(t.Context(), client.ObjectKeyFromObject(p), &corev1.Pod{}); !apierrors.IsNotFound(err) {
			t.Errorf("pod %s is left: %v", p.Name, err)
		}
	}
}

// TestJobThatHasNoPodYet: it is suspended while its hop holds an identity, whatever the cache says.
func TestJobThatHasNoPodYet(t *testing.T) {
	for name, test := range map[string]struct {
		now  func(*v1alpha1.DelegationHop)
		want jobState
	}{
		"it may make a pod at any moment": {
			now:  func(*v1alpha1.DelegationHop) {},
			want: jobState{Suspended: true, Events: "Warning Revoked suspended"},
		},
		"the hop was withdrawn a moment ago": {now: func(hop *v1alpha1.DelegationHop) { hop.Status.ServiceAccountName = "" }},
	} {
		t.Run(name, func(t *testing.T) {
			_, hop, _ := grantedHop()
			now := hop.DeepCopy()
			test.now(now)
			r := reconciler(t, interceptor.Funcs{}, now, jobOf("isolate"))
			why := delegation.Finding{Reason: v1alpha1.ReasonRevoked}
			if _, err := r.stopper.stop(t.Context(), client.ObjectKeyFromObject(hop), hop, nil, why); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, r.stateOf(t, "run")); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestResume: what was suspended with the hop goes on; what a person suspended stays.
func TestResume(t *testing.T) {
	resumed := jobState{Events: "Normal Granted resumed"}
	byUs := map[string]string{v1alpha1.AnnotationSuspendedFor: "Suspended", v1alpha1.AnnotationSuspendedHop: "hop"}
	for name, test := range map[string]struct {
		job    *batchv1.Job
		denied error // the answer to the patch
		want   jobState
		failed bool
	}{
		"we suspended it":               {job: jobOf("isolate", isMarked, isSuspended), want: resumed},
		"a person suspended it":         {job: jobOf("isolate", isSuspended), want: jobState{Suspended: true}},
		"a person has resumed it":       {job: jobOf("isolate", isMarked)},
		"another hop's":                 {job: jobOf("triage", isMarked, isSuspended), want: jobState{Suspended: true, Mark: byUs}},
		"it runs, and did all the time": {job: jobOf("isolate")},
		"an earlier hop of the name": {job: jobOf("isolate", isMarked, isSuspended, func(j *batchv1.Job) {
			j.Annotations[v1alpha1.AnnotationSuspendedHop] = "earlier"
		}), want: jobState{Suspended: true, Mark: map[string]string{
			v1alpha1.AnnotationSuspendedFor: "Suspended", v1alpha1.AnnotationSuspendedHop: "earlier",
		}}},
		"it has failed meanwhile": {job: jobOf("isolate", isMarked, isSuspended, func(j *batchv1.Job) {
			j.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobFailed, Status: corev1.ConditionTrue}}
		}), want: jobState{Suspended: true}},
		"somebody's policy denies it": {
			job:    jobOf("isolate", isMarked, isSuspended),
			denied: apierrors.NewForbidden(batchv1.Resource("jobs"), "run", errors.New("a freeze")),
			want:   jobState{Suspended: true, Mark: byUs, Events: "Warning Granted not resumed, although hop agents/isolate is granted again"},
		},
		"the API server is overloaded": {
			job:    jobOf("isolate", isMarked, isSuspended),
			denied: apierrors.NewTooManyRequests("later", 1), want: jobState{Suspended: true, Mark: byUs}, failed: true,
		},
		"it changes at that moment": {
			job:    jobOf("isolate", isMarked, isSuspended),
			denied: apierrors.NewConflict(batchv1.Resource("jobs"), "run", errors.New("changed")), failed: true,
			want: jobState{Suspended: true, Mark: byUs},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, hop, _ := grantedHop()
			r := reconciler(t, interceptor.Funcs{Patch: func(
				ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption,
			) error {
				if test.denied != nil {
					return test.denied
				}
				return c.Patch(ctx, o, p, opts...)
			}}, test.job)
			if err := r.stopper.resume(t.Context(), hop); (err != nil) != test.failed {
				t.Errorf("it failed: %v", err)
			}
			if diff := cmp.Diff(test.want, r.stateOf(t, "run")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
