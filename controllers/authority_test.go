package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/testutil"
)

// asCache is a fake client as a cache, of which nothing but the objects is read.
type asCache struct {
	cache.Informers
	client.Reader
}

// restsOn has 20 origins with 5 paths each in namespace team that act in payments, each with a hop, and a hop of bob's on the first path.
func restsOn(t *testing.T, more ...client.Object) *authority {
	t.Helper()
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	builder := fake.NewClientBuilder().WithScheme(scheme)
	if err := facts.Index(t.Context(), testutil.Indexer{ClientBuilder: builder}); err != nil {
		t.Fatal(err)
	}
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "team", Name: name} }
	for i := range 100 {
		origin := &v1alpha1.Subject{User: fmt.Sprintf("origin-%d", i/5), Groups: []string{fmt.Sprintf("group-%d", i/50)}}
		name := fmt.Sprintf("p%d", i)
		builder.WithObjects(
			&v1alpha1.DelegationPath{ObjectMeta: named(name), Spec: v1alpha1.DelegationPathSpec{
				Origin: origin, Scope: v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{Namespaces: []string{"payments"}}}},
			}},
			&v1alpha1.DelegationHop{ObjectMeta: named(name), Spec: v1alpha1.DelegationHopSpec{
				PathRef: v1alpha1.ObjectRef{Name: name}, Author: origin,
			}},
		)
	}
	builder.WithObjects(&v1alpha1.DelegationHop{ObjectMeta: named("of-bob"), Spec: v1alpha1.DelegationHopSpec{
		PathRef: v1alpha1.ObjectRef{Name: "p0"}, ParentRef: &v1alpha1.ObjectRef{Name: "p0"}, Author: &v1alpha1.Subject{User: "bob"},
	}}).WithObjects(more...)
	return newAuthority(asCache{nil, builder.Build()}, nil, "system:serviceaccount:wayleave-system:wayleave-controller")
}

// leads are the paths and hops that some changes lead to.
func (a *authority) leads(t *testing.T, changed ...client.Object) (paths, hops []string) {
	t.Helper()
	for _, o := range changed {
		a.changed(o)
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		a.act(t.Context())
	}()
	add := func(to *[]string, e event.GenericEvent) { *to = append(*to, e.Object.GetName()) }
	for {
		select {
		case e := <-a.toPaths:
			add(&paths, e)
		case e := <-a.toHops:
			add(&hops, e)
		case <-done:
			slices.Sort(paths)
			slices.Sort(hops)
			return paths, hops
		}
	}
}

func bound(namespace, role, kind, name string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "b-" + name}, RoleRef: rbacv1.RoleRef{Kind: "Role", Name: role},
		Subjects: []rbacv1.Subject{{Kind: kind, Name: name}},
	}
}

