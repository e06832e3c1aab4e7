//go:build unix

package floor

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

func (f *fixture) template() corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelHop: hop}},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "main", Image: "example.com/main"}},
		},
	}
}

func (f *fixture) job(change ...func(*batchv1.Job)) *batchv1.Job {
	j := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, GenerateName: "j-"},
		Spec:       batchv1.JobSpec{Suspend: new(true), Template: f.template()},
	}
	for _, c := range change {
		c(j)
	}
	return j
}

func (f *fixture) cronJob() *batchv1.CronJob {
	return &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, GenerateName: "c-"},
		Spec: batchv1.CronJobSpec{
			Schedule: "0 0 29 2 *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: f.template()}},
		},
	}
}

// member is a user of the namespace who may write workloads, and use the hop where it says so.
func (f *fixture) member(name string, mayUse bool, groups ...string) client.Client {
	f.Helper()
	rules := []rbacv1.PolicyRule{
		{APIGroups: []string{"", "batch"}, Resources: []string{"pods", "jobs", "cronjobs"}, Verbs: []string{"*"}},
	}
	if mayUse {
		rules = append(rules, rbacv1.PolicyRule{
			APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"delegationhops"}, ResourceNames: []string{hop}, Verbs: []string{"use"},
		})
	}
	f.must(suite.admin.Create(f.Context(), &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: name}, Rules: rules}))
	f.must(suite.admin.Create(f.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}},
	}))
	c, err := client.New(suite.cluster.UserConfig(name, groups...), client.Options{Scheme: operator.Scheme()})
	f.must(err)
	return c
}

// TestUse: who declares a hop, or changes what runs under it, may use it.
func TestUse(t *testing.T) {
	f := setup(t)
	mallory, alice := f.member("mallory", false), f.member("alice", true)
	for name, made := range map[string]func() client.Object{
		"pods":     func() client.Object { return f.pod("dhop-x") },
		"jobs":     func() client.Object { return f.job() },
		"cronjobs": func() client.Object { return f.cronJob() },
	} {
		f.denied(mallory.Create(t.Context(), made(), client.DryRunAll), "use-by-"+name, "you do not hold the verb use")
		f.allowed(alice.Create(t.Context(), made(), client.DryRunAll))
		f.allowed(suite.admin.Create(t.Context(), made(), client.DryRunAll)) // may do everything
	}
	f.allowed(mallory.Create(t.Context(), f.job(func(j *batchv1.Job) { j.Spec.Template.Labels = nil }), client.DryRunAll))

	job, cronJob, plain := f.job(), f.cronJob(), f.job(func(j *batchv1.Job) { j.Spec.Template.Labels = nil })
	for _, o := range []client.Object{job, cronJob, plain} {
		f.must(alice.Create(t.Context(), o))
	}
	const other = `{"spec":{"jobTemplate":{"spec":{"template":{"metadata":{"annotations":{"delegation.wayleave.dev/requires":"[]"}}}}}}}`
	const grace = `{"spec":{"jobTemplate":{"spec":{"template":{"spec":{"terminationGracePeriodSeconds":1}}}}}}`
	for _, patch := range []string{other, grace} {
		f.denied(merge(f, mallory, cronJob, patch), "use-by-cronjobs", "you do not hold the verb use")
		f.allowed(merge(f, alice, cronJob, patch))
	}
	f.allowed(merge(f, mallory, cronJob, `{"spec":{"suspend":true},"metadata":{"labels":{"a":"b"}}}`))
	f.allowed(merge(f, mallory, cronJob, `{"spec":{"jobTemplate":{"spec":{"template":{"metadata":{"labels":null}}}}}}`))
	// A queue starts a Job, and says where it runs.
	const started = `{"spec":{"suspend":false,"template":{"metadata":{"labels":{"q":"1"}},"spec":{"nodeSelector":{"a":"b"}}}}}`
	f.allowed(merge(f, mallory, job, started))
	f.denied(merge(f, mallory, plain, fmt.Sprintf(`{"spec":{"template":{"metadata":{"labels":{%q:%q}}}}}`, v1alpha1.LabelHop, hop)),
		"use-by-jobs", "you do not hold the verb use")
}

