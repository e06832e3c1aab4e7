package inprocess

import (
	"fmt"
	"strings"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/workload"
)

const (
	// account is that of the hop look, which ends an hour after all objects were created; ended has ended before.
	account = "dhop-look.5f0d.1767229200"
	ended   = "dhop-look.5f0d.1767225600"
	// finalizer, elsewhere and image are of others.
	finalizer, elsewhere, image = "example.com/x", "example.com/elsewhere", "example.com/main"
)

var began = metav1.NewTime(time.Unix(1767225600, 0).UTC())

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "team", Name: name, CreationTimestamp: began}
}

// with changes a new object.
func with[T any](o T, changes ...func(T)) T {
	for _, change := range changes {
		change(o)
	}
	return o
}

// labelled gives an object a label, noted an annotation.
func labelled[T client.Object](key, value string) func(T) {
	return func(o T) { o.SetLabels(added(o.GetLabels(), key, value)) }
}

func noted[T client.Object](key, value string) func(T) {
	return func(o T) { o.SetAnnotations(added(o.GetAnnotations(), key, value)) }
}

func finalized[T client.Object](o T) { o.SetFinalizers(append(o.GetFinalizers(), finalizer)) }

func added(to map[string]string, key, value string) map[string]string {
	if to == nil {
		to = map[string]string{}
	}
	to[key] = value
	return to
}

// many are n strings of a length, no two the same.
func many(n, length int) []string {
	all := make([]string, n)
	for i := range all {
		number := fmt.Sprint(i)
		all[i] = strings.Repeat("x", max(0, length-len(number))) + number
	}
	return all
}

// pod is one of others.
func pod(name string, changes ...func(*corev1.Pod)) *corev1.Pod {
	return with(&corev1.Pod{ObjectMeta: named(name), Spec: corev1.PodSpec{
		ServiceAccountName: "default", Containers: []corev1.Container{{Name: "main", Image: image}},
	}}, changes...)
}

// hopPod is a pod as admission makes it.
func hopPod(changes ...func(*corev1.Pod)) *corev1.Pod {
	return with(pod("dhop-x", labelled[*corev1.Pod](v1alpha1.LabelHop, "look"), func(p *corev1.Pod) {
		p.Spec.ServiceAccountName, p.Spec.AutomountServiceAccountToken, p.Spec.TerminationGracePeriodSeconds = account, new(false), new(int64(30))
		p.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: v1alpha1.GateGrant}}
		p.Spec.Volumes = []corev1.Volume{workload.TokenVolume()}
		p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{workload.TokenMount()}
	}), changes...)
}

// full gives a pod 64 volumes of 32 projected tokens each, 64 containers of both kinds, and labels, annotations and owners.
func full(p *corev1.Pod) {
	token := *workload.TokenVolume().Projected.Sources[0].DeepCopy()
	for _, name := range many(63, 63) {
		v := corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{}}}
		for range 32 {
			v.Projected.Sources = append(v.Projected.Sources, *token.DeepCopy())
		}
		p.Spec.Volumes = append(p.Spec.Volumes, v)
	}
	for _, name := range many(64, 63) {
		c := corev1.Container{Name: name, Image: "example.com/" + strings.Repeat("i", 243)}
		for _, variable := range many(32, 63) {
			c.Env = append(c.Env, corev1.EnvVar{Name: variable, Value: variable})
		}
		p.Spec.InitContainers = append(p.Spec.InitContainers, c)
		c.Name += "-"
		p.Spec.Containers = append(p.Spec.Containers, c)
	}
	for _, name := range many(256, 63) {
		p.Spec.Tolerations = append(p.Spec.Tolerations, corev1.Toleration{Key: name, Operator: corev1.TolerationOpExists})
		p.OwnerReferences = append(p.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: name, UID: "1"})
		labelled[*corev1.Pod](name, name)(p)
		noted[*corev1.Pod](name, strings.Repeat(name, 16))(p)
	}
}

func template() corev1.PodTemplateSpec {
	p := pod("", func(p *corev1.Pod) { p.Spec.ServiceAccountName = "" })
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelHop: "look"}}, Spec: p.Spec}
}

