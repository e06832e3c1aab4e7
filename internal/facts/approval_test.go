package facts

import (
	"context"
	"slices"
	"testing"

	authorizationv1 "k8s.io/api/authorization/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
	"github.com/wayleave/wayleave/internal/scope"
)

// answers has reviews answered by user name.
type answers map[string]bool

func (a answers) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	review := o.(*authorizationv1.SubjectAccessReview)
	review.Status.Allowed = a[review.Spec.User]
	return nil
}

// TestHopsOfAPath: those of who may delegate on it, where hops may be, and that are not being deleted.
func TestHopsOfAPath(t *testing.T) {
	path := &v1alpha1.DelegationPath{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "contain"}}
	path.Spec.Origin = &v1alpha1.Subject{User: "alice"}
	by := func(author, name string, change ...func(*v1alpha1.DelegationHop)) *v1alpha1.DelegationHop {
		h := hopOf("contain", "", name)
		h.Spec.Author = &v1alpha1.Subject{User: author}
		h.UID = types.UID(name)
		for _, c := range change {
			c(h)
		}
		return h
	}
	deleted := by("alice", "deleted", func(h *v1alpha1.DelegationHop) {
		h.DeletionTimestamp, h.Finalizers = new(metav1.Now()), []string{"example.com/held"}
	})
	elsewhere := by("alice", "elsewhere", func(h *v1alpha1.DelegationHop) {
		h.Namespace, h.Spec.PathRef.Namespace = "other", "agents"
	})
	asked := 0
	g := gathererOn(t, &asked, path, by("alice", "mine"), by("bob", "of-bob"), by("mallory", "theirs"), deleted, elsewhere)
	g.Access = answers{"bob": true}
	hops, err := g.hopsOf(t.Context(), path, []*v1alpha1.DelegationHop{by("alice", "just-now")})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, h := range hops {
		names = append(names, h.Name)
	}
	slices.Sort(names)
	if want := []string{"just-now", "mine", "of-bob"}; !slices.Equal(names, want) {
		t.Errorf("the hops are %v, want %v", names, want)
	}
}

// TestFreshAsksTheAPIServer: what begins now does not begin on what a cache says.
func TestFreshAsksTheAPIServer(t *testing.T) {
	asked := 0
	role := metav1.ObjectMeta{Namespace: "payments", Name: "reads"}
	g := gathererOn(t, &asked,
		&rbacv1.Role{ObjectMeta: role, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}},
		}},
		&rbacv1.RoleBinding{
			ObjectMeta: role, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: "reads"},
			Subjects: []rbacv1.Subject{{Kind: "User", Name: "alice"}},
		})
	g.Access = answers{}
	list := scope.Of(scope.Permission{Namespace: "payments", Resource: "pods", Verb: "list"})
	alice := v1alpha1.Subject{User: "alice"}
	if a := g.May(t.Context(), alice, list); a.Outcome != delegation.Allow {
		t.Errorf("what the cache has: %+v", a)
	}
	if a := g.Fresh().May(t.Context(), alice, list); a.Outcome != delegation.Deny || len(a.Missing) != 1 {
		t.Errorf("what the API server says: %+v", a)
	}
}

// TestTouches: a role leads to those to whom it is bound, where it is.
func TestTouches(t *testing.T) {
	asked := 0
	bound := func(namespace, kind, user string) *rbacv1.RoleBinding {
		return &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: user}, RoleRef: rbacv1.RoleRef{Kind: kind, Name: "reads"},
			Subjects: []rbacv1.Subject{{Kind: "User", Name: user}},
		}
	}
	g := gathererOn(t, &asked,
		bound("a", "Role", "of-role"), bound("b", "Role", "of-another-role"), bound("b", "ClusterRole", "of-cluster-role"))
	for name, tc := range map[string]struct {
		role client.Object
		want []rbac.Touch
	}{
		"a role": {
			&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "reads"}}, []rbac.Touch{{Namespace: "a", Subject: "user/of-role"}},
		},
		"a cluster role": {
			&rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "reads"}}, []rbac.Touch{{Namespace: "b", Subject: "user/of-cluster-role"}},
		},
		"a role that is bound to nobody": {&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "other"}}, nil},
	} {
		got, err := rbac.Reader{Cache: g.Cache}.Touches(t.Context(), tc.role)
		if err != nil || !slices.Equal(got, tc.want) {
			t.Errorf("%s leads to %v (%v), want %v", name, got, err, tc.want)
		}
	}
}