func merge(f *fixture, c client.Client, o client.Object, patch string) error {
	f.Helper()
	return c.Patch(f.Context(), o.DeepCopyObject().(client.Object), client.RawPatch(types.MergePatchType, []byte(patch)), client.DryRunAll)
}

// TestMadeFromTemplates: what the Job controller makes of a Job is not asked about; another user who claims an owner is.
func TestMadeFromTemplates(t *testing.T) {
	f := setup(t)
	job := f.job()
	f.must(suite.admin.Create(t.Context(), job))
	owned := func(name string) *corev1.Pod {
		return f.pod(name, func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(job, batchv1.SchemeGroupVersion.WithKind("Job"))}
		})
	}
	c, err := client.New(suite.cluster.UserConfig(jobController), client.Options{Scheme: operator.Scheme()})
	f.must(err)
	f.allowed(c.Create(t.Context(), owned("dhop-a"), client.DryRunAll))
	f.denied(c.Create(t.Context(), f.pod("dhop-a"), client.DryRunAll), "use-by-pods", `its author "`+jobController+`" does not hold`)
	f.denied(f.member("mallory", false).Create(t.Context(), owned("dhop-a"), client.DryRunAll), "use-by-pods", "you do not hold")
}

// TestStamps: a stamp is the requester's, with their groups as they are, or there is none.
func TestStamps(t *testing.T) {
	f := setup(t)
	groups := []string{`team "a"`, `cn=x,ou=<b>&c`, `back\slash`}
	alice := f.member("alice", true, groups...)
	self, err := f.clientset("alice", groups...).AuthenticationV1().SelfSubjectReviews().
		Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	f.must(err)
	own := slices.DeleteFunc(self.Status.UserInfo.Groups, func(group string) bool { return group == "system:authenticated" })
	raw, err := json.Marshal(own)
	f.must(err)
	mine := string(raw) // the order is the API server's
	stamped := func(by, groups string) func(*batchv1.Job) {
		return func(j *batchv1.Job) {
			j.Annotations = map[string]string{v1alpha1.AnnotationDeclaredHop: "uid"}
			if by != "" {
				j.Annotations[v1alpha1.AnnotationDeclaredBy] = by
			}
			if groups != "" {
				j.Annotations[v1alpha1.AnnotationDeclaredByGroups] = groups
			}
		}
	}
	create := func(change func(*batchv1.Job)) error {
		return alice.Create(t.Context(), f.job(change), client.DryRunAll)
	}
	f.allowed(create(stamped("alice", mine)))
	f.allowed(create(func(*batchv1.Job) {}))
	f.denied(create(stamped("root", mine)), "declared-by", "names another user")
	f.denied(create(stamped("", mine)), "declared-by", "names another user")
	for _, lie := range []string{"", `["system:masters"]`, strings.TrimSuffix(mine, "]") + `,"system:masters"]`} {
		f.denied(create(stamped("alice", lie)), "declared-by", "lists other groups than yours")
	}
	job := f.job(stamped("alice", mine))
	f.must(alice.Create(t.Context(), job))
	for _, user := range []client.Client{suite.admin, f.users[editor]} {
		const forged = `{"metadata":{"annotations":{"delegation.wayleave.dev/declared-by":"bob"}}}`
		f.denied(merge(f, user, job, forged), "declared-by", "names another user")
		f.allowed(merge(f, user, job, `{"metadata":{"annotations":{"note":"x"}}}`))
	}
}

// TestTemplatesNameNoAccount: whatever makes pods leaves the account of a hop to them.
func TestTemplatesNameNoAccount(t *testing.T) {
	f := setup(t)
	for _, user := range []client.Client{suite.admin, f.users[editor]} {
		f.denied(user.Create(t.Context(), f.job(func(j *batchv1.Job) {
			j.Spec.Template.Spec.ServiceAccountName = f.account
		}), client.DryRunAll), "templates", "the ServiceAccount belongs to a hop")
		pods := &corev1.PodTemplate{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "t"}, Template: f.template()}
		pods.Template.Spec.ServiceAccountName = f.account
		f.denied(user.Create(t.Context(), pods, client.DryRunAll), "templates", "the ServiceAccount belongs to a hop")
		pods.Template.Spec.ServiceAccountName = "default"
		f.allowed(user.Create(t.Context(), pods, client.DryRunAll))
	}
}
