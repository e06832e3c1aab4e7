package inprocess

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

const lastApplied = "kubectl.kubernetes.io/last-applied-configuration"

// kindRules are about paths and hops themselves.
var kindRules = map[string]tried{
	"author": {
		idle:  create(configMap()),
		rows:  authorRows(),
		worst: worstSubjects(func(s *v1alpha1.Subject, with ...func(*request)) request { return create(aHop(writtenBy(s)), with...) }),
	},
	"origin": {
		idle: create(configMap()),
		rows: originRows(),
		worst: worstSubjects(func(s *v1alpha1.Subject, with ...func(*request)) request {
			return create(path(fullPath, from(s)), with...)
		}),
	},
	"stamps": {
		idle: create(configMap()),
		rows: map[string]row{
			"revoked by another": {
				"spec.revoked.by names another user", update(path(), revokedBy("bob"), by(eve)), update(path(), revokedBy(eve), by(eve)),
			},
			"who revoked stays": {
				"spec.revoked.by names another user", update(path(revokedBy("bob")), revokedBy("dan"), by(eve)),
				update(path(revokedBy("bob")), suspended, by(eve)),
			},
			"changed by another": {
				"changed-by names another user", update(path(), changedBy("bob"), by(eve)), update(path(), changedBy(eve), by(eve)),
			},
			"who changed it stays": {
				"changed-by names another user", update(path(changedBy("bob")), changedBy("dan"), by(eve)),
				update(path(changedBy("bob")), labels(1), by(eve)),
			},
			"a short beginning": {
				"spec.revoked.by names another user", update(path(), revokedBy("yyy…"), by(strings.Repeat("y", 2000))),
				update(path(), revokedBy(strings.Repeat("y", 100)+"…"), by(strings.Repeat("y", 2000))),
			},
			"no ellipsis": {
				"changed-by names another user", update(path(), changedBy(strings.Repeat("y", 100)), by(strings.Repeat("y", 2000))),
				update(path(), changedBy(strings.Repeat("y", 100)+"…"), by(strings.Repeat("y", 2000))),
			},
			"who is too long for a stamp": {
				"spec.revoked.by names another user", update(path(), revokedBy(strings.Repeat("x", 1020)+"…"), by(strings.Repeat("y", 2000))),
				update(path(), revokedBy(strings.Repeat("y", 1020)+"…"), by(strings.Repeat("y", 2000))),
			},
		},
		worst: map[string]row{"the longest names": {
			"changed-by names another user", update(path(fullPath), changedBy(strings.Repeat("x", 1020)+"…"), by(strings.Repeat("y", 8000))),
			update(path(fullPath), changedBy(strings.Repeat("y", 1020)+"…"), by(strings.Repeat("y", 8000))),
		}},
	},
	"status": {
		idle: update(pod("x"), ran, at("status")),
		rows: map[string]row{
			"of a path": {
				"written by the controller of Wayleave alone", update(path(), active, at("status")), update(path(), active, at("status"), by(ours)),
			},
			"of a hop": {
				"written by the controller of Wayleave alone", update(aHop(), func(*v1alpha1.DelegationHop) {}, at("status"), by(eve)),
				update(aHop(), func(*v1alpha1.DelegationHop) {}, at("status"), by(ours)),
			},
		},
	},
	"metadata": {
		idle: create(configMap()),
		rows: map[string]row{
			"labels": {"metadata.labels: at most 64", create(path(labels(65))), create(path(labels(64)))},
			"an annotation": {
				"metadata.annotations: at most 64", create(path(filled("filler", 16385-len("filler")))),
				create(path(filled("filler", 16384-len("filler")))),
			},
			"last-applied": {"65,536 bytes", create(path(filled(lastApplied, 65537))), create(path(filled(lastApplied, 65536)))},
			"finalizers":   {"metadata.finalizers: at most 16", create(path(finalizers(17))), create(path(finalizers(16)))},
			"owners":       {"metadata.ownerReferences: at most 16", create(path(owners(17))), create(path(owners(16)))},
			"managers":     {"at most 8 managers", create(path(managers(9))), create(path(managers(8)))},
			"one who changed it": {
				"may have 4,128 bytes", update(path(), filled(v1alpha1.AnnotationChangedBy, 4129), by(long(4129))),
				update(path(), filled(v1alpha1.AnnotationChangedBy, 4128), by(long(4128))),
			},
			"more than before": {
				"metadata.labels: at most 64", update(path(labels(70)), labels(71)), update(path(labels(70)), labels(69)),
			},
			"more notes than before": {"metadata.annotations: at most 64", update(path(notes(70)), notes(71)), update(path(notes(70)), notes(69))},
			"more finalizers than before": {
				"metadata.finalizers: at most 16", update(path(finalizers(20)), finalizers(21)), update(path(finalizers(20)), finalizers(19)),
			},
			"more owners than before": {
				"metadata.ownerReferences: at most 16", update(path(owners(20)), owners(21)), update(path(owners(20)), owners(19)),
			},
			"as many owners, of longer names": {
				"metadata.ownerReferences: at most 16", update(path(owners(20)), longerOwners), update(path(owners(20)), suspended),
			},
			"long keys": {"metadata.annotations: at most 64", create(path(keyed(33))), create(path(keyed(32)))},
			"room to suspend, once": {
				"metadata.annotations: at most 64", update(path(suspended), both(filled("filler", 20000), suspended)),
				update(path(), both(filled("filler", 20000), suspended)),
			},
			"room to suspend, not to resume": {
				"metadata.annotations: at most 64", update(path(), both(filled("filler", 20000), resumed)),
				update(path(), both(filled("filler", 20000), suspended)),
			},
			"room to revoke": {
				"metadata.annotations: at most 64",
				update(path(), filled("filler", 20000)),
				update(path(), both(filled("filler", 20000), revokedBy(""))),
			},
			"fewer labels, of more bytes": {
				"metadata.labels: at most 64", update(path(labels(70)), longLabels), update(path(labels(70)), both(labels(70), suspended)),
			},
			"a longer last-applied": {
				"65,536 bytes", update(path(filled(lastApplied, 70000)), filled(lastApplied, 70001)),
				update(path(filled(lastApplied, 70000)), filled(lastApplied, 69999)),
			},
			"no room once it is revoked": {
				"metadata.annotations: at most 64",
				update(path(revokedBy("")), filled("filler", 20000)),
				update(path(revokedBy("")), filled("filler", 16000)),
			},
			"room to suspend": {
				"metadata.annotations: at most 64", update(path(), filled("filler", 20000)), update(path(), both(filled("filler", 20000), suspended)),
			},
			"a manager more, to revoke": {
				"at most 8 managers", update(path(managers(12)), managers(13)), update(path(managers(12)), both(managers(13), revokedBy(""))),
			},
			"what is over, as it stands": {
				"metadata.finalizers: at most 16", update(path(finalizers(17)), finalizers(18)), update(path(finalizers(17)), suspended),
			},
		},
		worst: map[string]row{
			"at all bounds": {
				"metadata.labels: at most 64", update(path(fullPath), labels(65)), update(path(fullPath), both(fullPath, revokedBy(root))),
			},
			"many small annotations": {"metadata.annotations: at most 64", create(path(notes(5000))), create(path(notes(60)))},
			"many small labels":      {"metadata.labels: at most 64", create(path(labels(7984))), create(path(labels(64)))},
			"many long owners":       {"metadata.ownerReferences: at most 16", create(path(owners(4000))), create(path(owners(16)))},
			"many managers":          {"at most 8 managers", create(path(managers(2000))), create(path(managers(8)))},
			"the longest annotations": {
				"metadata.annotations: at most 64", create(path(filled("filler", 262000))), create(path(filled("filler", 16000))),
			},
		},
	},
}

