//go:build unix

package floor

import (
	"context"
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

// asHop is a client of the hop's identity, which may do much in its namespace, by a group as no policy sees it, and has some rights more.
func (f *fixture) asHop(more ...rbacv1.PolicyRule) client.Client {
	f.Helper()
	group := "system:serviceaccounts:" + f.ns
	key := metav1.ObjectMeta{Namespace: f.ns, Name: fmt.Sprintf("hop-%d", namespaces.Add(1))}
	f.must(suite.admin.Create(f.Context(), &rbacv1.Role{ObjectMeta: key, Rules: append([]rbacv1.PolicyRule{
		{
			APIGroups: []string{"", "apps", "batch", v1alpha1.GroupName}, Resources: []string{"*"},
			Verbs: []string{"get", "list", "create", "update", "patch", "delete"},
		},
	}, more...)}))
	binding := &rbacv1.RoleBinding{
		ObjectMeta: key, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: key.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: group}},
	}
	f.must(suite.admin.Create(f.Context(), binding))
	f.Cleanup(func() { _ = suite.admin.Delete(context.Background(), binding) })
	user := suite.cluster.UserConfig("system:serviceaccount:"+f.ns+":"+f.account, group)
	c, err := client.New(user, client.Options{Scheme: operator.Scheme()})
	f.must(err)
	return c
}

// starters are objects that start pods, without a hop.
func (f *fixture) starters() []client.Object {
	plain := corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "x"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.com/main"}}},
	}
	job := plain
	job.Spec.RestartPolicy = corev1.RestartPolicyNever
	selector, key := &metav1.LabelSelector{MatchLabels: plain.Labels}, metav1.ObjectMeta{Namespace: f.ns, GenerateName: "x-"}
	return []client.Object{
		&corev1.Pod{ObjectMeta: key, Spec: plain.Spec},
		&batchv1.Job{ObjectMeta: key, Spec: batchv1.JobSpec{Template: job}},
		&batchv1.CronJob{ObjectMeta: key, Spec: batchv1.CronJobSpec{
			Schedule: "0 0 29 2 *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: job}},
		}},
		&appsv1.Deployment{ObjectMeta: key, Spec: appsv1.DeploymentSpec{Selector: selector, Template: plain}},
		&appsv1.DaemonSet{ObjectMeta: key, Spec: appsv1.DaemonSetSpec{Selector: selector, Template: plain}},
		&appsv1.StatefulSet{ObjectMeta: key, Spec: appsv1.StatefulSetSpec{Selector: selector, Template: plain}},
		&appsv1.ReplicaSet{ObjectMeta: key, Spec: appsv1.ReplicaSetSpec{Selector: selector, Template: plain}},
		&corev1.ReplicationController{ObjectMeta: key, Spec: corev1.ReplicationControllerSpec{Selector: plain.Labels, Template: &plain}},
		&corev1.PodTemplate{ObjectMeta: key, Template: plain},
		&appsv1.ControllerRevision{ObjectMeta: key, Revision: 1, Data: runtime.RawExtension{Raw: []byte("{}")}},
	}
}

func mergePatch(patch string) client.Patch {
	return client.RawPatch(types.MergePatchType, []byte(patch))
}