// fullTemplate is of a full pod.
func fullTemplate() corev1.PodTemplateSpec {
	p := hopPod(full)
	p.Spec.ServiceAccountName, p.Spec.SchedulingGates = "", nil
	return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: p.Labels, Annotations: p.Annotations}, Spec: p.Spec}
}

// job declares the hop.
func job(changes ...func(*batchv1.Job)) *batchv1.Job {
	return with(&batchv1.Job{ObjectMeta: named("j"), Spec: batchv1.JobSpec{Suspend: new(true), Template: template()}}, changes...)
}

func plainJob(changes ...func(*batchv1.Job)) *batchv1.Job {
	return with(job(func(j *batchv1.Job) { j.Spec.Template.Labels = nil }), changes...)
}

func fullJob(j *batchv1.Job) {
	j.Spec.Template = fullTemplate()
	for _, name := range many(256, 63) {
		labelled[*batchv1.Job](name, name)(j)
		noted[*batchv1.Job](name, strings.Repeat(name, 14))(j)
		j.OwnerReferences = append(j.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: name, UID: "1"})
	}
}

func cronJob(changes ...func(*batchv1.CronJob)) *batchv1.CronJob {
	return with(&batchv1.CronJob{ObjectMeta: named("c"), Spec: batchv1.CronJobSpec{
		Schedule: "0 0 29 2 *", JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template()}},
	}}, changes...)
}

func fullCronJob(c *batchv1.CronJob) { c.Spec.JobTemplate.Spec.Template = fullTemplate() }

func serviceAccount(name string, changes ...func(*corev1.ServiceAccount)) *corev1.ServiceAccount {
	return with(&corev1.ServiceAccount{ObjectMeta: named(name)}, changes...)
}

func role(name string, changes ...func(*rbacv1.Role)) *rbacv1.Role {
	return with(&rbacv1.Role{ObjectMeta: named(name), Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}},
	}}, changes...)
}

// binding binds the Role of its name.
func binding(name string, subjects ...rbacv1.Subject) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: named(name), RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name}, Subjects: subjects,
	}
}

func toAccount(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: "team", Name: name}
}

func toUser(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}
}

func toUsers(names []string) (subjects []rbacv1.Subject) {
	for _, name := range names {
		subjects = append(subjects, toUser(name))
	}
	return subjects
}

func secret(kind corev1.SecretType, changes ...func(*corev1.Secret)) *corev1.Secret {
	return with(&corev1.Secret{ObjectMeta: named("s"), Type: kind}, changes...)
}

func service(name string, changes ...func(*corev1.Service)) *corev1.Service {
	return with(&corev1.Service{ObjectMeta: named(name), Spec: corev1.ServiceSpec{ClusterIP: "10.0.0.1"}}, changes...)
}

func claim(volume string) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: named("c"), Spec: corev1.PersistentVolumeClaimSpec{VolumeName: volume}}
}

func configMap() *corev1.ConfigMap { return &corev1.ConfigMap{ObjectMeta: named("c")} }

// path is of root, as is the hop.
func path(changes ...func(*v1alpha1.DelegationPath)) *v1alpha1.DelegationPath {
	return with(&v1alpha1.DelegationPath{ObjectMeta: named("p"), Spec: v1alpha1.DelegationPathSpec{
		Reason: "x", Origin: &v1alpha1.Subject{User: root}, Lifetime: v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: time.Hour}},
		Scope: v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{
			Namespaces: []string{"team"},
			Rules:      []v1alpha1.ResourceRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}},
		}}},
	}}, changes...)
}

func aHop(changes ...func(*v1alpha1.DelegationHop)) *v1alpha1.DelegationHop {
	return with(&v1alpha1.DelegationHop{ObjectMeta: named("look"), Spec: v1alpha1.DelegationHopSpec{
		PathRef: v1alpha1.ObjectRef{Name: "p"}, InheritScope: new(true), Author: &v1alpha1.Subject{User: root},
	}}, changes...)
}
