package rbac

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
	"github.com/wayleave/wayleave/internal/testutil"
)

func reader(t *testing.T, objects []client.Object) Reader {
	t.Helper()
	builder := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(objects...)
	if err := Index(t.Context(), testutil.Indexer{ClientBuilder: builder}); err != nil {
		t.Fatal(err)
	}
	return Reader{Cache: builder.Build()}
}

// may is a rule of one verb on pods, by which tests distinguish roles.
func may(verb string) []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{verb}}}
}

func role(namespace, name, verb string) client.Object {
	return &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Rules: may(verb)}
}

func clusterRole(name, verb string, labels ...string) client.Object {
	r := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: name}, Rules: may(verb)}
	for _, value := range labels {
		r.Labels = map[string]string{v1alpha1.LabelCeiling: value}
	}
	return r
}

func ref(kind, name string) rbacv1.RoleRef {
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: kind, Name: name}
}

func binding(namespace, name string, to rbacv1.RoleRef, subjects ...rbacv1.Subject) client.Object {
	return &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, RoleRef: to, Subjects: subjects}
}

// bindingTo binds a ClusterRole in a namespace.
func bindingTo(namespace, name, clusterRole string, subjects ...rbacv1.Subject) client.Object {
	return binding(namespace, name, ref("ClusterRole", clusterRole), subjects...)
}

func clusterBinding(name, role string, subjects ...rbacv1.Subject) client.Object {
	return &rbacv1.ClusterRoleBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: ref("ClusterRole", role), Subjects: subjects}
}

func user(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: name}
}

func group(name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: name}
}

func account(namespace, name string) rbacv1.Subject {
	return rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}
}

// everywhere are the namespaces of these tests.
var everywhere = []string{"a", "b", "c", "ci", "d"}

func nothing() scope.Rights { return scope.Rights{Namespaced: map[string][]rbacv1.PolicyRule{}} }

func in(namespace string, rules []rbacv1.PolicyRule) scope.Rights {
	return scope.Rights{Namespaced: map[string][]rbacv1.PolicyRule{namespace: rules}}
}