// TestHopsStayInTheirPath: a hop makes nothing that starts pods but what declares a hop that it may use, or with deploy.
func TestHopsStayInTheirPath(t *testing.T) {
	f := setup(t)
	use := rbacv1.PolicyRule{
		APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"delegationhops"}, ResourceNames: []string{hop}, Verbs: []string{"use"},
	}
	deploy := rbacv1.PolicyRule{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"delegationpaths"}, Verbs: []string{"deploy"}}
	alone := f.asHop()
	foreign := f.starters()[1].(*batchv1.Job)
	foreign.Spec.Suspend = new(true)
	f.must(suite.admin.Create(t.Context(), foreign))
	label := fmt.Sprintf(`{"spec":{"template":{"metadata":{"labels":{%q:%q}}}}}`, v1alpha1.LabelHop, hop)
	for _, o := range f.starters() {
		f.denied(alone.Create(t.Context(), o, client.DryRunAll), "hop-workloads", "without declaring a hop")
	}
	declared := []client.Object{f.job(), f.cronJob()}
	for _, o := range declared {
		err := alone.Create(t.Context(), o.DeepCopyObject().(client.Object), client.DryRunAll)
		f.denied(err, "hop-workloads|use-by-jobs|use-by-cronjobs", "NotPermittedToUse")
	}
	f.denied(alone.Patch(t.Context(), foreign.DeepCopy(), mergePatch(`{"spec":{"suspend":false}}`)), "hop-workloads", "")

	using := f.asHop(use)
	for _, o := range declared {
		f.allowed(using.Create(t.Context(), o.DeepCopyObject().(client.Object), client.DryRunAll))
	}
	f.denied(using.Create(t.Context(), f.starters()[0], client.DryRunAll), "hop-workloads", "without declaring a hop")
	f.denied(using.Patch(t.Context(), foreign.DeepCopy(), mergePatch(label)), "hop-workloads", "") // somebody else's Job becomes nobody's

	deploying := f.asHop(deploy)
	for _, o := range f.starters() {
		f.allowed(deploying.Create(t.Context(), o, client.DryRunAll))
	}
}

// TestHopsMakeHopsBelowThemselves: and no others, and change none.
func TestHopsMakeHopsBelowThemselves(t *testing.T) {
	f := setup(t)
	identity := f.asHop()
	below := func(change ...func(*v1alpha1.DelegationHop)) *v1alpha1.DelegationHop {
		h := &v1alpha1.DelegationHop{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "below"},
			Spec: v1alpha1.DelegationHopSpec{
				PathRef: v1alpha1.ObjectRef{Name: "p"}, ParentRef: &v1alpha1.ObjectRef{Name: hop}, InheritScope: new(true),
				Author: &v1alpha1.Subject{User: "system:serviceaccount:" + f.ns + ":" + f.account},
			},
		}
		for _, c := range change {
			c(h)
		}
		return h
	}
	const words = "a hop makes hops below itself alone"
	for name, change := range map[string]func(*v1alpha1.DelegationHop){
		"a first hop":         func(h *v1alpha1.DelegationHop) { h.Spec.ParentRef = nil },
		"below another":       func(h *v1alpha1.DelegationHop) { h.Spec.ParentRef.Name = "other" },
		"below one elsewhere": func(h *v1alpha1.DelegationHop) { h.Spec.ParentRef.Namespace = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			(&fixture{T: t}).denied(identity.Create(t.Context(), below(change), client.DryRunAll), "hop-hops", words)
		})
	}
	f.allowed(identity.Create(t.Context(), below()))
	f.denied(identity.Patch(t.Context(), below(), mergePatch(`{"spec":{"revoked":{"reason":"x"}}}`)), "hop-hops", words)
	f.denied(identity.Delete(t.Context(), below()), "hop-hops", words)
	f.allowed(suite.admin.Delete(t.Context(), below()))
}

// TestControllerMakesNoHops: what the controller holds to give it to hops, it cannot use.
func TestControllerMakesNoHops(t *testing.T) {
	f := setup(t)
	h := &v1alpha1.DelegationHop{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "x"},
		Spec: v1alpha1.DelegationHopSpec{
			PathRef: v1alpha1.ObjectRef{Name: "p"}, InheritScope: new(true), Author: &v1alpha1.Subject{User: controller},
		},
	}
	f.denied(f.users[ours].Create(t.Context(), h, client.DryRunAll), "controller-kinds", "")
	f.bind("edit", rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: operator.Namespace, Name: "wayleave-controller"})
	f.denied(f.users[ours].Create(t.Context(), f.job(), client.DryRunAll), "controller-jobs", "")
	f.denied(f.users[ours].Create(t.Context(), f.cronJob(), client.DryRunAll), "controller-jobs", "")
	f.denied(f.users[ours].Create(t.Context(), f.pod("dhop-x"), client.DryRunAll), "controller-pods", "")
}