// subjectRows are about whom a request declares, as origin or author.
func subjectRows(declaring func(*v1alpha1.Subject, ...func(*request)) request) map[string]row {
	const bot = "system:serviceaccount:team:bot"
	gitops := []func(*request){by("gitops", "team"), may("impersonate users/alice", "impersonate serviceaccounts/bot")}
	for i := range 10 {
		gitops = append(gitops, may(fmt.Sprintf("impersonate groups/g%d", i)))
	}
	as := func(user string, groups ...string) request {
		return declaring(&v1alpha1.Subject{User: user, Groups: groups}, gitops...)
	}
	eight := []string{"g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7"}
	rows := map[string]row{
		"nobody":              {"is not stamped", declaring(nil, gitops...), as("gitops")},
		"another user":        {`"bob", and you may not act as them`, as("bob"), as("alice")},
		"another account":     {"impersonate serviceaccounts", as("system:serviceaccount:team:other"), as(bot)},
		"a group of others":   {`declares the group "admins"`, as("gitops", "admins"), as("gitops", "team")},
		"a group of oneself":  {`declares the group "team"`, as("alice", "team"), as("alice", "g0")},
		"nine groups":         {"more than 8 groups", as("alice", append(eight[:8:8], "g8")...), as("alice", eight...)},
		"masters":             {"declares system:masters", as("gitops", masters), as("gitops")},
		"an implied group":    {"declares the group", as(bot, "system:serviceaccounts:other"), as(bot, "system:serviceaccounts:team", "g0")},
		"a group of accounts": {"declares the group", as("gitops", "system:serviceaccounts:kube-system"), as("gitops", "team")},
	}
	for i := range eight {
		groups := append([]string{}, eight...)
		groups[i] = "admins"
		says := fmt.Sprintf("declares the group %q", groups[i/2*2]) // the first of the two that an expression asks about
		rows[fmt.Sprintf("group %d of 8", i)] = row{says, as("alice", groups...), as("alice", eight...)}
	}
	return rows
}

