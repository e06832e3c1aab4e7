package inprocess

import (
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// identityRules are about what makes a hop an identity: accounts, rights and tokens.
var identityRules = map[string]tried{
	"bindings": {
		idle: create(binding("mine", toUser("bob"), rbacv1.Subject{Kind: rbacv1.GroupKind, Name: "system:serviceaccounts:team"})),
		rows: map[string]row{
			"an account": {"only the controller", create(binding("mine", toAccount(account))), create(binding("mine", toAccount("default")))},
			"an account by its user name": {
				"only the controller", create(binding("mine", toUser(hop))), create(binding("mine", toUser("system:serviceaccount:team:default"))),
			},
			"a user who is no account": {
				"only the controller", create(binding("mine", toUser(hop))), create(binding("mine", toUser("team:dhop-look"))),
			},
			"one more subject": {
				"only the controller",
				update(binding("mine", toUser("bob")), func(b *rbacv1.RoleBinding) { b.Subjects = append(b.Subjects, toAccount(account)) }),
				update(binding("mine", toUser("bob")), func(b *rbacv1.RoleBinding) { b.Subjects = append(b.Subjects, toAccount("bot")) }),
			},
			"by the controller alone": {
				"only the controller", create(binding(account, toAccount(account)), by(eve)), create(binding(account, toAccount(account)), by(ours)),
			},
		},
		worst: map[string]row{
			"many short names": {
				"only the controller", create(binding("mine", append(toUsers(many(5000, 1)), toAccount(account))...)),
				create(binding("mine", toUsers(many(5000, 1))...)),
			},
			"many long names": {
				"only the controller", create(binding("mine", append(toUsers(many(5000, 250)), toAccount(account))...)),
				create(binding("mine", toUsers(many(5000, 250))...)),
			},
		},
	},
	"certificates": {
		idle: create(certificateOf("default")),
		rows: map[string]row{"of a hop": {
			"no certificate is issued", create(certificateOf(account), by(node)), create(certificateOf("default"), by(node)),
		}},
	},
	"deletions": {
		idle: remove(role("reader"), cascading(metav1.DeletePropagationForeground)),
		rows: map[string]row{
			"in the foreground": {
				"deleted at once", remove(serviceAccount(account), cascading(metav1.DeletePropagationForeground)),
				remove(serviceAccount(account), cascading(metav1.DeletePropagationBackground)),
			},
			"leaving orphans": {
				"deleted at once", remove(binding(account), cascading(metav1.DeletePropagationOrphan)), remove(binding(account)),
			},
			"as in the oldest clients": {
				"deleted at once", remove(role(account), leavingOrphans(true)),
				remove(role(account), leavingOrphans(false)),
			},
		},
	},
	"identities": {
		idle: create(serviceAccount("mine")),
		rows: map[string]row{
			"an account": {"the controller of Wayleave alone", create(serviceAccount(account)), create(serviceAccount(account), by(ours))},
			"an account of a generated name": {
				"the controller of Wayleave alone", create(serviceAccount("", func(a *corev1.ServiceAccount) { a.GenerateName = "dhop-" })),
				create(serviceAccount("", func(a *corev1.ServiceAccount) { a.GenerateName = "hop-" })),
			},
			"a Role":    {"the controller of Wayleave alone", create(role(account), by(eve)), create(role("reader"), by(eve))},
			"its rules": {"the controller of Wayleave alone", update(role(account), emptied), update(role("reader"), emptied)},
			"its labels": {
				"the controller of Wayleave alone", update(serviceAccount(account), labelled[*corev1.ServiceAccount]("a", "b")),
				update(serviceAccount(account), func(*corev1.ServiceAccount) {}),
			},
			"a finalizer, by the controller": {
				"gets no finalizer", update(role(account), finalized, by(ours)), update(role(account), emptied, by(ours)),
			},
			"a finalizer goes": {
				"gets no finalizer", update(role(account), finalized), update(role(account, finalized), func(r *rbacv1.Role) { r.Finalizers = nil }),
			},
		},
		worst: map[string]row{
			"many rules": {
				"the controller of Wayleave alone", update(role(account, manyRules), emptied), update(role(account, manyRules), func(*rbacv1.Role) {}),
			},
			"many finalizers": {
				"gets no finalizer",
				update(role(account, manyFinalizers), finalized, by(ours)),
				update(role(account, manyFinalizers), manyRules, by(ours)),
			},
		},
	},
	"tokens": {
		idle: token("default", 7200),
		rows: map[string]row{
			"by anybody":          {"requested by the controller of Wayleave", token(account, 600), token(account, 600, by(ours))},
			"by an editor":        {"requested by the controller of Wayleave", token(account, 600, by(eve)), token("default", 600, by(eve))},
			"by a node, unbound":  {"requested by the controller of Wayleave", token(account, 600, by(node)), token(account, 600, by(node), forPod)},
			"for long":            {"at most 3600 seconds", token(account, 3607, by(ours)), token(account, 3600, by(ours))},
			"beyond the account":  {"ends with the account", token(account, 601, by(ours), late), token(account, 600, by(ours), late)},
			"after the end":       {"has ended", token(ended, 600, by(ours)), token(account, 600, by(ours))},
			"of a malformed name": {"has ended", token("dhop-x", 600, by(ours)), token(account, 600, by(ours))},
		},
		worst: map[string]row{
			"a long name": {
				"at most 3600 seconds", token("dhop-"+strings.Repeat("x", 200)+".5f0d.999999999999", 3607, by(ours)),
				token("dhop-"+strings.Repeat("x", 200)+".5f0d.999999999999", 3600, by(ours)),
			},
		},
	},
	"token-secrets": {
		idle: create(secret(corev1.SecretTypeServiceAccountToken, accountNoted("default"))),
		rows: map[string]row{
			"a new one": {
				"a token without end", create(secret(corev1.SecretTypeServiceAccountToken, accountNoted(account))),
				create(secret(corev1.SecretTypeOpaque, accountNoted(account))),
			},
			"one that is changed": {
				"a token without end", update(secret(corev1.SecretTypeServiceAccountToken, accountNoted("default")), accountNoted(account)),
				update(secret(corev1.SecretTypeServiceAccountToken, accountNoted("default")), accountNoted("other")),
			},
		},
	},
}

func certificateOf(account string) *certificatesv1.PodCertificateRequest {
	return &certificatesv1.PodCertificateRequest{
		ObjectMeta: named("c"), Spec: certificatesv1.PodCertificateRequestSpec{SignerName: "example.com/s", ServiceAccountName: account},
	}
}

func accountNoted(account string) func(*corev1.Secret) {
	return noted[*corev1.Secret](corev1.ServiceAccountNameKey, account)
}

func emptied(r *rbacv1.Role) { r.Rules = nil }

func manyRules(r *rbacv1.Role) {
	for range 2048 {
		r.Rules = append(r.Rules, rbacv1.PolicyRule{APIGroups: many(4, 63), Resources: many(4, 63), Verbs: many(4, 63)})
	}
}

func manyFinalizers(r *rbacv1.Role) { r.Finalizers = many(256, 63) }
