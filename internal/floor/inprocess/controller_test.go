package inprocess

import (
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// controllerRules keep the controller, or who has taken its token, to what it is for.
var controllerRules = map[string]tried{
	"controller-accounts": {
		idle: create(serviceAccount("mine"), by(eve)),
		rows: map[string]row{
			"another account": {
				"accounts named dhop-… alone", create(serviceAccount("mine"), by(ours)), create(serviceAccount(account), by(ours)),
			},
			"its deletion": {
				"accounts named dhop-… alone", remove(serviceAccount("mine"), by(ours)), remove(serviceAccount(account), by(ours)),
			},
			"a token of another": {"accounts named dhop-… alone", token("default", 600, by(ours)), token(account, 600, by(ours))},
		},
	},
	"controller-jobs": {
		idle: update(job(), started, by(eve)),
		rows: map[string]row{
			"another Job":     {"declare a hop alone", update(plainJob(), started, by(ours)), update(job(), started, by(ours))},
			"a new one":       {"declare a hop alone", create(job(), by(ours)), update(job(), started, by(ours))},
			"its template":    {"nothing else in their spec", update(job(), swapped, by(ours)), update(job(), started, by(ours))},
			"its parallelism": {"nothing else in their spec", update(job(), parallel, by(ours)), update(job(), started, by(ours))},
			"a CronJob": {
				"nothing else in their spec", update(cronJob(), func(c *batchv1.CronJob) { c.Spec.Schedule = "* * * * *" }, by(ours)),
				update(cronJob(), noted[*batchv1.CronJob](v1alpha1.AnnotationDeclaredHop, "1"), by(ours)),
			},
			"an annotation": {
				"its own annotations", update(job(), noted[*batchv1.Job]("a", "b"), by(ours)),
				update(job(), noted[*batchv1.Job]("delegation.wayleave.dev/suspended-for", "b"), by(ours)),
			},
			"an annotation that goes": {
				"its own annotations", update(job(noted[*batchv1.Job]("a", "b")), func(j *batchv1.Job) { j.Annotations = nil }, by(ours)),
				update(job(declaredFor("1")), noted[*batchv1.Job]("delegation.wayleave.dev/use-ended", "b"), by(ours)),
			},
			"for no hop": {
				"for which hop", update(job(declaredFor("1")), func(j *batchv1.Job) { j.Annotations = nil }, by(ours)),
				update(job(declaredFor("1")), started, by(ours)),
			},
			"who declared it": {
				"its own annotations", update(job(), noted[*batchv1.Job](v1alpha1.AnnotationDeclaredBy, "bob"), by(ours)),
				update(job(), declaredFor("1"), by(ours)),
			},
			"for which hop": {
				"for which hop",
				update(job(declaredFor("1")), declaredFor("2"), by(ours)),
				update(job(), declaredFor("2"), by(ours)),
			},
		},
		worst: map[string]row{"a full Job": {
			"nothing else in their spec", update(job(fullJob), swapped, by(ours)), update(job(fullJob), started, by(ours)),
		}},
	},
	"controller-kinds": {
		idle: create(configMap()),
		rows: map[string]row{
			"a spec": {
				"the label delegation.wayleave.dev/record", update(path(), suspended, by(ours)),
				update(path(), labelled[*v1alpha1.DelegationPath](v1alpha1.LabelRecord, "x"), by(ours)),
			},
			"another label": {
				"the label delegation.wayleave.dev/record", update(aHop(), labelled[*v1alpha1.DelegationHop]("a", "b"), by(ours)),
				update(aHop(), labelled[*v1alpha1.DelegationHop](v1alpha1.LabelRecord, "x"), by(ours)),
			},
			"a new one": {"the label delegation.wayleave.dev/record", create(aHop(), by(ours)), create(aHop())},
		},
		worst: map[string]row{"at the bounds": {
			"the label delegation.wayleave.dev/record", update(path(fullPath), suspended, by(ours)),
			update(path(fullPath), labelled[*v1alpha1.DelegationPath](v1alpha1.LabelRecord, "x"), by(ours)),
		}},
	},
	"controller-pods": {
		idle: update(pod("x"), activeFor, by(eve)),
		rows: map[string]row{
			"another pod": {"at its gate alone", update(pod("x"), activeFor, by(ours)), update(hopPod(), activeFor, by(ours))},
			"an image":    {"activeDeadlineSeconds alone", update(hopPod(), imageSwapped, by(ours)), update(hopPod(), opened, by(ours))},
			"another gate": {
				"activeDeadlineSeconds alone", update(hopPod(gatedElsewhere), allOpened, by(ours)), update(hopPod(gatedElsewhere), opened, by(ours)),
			},
			"a label": {
				"activeDeadlineSeconds alone", update(hopPod(), labelled[*corev1.Pod]("a", "b"), by(ours)), update(hopPod(), opened, by(ours)),
			},
			"a new pod": {"at its gate alone", create(hopPod(), by(ours)), update(hopPod(), opened, by(ours))},
		},
		worst: map[string]row{"a full pod": {
			"activeDeadlineSeconds alone", update(hopPod(full), imageSwapped, by(ours)), update(hopPod(full), opened, by(ours)),
		}},
	},
	"controller-pod-status": {
		idle: update(pod("x"), ran, by(eve), at("status")),
		rows: map[string]row{
			"a phase": {"Granted of a pod alone", update(hopPod(), ran, by(ours), at("status")), update(hopPod(), granted, by(ours), at("status"))},
			"another condition": {
				"Granted of a pod alone", update(hopPod(), readied, by(ours), at("status")), update(hopPod(), granted, by(ours), at("status")),
			},
			"a label": {
				"Granted of a pod alone", update(hopPod(), labelled[*corev1.Pod]("a", "b"), by(ours), at("status")),
				update(hopPod(), granted, by(ours), at("status")),
			},
		},
		worst: map[string]row{"a full pod": {
			"Granted of a pod alone", update(hopPod(full, fullStatus), readied, by(ours), at("status")),
			update(hopPod(full, fullStatus), granted, by(ours), at("status")),
		}},
	},
	"controller-rbac": {
		idle: create(binding("mine", toUser("bob")), by(eve)),
		rows: map[string]row{
			"another Role": {"named dhop-… alone", create(role("reader"), by(ours)), create(role(account), by(ours))},
			"its deletion": {"named dhop-… alone", remove(role("reader"), by(ours)), remove(role(account), by(ours))},
			"of a ceiling": {"binds Roles named dhop-…", create(boundTo("view"), by(ours)), create(boundTo(account), by(ours))},
			"to another": {
				"the accounts of hops alone", create(binding(account, toAccount("bot")), by(ours)),
				create(binding(account, toAccount(account)), by(ours)),
			},
			"to a user": {
				"the accounts of hops alone", create(binding(account, toUser("dhop-x")), by(ours)),
				create(binding(account, toAccount("dhop-x")), by(ours)),
			},
			"a ceiling": {
				"the labels of hops alone", create(roleLabelled(v1alpha1.LabelCeiling), by(ours)), create(roleLabelled(v1alpha1.LabelHopUID), by(ours)),
			},
			"to aggregate": {
				"the labels of hops alone", create(roleLabelled("rbac.authorization.k8s.io/aggregate-to-view"), by(ours)),
				create(roleLabelled(v1alpha1.LabelHopUID), by(ours)),
			},
			"by a label of its own": {
				"the labels of hops alone", create(roleLabelled("team"), by(ours)), create(roleLabelled("app.kubernetes.io/managed-by"), by(ours)),
			},
			"another binding's deletion": {
				"named dhop-… alone", remove(binding("mine", toUser("bob")), by(ours)), remove(binding(account, toAccount(account)), by(ours)),
			},
			"an aggregated": {
				"aggregates no ClusterRole", create(clusterRole(&rbacv1.AggregationRule{}), by(ours)), create(clusterRole(nil), by(ours)),
			},
		},
		worst: map[string]row{"many subjects": {
			"the accounts of hops alone", create(binding(account, toUsers(many(5000, 250))...), by(ours)),
			create(binding(account, toAccounts(many(5000, 200))...), by(ours)),
		}},
	},
	"controller-secrets": {
		idle: create(secret(corev1.SecretTypeOpaque), by(eve)),
		rows: map[string]row{
			"another Secret": {
				"Secrets of hops alone", create(secret(corev1.SecretTypeOpaque), by(ours)), create(secret(corev1.SecretTypeOpaque, ofAHop), by(ours)),
			},
			"its deletion": {
				"Secrets of hops alone", remove(secret(corev1.SecretTypeOpaque), by(ours)),
				remove(secret(corev1.SecretTypeOpaque, ownedByAHop), by(ours)),
			},
			"one that is taken over": {
				"Secrets of hops alone", update(secret(corev1.SecretTypeOpaque), ofAHop, by(ours)),
				update(secret(corev1.SecretTypeOpaque, ofAHop), noted[*corev1.Secret]("a", "b"), by(ours)),
			},
			"of no type": {"of type Opaque", create(secret(corev1.SecretTypeTLS, ofAHop), by(ours)), create(secret("", ofAHop), by(ours))},
			"of another type": {
				"of type Opaque", create(secret(corev1.SecretTypeServiceAccountToken, ofAHop), by(ours)), create(secret("Opaque", ofAHop), by(ours)),
			},
		},
		worst: map[string]row{"many owners": {
			"Secrets of hops alone", create(secret(corev1.SecretTypeOpaque, manyOwners), by(ours)),
			create(secret(corev1.SecretTypeOpaque, manyOwners, ownedByAHop), by(ours)),
		}},
	},
}

func started(j *batchv1.Job)  { j.Spec.Suspend = new(false) }
func swapped(j *batchv1.Job)  { j.Spec.Template.Spec.Containers[0].Image = elsewhere }
func parallel(j *batchv1.Job) { j.Spec.Parallelism = new(int32(9)) }

func declaredFor(uid string) func(*batchv1.Job) {
	return noted[*batchv1.Job](v1alpha1.AnnotationDeclaredHop, uid)
}

func suspended(p *v1alpha1.DelegationPath) { p.Spec.Suspend = new(true) }

func activeFor(p *corev1.Pod)    { p.Spec.ActiveDeadlineSeconds = new(int64(60)) }
func imageSwapped(p *corev1.Pod) { p.Spec.Containers[0].Image = elsewhere }
func allOpened(p *corev1.Pod)    { p.Spec.SchedulingGates = nil }
func gatedElsewhere(p *corev1.Pod) {
	p.Spec.SchedulingGates = append(p.Spec.SchedulingGates, corev1.PodSchedulingGate{Name: elsewhere})
}

// opened opens our gate, which is the first.
func opened(p *corev1.Pod) { p.Spec.SchedulingGates = p.Spec.SchedulingGates[1:] }

func ran(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }
func granted(p *corev1.Pod) {
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: v1alpha1.GroupName + "/Granted"})
}
func readied(p *corev1.Pod) {
	p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodReady})
}

