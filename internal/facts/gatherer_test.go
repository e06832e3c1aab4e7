package facts

import (
	"context"
	"sync"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/testutil"
)

// A final fact asks nothing: whoever fills RBAC with rules must not hold up a revocation.
func TestFinalFactAsksNothing(t *testing.T) {
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	past := metav1.NewTime(now.Add(-time.Second))
	for name, c := range map[string]struct {
		change func(*v1alpha1.DelegationPath, *v1alpha1.DelegationHop)
		asks   bool
	}{
		"valid":             {change: func(*v1alpha1.DelegationPath, *v1alpha1.DelegationHop) {}, asks: true},
		"a revoked path":    {change: func(p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) { p.Spec.Revoked = &v1alpha1.Revocation{} }},
		"a revoked hop":     {change: func(_ *v1alpha1.DelegationPath, h *v1alpha1.DelegationHop) { h.Spec.Revoked = &v1alpha1.Revocation{} }},
		"a path that ended": {change: func(p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) { p.Spec.Lifetime.NotAfter = &past }},
	} {
		t.Run(name, func(t *testing.T) {
			path := &v1alpha1.DelegationPath{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "contain"}}
			path.Spec.Origin = &v1alpha1.Subject{User: "alice"}
			path.Spec.Scope.Namespaced = []v1alpha1.NamespacedScope{{Namespaces: []string{"a"}, Rules: []v1alpha1.ResourceRule{
				{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get"}},
			}}}
			path.Spec.Lifetime.Duration = &metav1.Duration{Duration: time.Hour}
			hop := hopOf("contain", "", "isolate")
			hop.Spec.Author = &v1alpha1.Subject{User: "bob"}
			c.change(path, hop)
			asked := 0
			g := gathererOn(t, &asked, path, hop)
			in, err := g.Hop(t.Context(), hop, now)
			if err != nil || in.Path == nil {
				t.Fatal(in.Path, err)
			}
			g.Path(t.Context(), path, now)
			revokedHop := hop.Spec.Revoked != nil // the path alone is valid then
			if asks := asked > 0; asks != (c.asks || revokedHop) {
				t.Errorf("%d questions", asked)
			}
			if got := in.Facts.Origin.Outcome + in.Facts.Ceiling.Outcome; !c.asks && got != "" {
				t.Errorf("answers about a hop that has ended: %+v", in.Facts)
			}
		})
	}
}

// gathererOn counts the lists of RBAC and the reviews.
func gathererOn(t *testing.T, asked *int, objects ...client.Object) *Gatherer {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	var mu sync.Mutex // questions come several at a time
	count := func() {
		mu.Lock()
		defer mu.Unlock()
		*asked++
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, o ...client.ListOption) error {
			switch l.(type) {
			case *rbacv1.RoleBindingList, *rbacv1.ClusterRoleBindingList:
				count()
			}
			return c.List(ctx, l, o...)
		},
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error {
			count()
			return nil
		},
	})
	if err := Index(t.Context(), testutil.Indexer{ClientBuilder: builder}); err != nil {
		t.Fatal(err)
	}
	c := builder.Build()
	return &Gatherer{Cache: c, Live: c, Access: c, Controller: "system:serviceaccount:wayleave-system:wayleave-controller"}
}
