package controllers

import (
	"io"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/grants"
	"github.com/wayleave/wayleave/internal/metrics"
	"github.com/wayleave/wayleave/internal/testutil"
)

var t0 = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) *metav1.Time { return new(metav1.NewTime(t0.Add(d))) }

// reconciler is a HopReconciler on a fake API server without a cache.
func reconciler(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) *HopReconciler {
	t.Helper()
	return reconcilerFor(t, false, funcs, objects...)
}

// reconcilerFor is one that only reports, or one that does not.
func reconcilerFor(t *testing.T, reportOnly bool, funcs interceptor.Funcs, objects ...client.Object) *HopReconciler {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(funcs).
		WithStatusSubresource(&v1alpha1.DelegationHop{}, &v1alpha1.DelegationPath{}).
		WithIndex(&corev1.Pod{}, "spec.serviceAccountName", func(client.Object) []string { return nil })
	for _, o := range grants.WatchedTypes() { // the API server selects by name without an index
		builder.WithIndex(o, "metadata.name", func(o client.Object) []string { return []string{o.GetName()} })
	}
	if err := index(t.Context(), testutil.Indexer{ClientBuilder: builder}, reportOnly); err != nil {
		t.Fatal(err)
	}
	c := builder.Build()
	recorded := events.NewFakeRecorder(16)
	now := testclock.NewFakePassiveClock(t0)
	return &HopReconciler{
		waits:  newWaits(),
		gather: &facts.Gatherer{Cache: c, Live: c, Controller: "system:serviceaccount:wayleave-system:wayleave-controller"},
		hops:   facts.Hops{Reader: c}, live: c, clock: now, maxFactAge: 10 * time.Minute,
		grants:  &grants.Manager{Client: c, Live: c},
		stopper: newWorkloadStopper(c, c, recorded, reportOnly), unbinding: newUnbinding(),
		record: &recorder{
			status: c.Status(), events: recorded, audit: audit.New(io.Discard), metrics: metrics.NewController(c, now),
		},
	}
}

func grantedHop() (*v1alpha1.DelegationPath, *v1alpha1.DelegationHop, string) {
	path := &v1alpha1.DelegationPath{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "contain", UID: "path"}}
	hop := &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "isolate", UID: "hop"}}
	hop.Spec.PathRef.Name = "contain"
	hop.Status.Incarnation = 1
	hop.Status.ServiceAccountName = delegation.AccountName(hop, "5f0d", at(3600e9).Time)
	return path, hop, hop.Status.ServiceAccountName
}

func account(path *v1alpha1.DelegationPath, hop *v1alpha1.DelegationHop) *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: hop.Namespace, Name: hop.Status.ServiceAccountName, UID: "account",
			Labels: delegation.Labels(path, hop, 1), OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DelegationHop", Name: hop.Name, UID: hop.UID,
			}},
		},
		AutomountServiceAccountToken: new(false),
	}
}

// allowedFor is an input about a hop, its Allow, and the status that follows from it.
func allowedFor(
	path *v1alpha1.DelegationPath, hop *v1alpha1.DelegationHop,
) (delegation.Input, delegation.Verdict, *v1alpha1.DelegationHopStatus) {
	in := delegation.Input{Now: t0, Path: path, Chain: delegation.Chain{Hops: []*v1alpha1.DelegationHop{hop}}}
	return in, delegation.Verdict{Outcome: delegation.Allow, NotAfter: at(time.Hour).Time}, hop.Status.DeepCopy()
}

// A cache that does not have the status of a moment ago makes a good account look like one that no status names. It was
// once deleted for that.
func TestLaggingCacheTakesNothing(t *testing.T) {
	path, hop, name := grantedHop()
	r := reconciler(t, interceptor.Funcs{}, path, hop, account(path, hop))
	stale := &v1alpha1.DelegationHop{}
	if err := r.hops.Get(t.Context(), client.ObjectKeyFromObject(hop), stale); err != nil {
		t.Fatal(err)
	}
	stale.ResourceVersion, stale.Status = "1", v1alpha1.DelegationHopStatus{}
	p := &pass{}
	p.in, p.v, p.next = allowedFor(path, stale)
	if err := r.applyGrant(t.Context(), p); !apierrors.IsConflict(err) {
		t.Errorf("granting on a stale reading: %v, want a conflict", err)
	}
	if err := r.live.Get(t.Context(), client.ObjectKey{Namespace: "agents", Name: name}, &corev1.ServiceAccount{}); err != nil {
		t.Errorf("the account: %v", err)
	}
}

// An object of another tenant with the label of pods stays, whatever becomes of the hop.
func TestLabelledObjectOfOthersStays(t *testing.T) {
	_, hop, _ := grantedHop()
	hop.Status.ServiceAccountName = ""
	role := &rbacv1.Role{
		ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "app", Labels: map[string]string{v1alpha1.LabelHop: "isolate"}},
	}
	r := reconciler(t, interceptor.Funcs{}, hop, role)
	why, record := delegation.Finding{Reason: v1alpha1.ReasonRevoked}, &v1alpha1.Withdrawal{}
	if _, err := r.withdraw(t.Context(), delegation.HopKey(hop), hop, why, true, record); err != nil {
		t.Fatal(err)
	}
	if err := r.live.Get(t.Context(), client.ObjectKeyFromObject(role), &rbacv1.Role{}); err != nil {
		t.Errorf("the Role: %v", err)
	}
}