// fullStatus has a condition for each gate of readiness that there may be, and a status for each container.
func fullStatus(p *corev1.Pod) {
	for _, name := range many(256, 253) {
		p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{
			Type: corev1.PodConditionType(name), Message: strings.Repeat(name, 4),
		})
		p.Status.ContainerStatuses = append(p.Status.ContainerStatuses, corev1.ContainerStatus{Name: name, Image: name, ImageID: name})
	}
}

func boundTo(name string) *rbacv1.RoleBinding {
	b := binding(account, toAccount(account))
	b.RoleRef.Name = name
	return b
}

func toAccounts(names []string) (subjects []rbacv1.Subject) {
	for _, name := range names {
		subjects = append(subjects, toAccount("dhop-"+name))
	}
	return subjects
}

func roleLabelled(key string) *rbacv1.Role { return role(account, labelled[*rbacv1.Role](key, "true")) }

func clusterRole(aggregation *rbacv1.AggregationRule) *rbacv1.ClusterRole {
	return &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: account, CreationTimestamp: began}, AggregationRule: aggregation}
}

func ofAHop(s *corev1.Secret) { s.Labels = map[string]string{v1alpha1.LabelHopUID: "1"} }

func ownedByAHop(s *corev1.Secret) {
	s.OwnerReferences = append(s.OwnerReferences, metav1.OwnerReference{
		APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DelegationHop", Name: "look",
	})
}

func manyOwners(s *corev1.Secret) {
	for _, name := range many(256, 253) {
		s.OwnerReferences = append(s.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "ConfigMap", Name: name})
	}
}