func TestOf(t *testing.T) {
	const bot = "system:serviceaccount:ci:bot"
	read := clusterRole("read", "get")
	for name, test := range map[string]struct {
		who     v1alpha1.Subject
		objects []client.Object
		want    scope.Rights
	}{
		"a user by name": {
			v1alpha1.Subject{User: "alice"}, []client.Object{read, bindingTo("a", "b", "read", user("alice"))},
			in("a", may("get")),
		},
		"another user": {
			v1alpha1.Subject{User: "bob"}, []client.Object{read, bindingTo("a", "b", "read", user("alice"))},
			nothing(),
		},
		"one subject among others": {
			v1alpha1.Subject{User: "alice"},
			[]client.Object{read, bindingTo("a", "b", "read", user("bob"), user("alice"), user("alice"))},
			in("a", may("get")),
		},
		"a group that is listed": {
			v1alpha1.Subject{User: "alice", Groups: []string{"sre"}}, []client.Object{read, bindingTo("a", "b", "read", group("sre"))},
			in("a", may("get")),
		},
		"a group that is not listed": {
			v1alpha1.Subject{User: "alice"}, []client.Object{read, bindingTo("a", "b", "read", group("sre"))},
			nothing(),
		},
		"a group of the user's name": {
			v1alpha1.Subject{User: "sre"}, []client.Object{read, bindingTo("a", "b", "read", group("sre"))},
			nothing(),
		},
		"a user of the group's name": {
			v1alpha1.Subject{User: "alice", Groups: []string{"sre"}},
			[]client.Object{read, bindingTo("a", "b", "read", user("sre"))}, nothing(),
		},
		"an account as itself": {
			v1alpha1.Subject{User: bot},
			[]client.Object{read, bindingTo("a", "b", "read", account("ci", "bot"))}, in("a", may("get")),
		},
		"an account as the user that it is": {
			v1alpha1.Subject{User: bot}, []client.Object{read, bindingTo("a", "b", "read", user(bot))}, in("a", may("get")),
		},
		"an account without a namespace is one of the binding's": {
			v1alpha1.Subject{User: bot}, []client.Object{read, bindingTo("ci", "b", "read", account("", "bot"))},
			in("ci", may("get")),
		},
		"an account without a namespace, elsewhere": {
			v1alpha1.Subject{User: bot},
			[]client.Object{read, bindingTo("a", "b", "read", account("", "bot"))}, nothing(),
		},
		"an account without a namespace, for the cluster": {
			v1alpha1.Subject{User: bot}, []client.Object{read, clusterBinding("b", "read", account("", "bot"))}, nothing(),
		},
		"an account of the same name in another namespace": {
			v1alpha1.Subject{User: bot},
			[]client.Object{read, bindingTo("a", "b", "read", account("a", "bot"))}, nothing(),
		},
		"an account is in the group of accounts": {
			v1alpha1.Subject{User: bot}, []client.Object{read, clusterBinding("b", "read", group("system:serviceaccounts"))},
			scope.Rights{Cluster: may("get"), Namespaced: nothing().Namespaced},
		},
		"an account is in the group of its namespace": {
			v1alpha1.Subject{User: bot},
			[]client.Object{read, bindingTo("a", "b", "read", group("system:serviceaccounts:ci"))},
			in("a", may("get")),
		},
		"an account is in no other namespace's group": {
			v1alpha1.Subject{User: bot},
			[]client.Object{read, bindingTo("a", "b", "read", group("system:serviceaccounts:a"))}, nothing(),
		},
		"a user is in no group of accounts": {
			v1alpha1.Subject{User: "alice"},
			[]client.Object{read, bindingTo("a", "b", "read", group("system:serviceaccounts"))}, nothing(),
		},
		"all users are authenticated": {
			v1alpha1.Subject{User: "alice"},
			[]client.Object{read, bindingTo("a", "b", "read", group("system:authenticated"))},
			in("a", may("get")),
		},
		"except anonymous": {
			v1alpha1.Subject{User: "system:anonymous"},
			[]client.Object{read, bindingTo("a", "b", "read", group("system:authenticated"))}, nothing(),
		},

		"a ClusterRole bound in a namespace stays there": {
			v1alpha1.Subject{User: "alice"},
			[]client.Object{read, bindingTo("a", "b", "read", user("alice")), clusterBinding("c", "read", user("bob"))},
			in("a", may("get")),
		},
		"a ClusterRole bound for the cluster applies everywhere": {
			v1alpha1.Subject{User: "alice"}, []client.Object{read, clusterBinding("b", "read", user("alice"))}, scope.Rights{
				Cluster: may("get"), Namespaced: nothing().Namespaced,
			},
		},
		"a Role is the one of the binding's namespace": {
			v1alpha1.Subject{User: "alice"},
			[]client.Object{
				role("a", "read", "get"), role("b", "read", "delete"), clusterRole("read", "create"),
				binding("a", "b", ref("Role", "read"), user("alice")),
			},
			in("a", may("get")),
		},
		"a Role that does not exist grants nothing": {
			v1alpha1.Subject{User: "alice"},
			[]client.Object{role("b", "read", "get"), binding("a", "b", ref("Role", "read"), user("alice"))}, nothing(),
		},
		"a ClusterRole that does not exist grants nothing": {
			v1alpha1.Subject{User: "alice"},
			[]client.Object{bindingTo("a", "b", "read", user("alice")), clusterBinding("b", "read", user("alice"))},
			nothing(),
		},
		"a ceiling is a right like others": {
			v1alpha1.Subject{User: "alice"}, []client.Object{clusterRole("read", "get", "true"), bindingTo("a", "b", "read", user("alice"))},
			in("a", may("get")),
		},
		"all of them combined": {
			v1alpha1.Subject{User: "alice", Groups: []string{"sre"}},
			[]client.Object{
				read, role("a", "write", "delete"), binding("a", "b", ref("Role", "write"), user("alice")),
				bindingTo("a", "c", "read", group("sre")), bindingTo("d", "c", "read", group("sre")), clusterBinding(
					"c", "read", user("alice"),
				),
			},
			scope.Rights{
				Cluster:    may("get"),
				Namespaced: map[string][]rbacv1.PolicyRule{"a": append(may("delete"), may("get")...), "d": may("get")},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, complete, err := reader(t, test.objects).Of(t.Context(), test.who, everywhere)
			if err != nil || !complete {
				t.Fatal(complete, err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCeiling(t *testing.T) {
	const controller = "system:serviceaccount:wayleave-system:wayleave-controller"
	us := account("wayleave-system", "wayleave-controller")
	for name, test := range map[string]struct {
		objects []client.Object
		want    scope.Rights
	}{
		"a labelled role where it is bound": {
			[]client.Object{clusterRole("c", "get", "true"), bindingTo("a", "b", "c", us)}, in("a", may("get")),
		},
		"a labelled role bound for the cluster": {
			[]client.Object{clusterRole("c", "get", "true"), clusterBinding("b", "c", us)}, scope.Rights{
				Cluster: may("get"), Namespaced: nothing().Namespaced,
			},
		},
		"a role without the label": {
			[]client.Object{clusterRole("c", "get"), bindingTo("a", "b", "c", us), clusterBinding("b", "c", us)},
			nothing(),
		},
		"a role labelled with another word": {
			[]client.Object{clusterRole("c", "get", "false"), bindingTo("a", "b", "c", us)}, nothing(),
		},
		"a role labelled with nothing": {
			[]client.Object{clusterRole("c", "get", ""), bindingTo("a", "b", "c", us)}, nothing(),
		},
		"a labelled role bound to another subject": {
			[]client.Object{
				clusterRole("c", "get", "true"),
				bindingTo("a", "b", "c", user("alice"), account("a", "wayleave-controller")),
			},
			nothing(),
		},
		"a labelled role that was deleted": {[]client.Object{bindingTo("a", "b", "c", us)}, nothing()},
		// A user who may write Roles in a namespace could label one: only ClusterRoles are set by the platform team.
		"a Role with the label": {
			[]client.Object{
				&rbacv1.Role{
					ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "c", Labels: map[string]string{v1alpha1.LabelCeiling: "true"}},
					Rules:      may("get"),
				},
				binding("a", "b", ref("Role", "c"), us),
			}, nothing(),
		},
		"other permissions of the controller": {
			[]client.Object{
				clusterRole("c", "get", "true"), bindingTo("a", "b", "c", us),
				clusterRole("own", "create"), clusterBinding("own", "own", us), role("a", "own", "patch"), binding("a", "own", ref("Role", "own"), us),
			}, in("a", may("get")),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, complete, err := reader(t, test.objects).Ceiling(t.Context(), controller, everywhere)
			if err != nil || !complete {
				t.Fatal(complete, err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestErrorsAreNoAnswer: rights that could not be read are different from no rights.
func TestErrorsAreNoAnswer(t *testing.T) {
	down := errors.New("the cache is not there")
	objects := []client.Object{
		clusterRole("read", "get"), role("a", "read", "get"),
		binding("a", "b", ref("Role", "read"), user("alice")), bindingTo("a", "c", "read", user("alice")), clusterBinding(
			"d", "read", user("alice"),
		),
	}
	for name, test := range map[string]struct {
		fails interceptor.Funcs
		want  string
	}{
		"listing RoleBindings": {
			interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, o ...client.ListOption) error {
				if _, ok := list.(*rbacv1.RoleBindingList); ok {
					return down
				}
				return c.List(ctx, list, o...)
			}}, "listing RoleBindings of user/alice in namespace a: the cache is not there",
		},
		"listing ClusterRoleBindings": {
			interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, o ...client.ListOption) error {
				if _, ok := list.(*rbacv1.ClusterRoleBindingList); ok {
					return down
				}
				return c.List(ctx, list, o...)
			}}, "listing ClusterRoleBindings of user/alice: the cache is not there",
		},
		"reading a Role": {
			interceptor.Funcs{Get: func(
				ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption,
			) error {
				if _, ok := o.(*rbacv1.Role); ok {
					return down
				}
				return c.Get(ctx, key, o, opts...)
			}}, `reading Role "read": the cache is not there`,
		},
		"reading a ClusterRole": {
			interceptor.Funcs{Get: func(
				ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption,
			) error {
				if _, ok := o.(*rbacv1.ClusterRole); ok {
					return down
				}
				return c.Get(ctx, key, o, opts...)
			}}, `reading ClusterRole "read": the cache is not there`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := reader(t, objects)
			whole, ok := r.Cache.(client.WithWatch)
			if !ok {
				t.Fatal("the fake client cannot be intercepted")
			}
			got, _, err := Reader{Cache: interceptor.NewClient(whole, test.fails)}.Of(t.Context(), v1alpha1.Subject{User: "alice"}, everywhere)
			if !errors.Is(err, down) || err.Error() != test.want {
				t.Errorf("error %v, want %s", err, test.want)
			}
			if diff := cmp.Diff(scope.Rights{}, got); diff != "" {
				t.Errorf("partial answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestServiceAccountNames(t *testing.T) {
	type taken struct {
		Namespace, Name string
		OK              bool
	}
	for user, want := range map[string]taken{
		ServiceAccountUser("ci", "bot"): {"ci", "bot", true},
		"system:serviceaccount:ci:b.ot": {"ci", "b.ot", true},
		"system:serviceaccount::bot":    {"", "bot", false},
		"system:serviceaccount:ci:":     {"ci", "", false},
		"system:serviceaccount:ci":      {"ci", "", false},
		"system:serviceaccounts:ci:bot": {},
		"alice":                         {},
		"":                              {},
	} {
		key, ok := ServiceAccountOf(user)
		if diff := cmp.Diff(want, taken{key.Namespace, key.Name, ok}); diff != "" {
			t.Errorf("%q (-want +got):\n%s", user, diff)
		}
	}
}

func TestGroups(t *testing.T) {
	for name, test := range map[string]struct {
		who  v1alpha1.Subject
		want []string
	}{
		"a user":    {v1alpha1.Subject{User: "alice", Groups: []string{"sre"}}, []string{"sre", "system:authenticated"}},
		"anonymous": {v1alpha1.Subject{User: "system:anonymous"}, nil},
		"an account": {
			v1alpha1.Subject{User: "system:serviceaccount:ci:bot"},
			[]string{"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:ci"},
		},
		"a false account":  {v1alpha1.Subject{User: "system:serviceaccount::bot"}, []string{"system:authenticated"}},
		"another's prefix": {v1alpha1.Subject{User: "system:serviceaccounts"}, []string{"system:authenticated"}},
	} {
		t.Run(name, func(t *testing.T) {
			listed := append([]string(nil), test.who.Groups...)
			got := Groups(test.who)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, g := range got {
				if listedToo := len(listed) > 0 && g == listed[0]; Implied(g) == listedToo {
					t.Errorf("group %s implied: %v", g, Implied(g))
				}
			}
		})
	}
}

func TestNames(t *testing.T) {
	const bot = "system:serviceaccount:ci:bot"
	for name, test := range map[string]struct {
		subjects []rbacv1.Subject
		want     bool
	}{
		"as itself":              {[]rbacv1.Subject{user("alice"), account("ci", "bot")}, true},
		"as a user":              {[]rbacv1.Subject{user(bot)}, true},
		"without a namespace":    {[]rbacv1.Subject{account("", "bot")}, true},
		"of another namespace":   {[]rbacv1.Subject{account("a", "bot")}, false},
		"by a group alone":       {[]rbacv1.Subject{group("system:serviceaccounts:ci"), group(bot)}, false},
		"not at all":             {nil, false},
		"by a kind that is none": {[]rbacv1.Subject{{Kind: "Robot", Name: bot}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Names(test.subjects, "ci", bot); got != test.want {
				t.Errorf("names it: %v", got)
			}
		})
	}
}

// A stranger's Role with as many names as fit, bound to everybody again and again, costs an answer about other namespaces
// nothing, and one about its own no more than the bound.
func TestWorkOfAnAnswerIsBounded(t *testing.T) {
	everybody := rbacv1.Subject{Kind: rbacv1.GroupKind, APIGroup: rbacv1.GroupName, Name: "system:authenticated"}
	names := make([]string, 60_000)
	for i := range names {
		names[i] = "n"
	}
	huge := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "evil", Name: "huge"}, Rules: append(may("get"), rbacv1.PolicyRule{
		APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"delete"}, ResourceNames: names,
	})}
	objects := []client.Object{huge, role("a", "own", "get"), binding("a", "own", ref("Role", "own"), everybody)}
	for i := range maxBindings + 1 {
		objects = append(objects, binding("evil", fmt.Sprintf("b%d", i), ref("Role", "huge"), everybody))
	}
	r, alice := reader(t, objects), v1alpha1.Subject{User: "alice"}
	elsewhere, complete, err := r.Of(t.Context(), alice, []string{"a"})
	if diff := cmp.Diff(in("a", may("get")), elsewhere); diff != "" || !complete || err != nil {
		t.Errorf("complete %t, %v (-want +got):\n%s", complete, err, diff)
	}
	there, complete, err := r.Of(t.Context(), alice, []string{"evil"})
	if diff := cmp.Diff(in("evil", may("get")), there); diff != "" || complete || err != nil {
		t.Errorf("complete %t, %v (-want +got):\n%s", complete, err, diff)
	}
}

// RBAC knows two kinds of roles; a binding to anything else gives nothing.
func TestOtherKindsOfRoleGiveNothing(t *testing.T) {
	alice := rbacv1.Subject{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: "alice"}
	r := reader(t, []client.Object{clusterRole("a", "get", ""), binding("a", "own", ref("Group", "a"), alice)})
	got, _, err := r.Of(t.Context(), v1alpha1.Subject{User: "alice"}, everywhere)
	if diff := cmp.Diff(nothing(), got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestBindings(t *testing.T) {
	const bot = "system:serviceaccount:agents:bot"
	isOwn := func(o client.Object) bool { return o.GetName() == "own" }
	r := reader(t, []client.Object{
		bindingTo("a", "own", "read", account("agents", "bot")), bindingTo("a", "as-account", "read", account("agents", "bot")),
		bindingTo("b", "as-user", "read", user(bot)), bindingTo("c", "other", "read", account("agents", "other")),
		clusterBinding("on-cluster", "read", account("agents", "bot")),
		bindingTo("a", "all", "read", group("system:serviceaccounts")), bindingTo("c", "all", "read", group("system:serviceaccounts:agents")),
		bindingTo("a", "all-of-ci", "read", group("system:serviceaccounts:ci")),
	})
	named, err := r.ByName(t.Context(), bot, isOwn)
	want := []string{"ClusterRoleBinding on-cluster", "RoleBinding a/as-account", "RoleBinding b/as-user"}
	if diff := cmp.Diff(want, named); diff != "" || err != nil {
		t.Errorf("by name: %v (-want +got):\n%s", err, diff)
	}
	named, err = r.ByGroup(t.Context(), "agents", []string{"a", "b"})
	if diff := cmp.Diff([]string{"RoleBinding a/all"}, named); diff != "" || err != nil {
		t.Errorf("by group: %v (-want +got):\n%s", err, diff)
	}
}