// authorRows are those of subjects, and who answers for a hop that another user changes.
func authorRows() map[string]row {
	rows := subjectRows(func(s *v1alpha1.Subject, with ...func(*request)) request { return create(aHop(writtenBy(s)), with...) })
	const says = `declares "root", and you may not act as them`
	revoked := func(h *v1alpha1.DelegationHop) { h.Spec.Revoked = &v1alpha1.Revocation{Reason: "enough"} }
	moved := func(h *v1alpha1.DelegationHop) { h.Spec.PathRef.Name = "q" }
	dropped := func(h *v1alpha1.DelegationHop) { h.Spec.InheritScope = nil }
	rows["who changes it"] = row{says, update(aHop(), moved, by(eve)), update(aHop(), revoked, by(eve))}
	marked := labelled[*v1alpha1.DelegationHop]("a", "b")
	rows["who drops a field"] = row{says, update(aHop(), dropped, by(eve)), update(aHop(), marked, by(eve))}
	return rows
}

// originRows are those of subjects, and who answers for a path that another user changes.
func originRows() map[string]row {
	rows := subjectRows(func(s *v1alpha1.Subject, with ...func(*request)) request { return create(path(from(s)), with...) })
	shorter := func(p *v1alpha1.DelegationPath) { p.Spec.Lifetime.Duration = &metav1.Duration{Duration: 60} }
	const says = `declares "root", and you may not act as them`
	mine := from(&v1alpha1.Subject{User: eve})
	rows["who changes it"] = row{says, update(path(), shorter, by(eve)), update(path(), suspended, by(eve))}
	bounded := path(func(p *v1alpha1.DelegationPath) { p.Spec.Hops = &v1alpha1.HopBounds{MaxDepth: 1} })
	dropped := func(p *v1alpha1.DelegationPath) { p.Spec.Hops = nil }
	rows["who drops a field"] = row{says, update(bounded, dropped, by(eve)), update(bounded, suspended, by(eve))}
	rows["who takes it over"] = row{says, update(path(), shorter, by(eve)), update(path(), both(shorter, mine), by(eve))}
	return rows
}

// worstSubjects are at the bounds of the schema.
func worstSubjects(declaring func(*v1alpha1.Subject, ...func(*request)) request) map[string]row {
	user, groups := long(1024), many(8, 1024)
	mayBe := may("impersonate users/" + user)
	s := &v1alpha1.Subject{User: user, Groups: groups}
	all := func(r *request) {
		for _, group := range groups {
			may("impersonate groups/" + group)(r)
		}
	}
	own := many(256, 1024)
	self, notSelf := &v1alpha1.Subject{User: user, Groups: own}, &v1alpha1.Subject{User: user, Groups: append(own[:255:255], "admins")}
	account := "system:serviceaccount:" + strings.Repeat("n", 63) + ":" + strings.Repeat("x", 253)
	return map[string]row{
		"eight long groups": {"declares the group", declaring(s, by(eve), mayBe), declaring(s, by(eve), mayBe, all)},
		"all groups of oneself": {
			"more than 8 groups", declaring(notSelf, by(user, own...)), declaring(self, by(user, own...)),
		},
		"an account": {
			"impersonate serviceaccounts", declaring(&v1alpha1.Subject{User: account, Groups: groups}, by(eve), all),
			declaring(&v1alpha1.Subject{User: account, Groups: groups}, by(eve), all, may("impersonate serviceaccounts/"+strings.Repeat("x", 253))),
		},
	}
}

