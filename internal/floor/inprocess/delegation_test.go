package inprocess

import (
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

const (
	certs     = "system:serviceaccount:wayleave-system:wayleave-certs"
	mayDeploy = "deploy delegationpaths/"
)

// delegationRules are about what a hop makes, and about the certificate rotation.
var delegationRules = map[string]tried{
	"certs": {
		idle: create(secret("Opaque"), by(eve)),
		rows: map[string]row{
			"another Secret": {
				"of its namespace alone", update(secret("Opaque"), noted1, by(certs)),
				update(ourSecret(), noted1, by(certs)),
			},
			"its deletion": {"of its namespace alone", remove(ourSecret(), by(certs)), update(ourSecret(), noted1, by(certs))},
			"a token":      {"of its namespace alone", token("default", 600, by(certs)), create(configMap(), by(certs))},
			"its namesake": {
				"of its namespace alone", update(namesake(), noted1, by(certs)),
				update(ourSecret(), noted1, by(certs)),
			},
			"a ReplicaSet": {
				"of its namespace alone", create(&appsv1.ReplicaSet{ObjectMeta: named("x")}, by(certs)),
				create(configMap(), by(certs)),
			},
			"a plain account": {"of its namespace alone", create(serviceAccount("x"), by(certs)), create(configMap(), by(certs))},
		},
	},
	"hop-hops": {
		idle: create(configMap(), by(hop)),
		rows: map[string]row{
			"a first hop": {
				"below itself alone", create(made(func(h *v1alpha1.DelegationHop) { h.Spec.ParentRef = nil }), by(hop)),
				create(made(), by(hop)),
			},
			"below another": {
				"below itself alone", create(made(below("other", "")), by(hop)),
				create(made(below("look", "team")), by(hop)),
			},
			"below one elsewhere": {
				"below itself alone", create(made(below("look", "other")), by(hop)),
				create(made(below("look", "")), by(hop)),
			},
			"a change":   {"below itself alone", update(made(), revokedHop, by(hop)), update(made(), revokedHop)},
			"a deletion": {"below itself alone", remove(made(), by(hop)), remove(made())},
			"a path":     {"below itself alone", create(path(from(&v1alpha1.Subject{User: hop})), by(hop)), create(path())},
		},
		worst: map[string]row{"a long name": {"below itself alone", create(made(), by(longHop)), create(made(), by(hop))}},
	},
	"hop-workloads": {
		idle: create(job(), by(eve), may(mayUse)),
		rows: map[string]row{
			"a Job of no hop": {"without declaring a hop", create(plainJob(), by(hop)), create(job(), by(hop), may(mayUse))},
			"a pod of no hop": {"without declaring a hop", create(pod("x"), by(hop)), create(hopPod(), by(hop), may(mayUse))},
			"a CronJob":       {"may not be used", create(cronJob(), by(hop)), create(cronJob(), by(hop), may(mayUse))},
			"a Job of a hop":  {"may not be used", create(job(), by(hop)), create(job(), by(hop), may(mayUse))},
			"a ReplicaSet": {
				"without declaring a hop", create(replicaSet(), by(hop), may(mayUse)),
				create(replicaSet(), by(hop), may(mayDeploy)),
			},
			"a Job of another": {
				"declared another one before", update(plainJob(), declaring, by(hop), may(mayUse)),
				update(job(), started, by(hop), may(mayUse)),
			},
			"a change of others": {
				"without declaring a hop", update(plainJob(), started, by(hop)),
				update(plainJob(), started, by(hop), may(mayDeploy)),
			},
		},
		worst: map[string]row{"a full Job": {
			"may not be used", create(job(fullJob), by(longHop)), create(job(fullJob), by(longHop), may(mayUse)),
		}},
	},
}

var noted1 = noted[*corev1.Secret]("a", "b")

// ourSecret is the one that the certificate rotation fills.
func ourSecret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "wayleave-system", Name: "wayleave-webhook-cert"}}
}

func namesake() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "wayleave-webhook-cert"}}
}

// made is a hop that the identity of hop look makes.
func made(changes ...func(*v1alpha1.DelegationHop)) *v1alpha1.DelegationHop {
	return aHop(append([]func(*v1alpha1.DelegationHop){
		below("look", ""), writtenBy(&v1alpha1.Subject{User: hop}), func(h *v1alpha1.DelegationHop) { h.Name = "made" },
	}, changes...)...)
}

func below(parent, namespace string) func(*v1alpha1.DelegationHop) {
	return func(h *v1alpha1.DelegationHop) {
		h.Spec.ParentRef = &v1alpha1.ObjectRef{Name: parent, Namespace: namespace}
	}
}

func revokedHop(h *v1alpha1.DelegationHop) { h.Spec.Revoked = &v1alpha1.Revocation{Reason: "enough"} }

func declaring(j *batchv1.Job) { j.Spec.Template.Labels = map[string]string{v1alpha1.LabelHop: "look"} }

func replicaSet() *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{ObjectMeta: named("x"), Spec: appsv1.ReplicaSetSpec{Template: template()}}
}