// TestAuthority: a change of RBAC leads to what rests on it, and to nothing else.
func TestAuthority(t *testing.T) {
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "payments", Name: "reads"}}
	clusterRole := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "reads"}}
	everywhere := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "b"}, RoleRef: rbacv1.RoleRef{Kind: "ClusterRole", Name: "reads"},
		Subjects: []rbacv1.Subject{{Kind: "User", Name: "origin-3"}},
	}
	account := facts.AccountMetadata()
	account.Namespace, account.Name = "team", "bot"
	ofOrigin := []string{"p15", "p16", "p17", "p18", "p19"}
	for name, tc := range map[string]struct {
		changed     client.Object
		wantPaths   []string
		hops, paths int // where they are too many to name
	}{
		"a binding of an origin":                    {changed: bound("payments", "reads", "User", "origin-3"), wantPaths: ofOrigin, hops: 5},
		"a role that is bound to an origin":         {changed: role, wantPaths: ofOrigin, hops: 5},
		"a cluster role that is bound to an origin": {changed: clusterRole, wantPaths: ofOrigin, hops: 5},
		"a binding of the whole cluster":            {changed: everywhere, wantPaths: ofOrigin, hops: 5},
		"a binding where they make paths":           {changed: bound("team", "reads", "User", "origin-3"), wantPaths: ofOrigin, hops: 5},
		"a binding of a group":                      {changed: bound("payments", "reads", "Group", "group-1"), paths: 50, hops: 50},
		"a binding of an author":                    {changed: bound("team", "reads", "User", "bob"), hops: 1},
		"a binding elsewhere":                       {changed: bound("tenant", "reads", "User", "origin-3")},
		"a binding of everybody elsewhere":          {changed: bound("tenant", "reads", "Group", "system:authenticated")},
		"a binding of somebody else":                {changed: bound("payments", "reads", "User", "mallory")},
		"an account of nobody's":                    {changed: account},
		"a grant": {changed: func() client.Object {
			b := bound("payments", "reads", "User", "origin-3")
			b.Name, b.Labels = "dhop-x.1.2", map[string]string{v1alpha1.LabelHopUID: "u"}
			return b
		}()},
	} {
		t.Run(name, func(t *testing.T) {
			a := restsOn(t, bound("payments", "reads", "User", "origin-3"), everywhere)
			paths, hops := a.leads(t, tc.changed)
			if tc.wantPaths != nil && !slices.Equal(paths, tc.wantPaths) || tc.wantPaths == nil && len(paths) != tc.paths {
				t.Errorf("it leads to the paths %v", paths)
			}
			if len(hops) != tc.hops {
				t.Errorf("it leads to the hops %v", hops)
			}
		})
	}
	// What a change does not change leads nowhere; what it takes away leads to who had it.
	before, after := bound("payments", "reads", "User", "origin-3"), bound("payments", "reads", "User", "mallory")
	for name, tc := range map[string]struct {
		before, after client.Object
		want          int
	}{
		"the same":            {before, before.DeepCopy(), 0},
		"taken from somebody": {before, after, 5},
		"given to somebody":   {after, before, 5},
	} {
		a := restsOn(t)
		a.updated(tc.before, tc.after)
		if paths, _ := a.leads(t); len(paths) != tc.want {
			t.Errorf("a binding that is %s leads to %v", name, paths)
		}
	}
	a := restsOn(t)
	twice := []client.Object{bound("payments", "reads", "User", "origin-3"), bound("payments", "other", "User", "origin-3")}
	if paths, _ := a.leads(t, twice...); len(paths) != 5 {
		t.Errorf("two changes lead to %v: a burst leads to each path once", paths)
	}
}

// TestLooksTwice: an API server that is asked right after a change may not know of it yet.
func TestLooksTwice(t *testing.T) {
	q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
	defer q.ShutDown()
	lookTwice().Generic(t.Context(), event.GenericEvent{Object: bound("payments", "reads", "User", "origin-3")}, q)
	begun := time.Now()
	for range 2 {
		request, _ := q.Get()
		q.Done(request)
	}
	if took := time.Since(begun); took < lookAgainAfter/2 {
		t.Errorf("it is looked at again after %s", took)
	}
}

// TestManyGroups: a binding that names thousands of groups, in whatever namespace, looks up the hops in use once.
func TestManyGroups(t *testing.T) {
	hop := &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "in-use"}}
	hop.Spec.PathRef.Name = "p0"
	hop.Status.Uses = &v1alpha1.Uses{Live: []v1alpha1.Use{{UID: "u", By: "carol"}}}
	a, lists := restsOn(t, hop), 0
	a.hops.Reader = counted{a.hops.Reader, &lists}
	b := bound("team", "reads", "Group", "g")
	for i := range 1000 {
		b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: "Group", Name: fmt.Sprintf("g%d", i)})
	}
	if _, hops := a.leads(t, b); !slices.Equal(hops, []string{"in-use"}) {
		t.Errorf("it leads to the hops %v", hops)
	}
	if lists != 1 {
		t.Errorf("the hops in use were listed %d times", lists)
	}
}

// counted counts the lists of hops in use.
type counted struct {
	client.Reader

	lists *int
}

func (c counted) List(ctx context.Context, into client.ObjectList, opts ...client.ListOption) error {
	var o client.ListOptions
	o.ApplyOptions(opts)
	if o.FieldSelector != nil && strings.HasPrefix(o.FieldSelector.String(), "in-use=") {
		*c.lists++
	}
	return c.Reader.List(ctx, into, opts...)
}