func long(length int) string { return strings.Repeat("u", length) }

func from(s *v1alpha1.Subject) func(*v1alpha1.DelegationPath) {
	return func(p *v1alpha1.DelegationPath) { p.Spec.Origin = s }
}

func writtenBy(s *v1alpha1.Subject) func(*v1alpha1.DelegationHop) {
	return func(h *v1alpha1.DelegationHop) { h.Spec.Author = s }
}

func both(changes ...func(*v1alpha1.DelegationPath)) func(*v1alpha1.DelegationPath) {
	return func(p *v1alpha1.DelegationPath) { with(p, changes...) }
}

func active(p *v1alpha1.DelegationPath) { p.Status.ObservedGeneration = 1 }

func revokedBy(user string) func(*v1alpha1.DelegationPath) {
	return func(p *v1alpha1.DelegationPath) { p.Spec.Revoked = &v1alpha1.Revocation{Reason: "enough", By: user} }
}

func changedBy(user string) func(*v1alpha1.DelegationPath) {
	return noted[*v1alpha1.DelegationPath](v1alpha1.AnnotationChangedBy, user)
}

func filled(key string, bytes int) func(*v1alpha1.DelegationPath) {
	return noted[*v1alpha1.DelegationPath](key, long(bytes))
}

func labels(n int) func(*v1alpha1.DelegationPath) {
	return func(p *v1alpha1.DelegationPath) { p.Labels = byKey(many(n, 1)) }
}

func notes(n int) func(*v1alpha1.DelegationPath) {
	return func(p *v1alpha1.DelegationPath) { p.Annotations = byKey(many(n, 1)) }
}

// longLabels are fewer than 70, with more bytes than are allowed.
func longLabels(p *v1alpha1.DelegationPath) { p.Labels = byKey(many(69, 128)) }

// keyed has annotations with keys of 256 bytes.
func keyed(n int) func(*v1alpha1.DelegationPath) {
	return func(p *v1alpha1.DelegationPath) { p.Annotations = byKey(many(n, 256)) }
}

func resumed(p *v1alpha1.DelegationPath) { p.Spec.Suspend = new(false) }

func longerOwners(p *v1alpha1.DelegationPath) {
	for i := range p.OwnerReferences {
		p.OwnerReferences[i].Name += "x"
	}
}

func byKey(keys []string) map[string]string {
	all := map[string]string{}
	for _, key := range keys {
		all[key] = "x"
	}
	return all
}

func finalizers(n int) func(*v1alpha1.DelegationPath) {
	return func(p *v1alpha1.DelegationPath) { p.Finalizers = many(n, 63) }
}

func owners(n int) func(*v1alpha1.DelegationPath) {
	return func(p *v1alpha1.DelegationPath) {
		p.OwnerReferences = nil
		for _, name := range many(n, 200) {
			p.OwnerReferences = append(p.OwnerReferences, metav1.OwnerReference{APIVersion: "v1", Kind: "Unknown", Name: name, UID: "1"})
		}
	}
}

func managers(n int) func(*v1alpha1.DelegationPath) {
	return func(p *v1alpha1.DelegationPath) {
		p.ManagedFields = nil
		for _, name := range many(n, 128) {
			p.ManagedFields = append(p.ManagedFields, metav1.ManagedFieldsEntry{Manager: name, Operation: metav1.ManagedFieldsOperationApply})
		}
	}
}

// fullPath is at all bounds of its metadata, and of a scope that is still taken.
func fullPath(p *v1alpha1.DelegationPath) {
	both(labels(63), notes(64), finalizers(16), owners(16), managers(8), filled(lastApplied, 65536))(p)
	rule := v1alpha1.ResourceRule{APIGroups: many(16, 63), Resources: many(32, 63), Verbs: many(16, 16), ResourceNames: many(64, 63)}
	inScope := v1alpha1.NamespacedScope{Namespaces: many(32, 63)}
	for range 8 {
		inScope.Rules = append(inScope.Rules, rule)
	}
	p.Spec.Scope.Namespaced = nil
	for range 8 {
		p.Spec.Scope.Namespaced = append(p.Spec.Scope.Namespaced, inScope)
	}
}
