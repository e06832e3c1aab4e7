//go:build unix

package floor

import (
	"fmt"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

func (f *fixture) path(origin *v1alpha1.Subject) *v1alpha1.DelegationPath {
	return &v1alpha1.DelegationPath{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, GenerateName: "p-"},
		Spec: v1alpha1.DelegationPathSpec{
			Reason: "x", Origin: origin, Lifetime: v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: time.Hour}},
			Scope: v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{
				Namespaces: []string{f.ns},
				Rules:      []v1alpha1.ResourceRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}},
			}}},
		},
	}
}

func (f *fixture) hop(author *v1alpha1.Subject) *v1alpha1.DelegationHop {
	return &v1alpha1.DelegationHop{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, GenerateName: "h-"},
		Spec:       v1alpha1.DelegationHopSpec{PathRef: v1alpha1.ObjectRef{Name: "p"}, InheritScope: new(true), Author: author},
	}
}

// impersonator may impersonate alice, an account, and the groups g0 to g9.
func (f *fixture) impersonator(name string) client.Client {
	f.Helper()
	groups := []string{}
	for i := range 10 {
		groups = append(groups, fmt.Sprintf("g%d", i))
	}
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name + "-" + f.ns}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"users"}, ResourceNames: []string{"alice"}, Verbs: []string{"impersonate"}},
		{APIGroups: []string{""}, Resources: []string{"groups"}, ResourceNames: groups, Verbs: []string{"impersonate"}},
		{APIGroups: []string{""}, Resources: []string{"serviceaccounts"}, ResourceNames: []string{"bot"}, Verbs: []string{"impersonate"}},
		{APIGroups: []string{v1alpha1.GroupName}, Resources: []string{"delegationpaths", "delegationhops"}, Verbs: []string{"*"}},
	}}
	f.must(suite.admin.Create(f.Context(), role))
	f.must(suite.admin.Create(f.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}},
	}))
	c, err := client.New(suite.cluster.UserConfig(name, "team"), client.Options{Scheme: operator.Scheme()})
	f.must(err)
	return c
}

// TestOrigins: origin and author are the requester, or one whom the requester may impersonate with all of the groups.
func TestOrigins(t *testing.T) {
	f := setup(t)
	gitops := f.impersonator("gitops")
	subject := func(user string, groups ...string) *v1alpha1.Subject {
		return &v1alpha1.Subject{User: user, Groups: groups}
	}
	many := []string{"g0", "g1", "g2", "g3", "g4", "g5", "g6", "g7"}
	for name, test := range map[string]struct {
		subject *v1alpha1.Subject
		says    string
	}{
		"oneself":                       {subject: subject("gitops", "team")},
		"oneself without groups":        {subject: subject("gitops")},
		"a user":                        {subject: subject("alice", "g0", "g1")},
		"what a name implies":           {subject: subject("system:serviceaccount:"+f.ns+":bot", "system:serviceaccounts:"+f.ns, "g0")},
		"a group of oneself for others": {subject: subject("alice", "team"), says: `declares the group "team"`},
		"an account":                    {subject: subject("system:serviceaccount:" + f.ns + ":bot")},
		"eight groups":                  {subject: subject("alice", many...)},
		"nobody":                        {says: "is not stamped"},
		"another user":                  {subject: subject("root"), says: `"root", and you may not act as them, since`},
		"another account":               {subject: subject("system:serviceaccount:" + f.ns + ":other"), says: "impersonate serviceaccounts"},
		"a group of others":             {subject: subject("gitops", "admins"), says: `declares the group "admins"`},
		"the last of many of others":    {subject: subject("alice", append(many[:7:7], "admins")...), says: `declares the group "g6" and others`},
		"nine groups":                   {subject: subject("alice", append(many[:8:8], "g8")...), says: "more than 8 groups"},
		"masters":                       {subject: subject("gitops", "system:masters"), says: "declares system:masters"},
		"an account of another group":   {subject: subject("gitops", "system:serviceaccounts:kube-system"), says: "declares the group"},
	} {
		t.Run(name, func(t *testing.T) {
			f := *f
			f.T = t
			for policy, o := range map[string]client.Object{"origin": f.path(test.subject), "author": f.hop(test.subject)} {
				err := gitops.Create(t.Context(), o, client.DryRunAll)
				if test.says == "" {
					f.allowed(err)
				} else {
					f.denied(err, policy, test.says)
				}
			}
		})
	}
}

// TestChangersAnswerForAPath: who changes what may be done under a path is its origin from then on. Anybody who may patch it ends it.
func TestChangersAnswerForAPath(t *testing.T) {
	f := setup(t)
	gitops := f.impersonator("other")
	path, hop := f.path(&v1alpha1.Subject{User: "eve"}), f.hop(&v1alpha1.Subject{User: "eve"})
	for _, o := range []client.Object{path, hop} {
		f.must(f.users[editor].Create(t.Context(), o))
	}
	for _, user := range []client.Client{gitops} {
		for policy, o := range map[string]client.Object{"origin": path, "author": hop} {
			f.denied(merge(f, user, o, `{"spec":{"lifetime":{"duration":"30m"}}}`), policy, `declares "eve", and you may not act as them`)
			f.allowed(merge(f, user, o, `{"spec":{"revoked":{"reason":"enough"}}}`))
			f.allowed(merge(f, user, o, `{"metadata":{"labels":{"a":"b"}}}`))
		}
		f.allowed(merge(f, user, path, `{"spec":{"suspend":true,"reason":"another"}}`))
		f.allowed(merge(f, user, path, `{"spec":{"lifetime":{"duration":"30m"},"origin":{"user":"other","groups":null}}}`))
	}
	f.allowed(merge(f, f.users[editor], path, `{"spec":{"lifetime":{"duration":"30m"}}}`))
}
