package metrics

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/testutil"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func after(d time.Duration) *metav1.MicroTime { return new(metav1.NewMicroTime(noon.Add(d))) }

func controller(t *testing.T, objects ...client.Object) *Controller {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	cache := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	return NewController(cache, clocktesting.NewFakePassiveClock(noon))
}

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: "agents", Name: name} }

func path(name string, ready v1alpha1.Reason) *v1alpha1.DelegationPath {
	p := &v1alpha1.DelegationPath{ObjectMeta: named(name)}
	p.Status.Conditions = conditions(ready, metav1.ConditionFalse)
	return p
}

func hop(name string, ready v1alpha1.Reason, granted metav1.ConditionStatus, change ...func(*v1alpha1.DelegationHopStatus)) client.Object {
	h := &v1alpha1.DelegationHop{ObjectMeta: named(name)}
	h.Status.Conditions = conditions(ready, granted)
	for _, c := range change {
		c(&h.Status)
	}
	return h
}

func conditions(ready v1alpha1.Reason, granted metav1.ConditionStatus) []metav1.Condition {
	if ready == "" {
		return nil
	}
	return []metav1.Condition{
		{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: string(ready)},
		{Type: v1alpha1.ConditionGranted, Status: granted, Reason: string(ready)},
	}
}

func pod(name string, reason v1alpha1.Reason, gates ...string) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: named(name)}
	for _, gate := range gates {
		p.Spec.SchedulingGates = append(p.Spec.SchedulingGates, corev1.PodSchedulingGate{Name: gate})
	}
	if reason != "" {
		p.Status.Conditions = []corev1.PodCondition{{Type: v1alpha1.ConditionPodGranted, Reason: string(reason)}}
	}
	return p
}

// TestCached: what exists is counted, by reasons of the vocabulary.
func TestCached(t *testing.T) {
	token := func(id string, age time.Duration) func(*v1alpha1.DelegationHopStatus) {
		return func(s *v1alpha1.DelegationHopStatus) {
			s.Credential = &v1alpha1.Credential{ID: id, IssuedAt: metav1.NewTime(noon.Add(-age))}
		}
	}
	uses := func(live ...v1alpha1.Use) func(*v1alpha1.DelegationHopStatus) {
		return func(s *v1alpha1.DelegationHopStatus) { s.Uses = &v1alpha1.Uses{Live: live} }
	}
	withdrawal := func(asked, completed *metav1.MicroTime) func(*v1alpha1.DelegationHopStatus) {
		return func(s *v1alpha1.DelegationHopStatus) {
			s.Withdrawal = &v1alpha1.Withdrawal{AskedAt: asked, UnboundAt: after(0), CompletedAt: completed}
		}
	}
	deleted := pod("deleted", "", v1alpha1.GateGrant)
	deleted.DeletionTimestamp, deleted.Finalizers = new(metav1.NewTime(noon)), []string{"example.com/held"}
	c := controller(
		t,
		path("a", v1alpha1.ReasonActive), path("b", v1alpha1.ReasonActive), path("c", v1alpha1.ReasonRevoked), path("new", ""),
		hop("a", v1alpha1.ReasonGranted, metav1.ConditionTrue, uses(v1alpha1.Use{UID: "1"}, v1alpha1.Use{UID: "2"})),
		hop("b", v1alpha1.ReasonOverwritten, metav1.ConditionTrue, token("1", 5*time.Minute)),
		hop("c", v1alpha1.ReasonGranted, metav1.ConditionTrue, token("2", 8*time.Minute), uses(v1alpha1.Use{UID: "3"})),
		hop("announced", v1alpha1.ReasonNotYetValid, metav1.ConditionUnknown, token("", time.Hour)),
		hop("odd", "Rosebud", metav1.ConditionFalse),
		hop("hangs", v1alpha1.ReasonRevoked, metav1.ConditionUnknown, withdrawal(after(-3*time.Minute), nil)),
		hop("withdrawn", v1alpha1.ReasonRevoked, metav1.ConditionFalse, withdrawal(after(-time.Hour), after(-time.Hour))),
		pod("new", "", v1alpha1.GateGrant), pod("waits", v1alpha1.ReasonTooManyLiveUses, v1alpha1.GateGrant), pod("runs", v1alpha1.ReasonGranted),
		pod("odd", "Rosebud", v1alpha1.GateGrant), pod("queued", "", v1alpha1.GateGrant, "example.com/queue"),
		pod("of others", "", "example.com/queue"), deleted,
	)
	want := map[string]float64{
		`wayleave_paths{reason="Active"}`: 2, `wayleave_paths{reason="Revoked"}`: 1, `wayleave_paths{reason="Pending"}`: 1,
		`wayleave_hops{reason="Granted"}`: 2, `wayleave_hops{reason="Overwritten"}`: 1, `wayleave_hops{reason="NotYetValid"}`: 1,
		`wayleave_hops{reason="Revoked"}`: 2, `wayleave_hops{reason="Other"}`: 1,
		`wayleave_hops_granted`: 3, `wayleave_uses_live`: 3, `wayleave_oldest_token_age_seconds`: 480,
		`wayleave_oldest_open_withdrawal_age_seconds`: 180,
		`wayleave_pods_at_gate{reason="Pending"}`:     1, `wayleave_pods_at_gate{reason="Other"}`: 1,
		`wayleave_pods_at_gate{reason="TooManyLiveUses"}`: 1,
	}
	if diff := cmp.Diff(want, testutil.Metrics(t, c)); diff != "" {
		t.Errorf("-want +served:\n%s", diff)
	}
}

// notSynced is a cache that is not filled yet.
type notSynced struct{ client.Reader }

func (notSynced) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("not filled")
}

// TestUnfilledCache: while the cache says nothing, its metrics are left out, not 0, and what was counted is served.
func TestUnfilledCache(t *testing.T) {
	for name, test := range map[string]struct {
		c    *Controller
		want map[string][]string // the values of the label reason
	}{
		"filled": {c: controller(t), want: map[string][]string{
			"wayleave_paths": reasons(), "wayleave_hops": reasons(), "wayleave_pods_at_gate": reasons(),
		}},
		"not filled": {c: NewController(notSynced{}, clocktesting.NewFakePassiveClock(noon)), want: map[string][]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			test.c.TokenMinted()
			got, counted := map[string][]string{}, false
			for _, family := range gather(t, test.c) {
				counted = counted || family.name == "wayleave_tokens_minted_total"
				if slices.Contains(family.labels, labelReason) {
					got[family.name] = family.values
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" || !counted {
				t.Errorf("tokens are counted: %t; -want +served:\n%s", counted, diff)
			}
		})
	}
}

// reasons are all values that the label reason of a gauge has.
func reasons() []string {
	all := []string{reasonPending, other}
	for reason := range maps.Keys(v1alpha1.Reasons()) {
		all = append(all, string(reason))
	}
	slices.Sort(all)
	return all
}

// TestWithdrawal: each step is observed once, when it is first recorded.
func TestWithdrawal(t *testing.T) {
	revoked := func(unbound, identity, stopped, completed *metav1.MicroTime) *v1alpha1.Withdrawal {
		return &v1alpha1.Withdrawal{
			Reason: v1alpha1.ReasonRevoked, AskedAt: after(0),
			UnboundAt: unbound, IdentityDeletedAt: identity, WorkloadsStoppedAt: stopped, CompletedAt: completed,
		}
	}
	expired := &v1alpha1.Withdrawal{Reason: v1alpha1.ReasonExpired, AskedAt: after(0), UnboundAt: after(time.Second)}
	const name = "wayleave_withdrawal_duration_seconds"
	for story, test := range map[string]struct {
		before, after *v1alpha1.Withdrawal
		want          map[string]float64
	}{
		"nothing is withdrawn":     {want: map[string]float64{}},
		"asked for, nothing done":  {after: revoked(nil, nil, nil, nil), want: map[string]float64{}},
		"granted again":            {before: revoked(after(1), nil, nil, nil), want: map[string]float64{}},
		"without a time of asking": {after: &v1alpha1.Withdrawal{UnboundAt: after(1)}, want: map[string]float64{}},
		"a first step": {after: revoked(after(1), nil, nil, nil), want: map[string]float64{
			name + `{kind="DelegationHop",step="Unbound"}`: 1, name + `{kind="DelegationPath",step="Unbound"}`: 1,
		}},
		"the rest, of which a path has one": {
			before: revoked(after(1), nil, nil, nil), after: revoked(after(1), after(2), after(3), after(4)),
			want: map[string]float64{
				name + `{kind="DelegationHop",step="IdentityDeleted"}`: 1, name + `{kind="DelegationHop",step="WorkloadsStopped"}`: 1,
				name + `{kind="DelegationHop",step="Completed"}`: 1, name + `{kind="DelegationPath",step="Completed"}`: 1,
			},
		},
		"the same again": {
			before: revoked(after(1), after(2), nil, nil), after: revoked(after(1), after(2), nil, nil), want: map[string]float64{},
		},
		"another withdrawal": {
			before: &v1alpha1.Withdrawal{Reason: v1alpha1.ReasonSuspended, AskedAt: after(-time.Hour), UnboundAt: after(-time.Hour)},
			after:  revoked(after(1), nil, nil, nil), want: map[string]float64{
				name + `{kind="DelegationHop",step="Unbound"}`: 1, name + `{kind="DelegationPath",step="Unbound"}`: 1,
			},
		},
		"the end of a hop": {after: expired, want: map[string]float64{
			name + `{kind="DelegationHop",step="Unbound"}`: 1, name + `{kind="DelegationPath",step="Unbound"}`: 1,
			"wayleave_expiry_lag_seconds": 1,
		}},
	} {
		t.Run(story, func(t *testing.T) {
			c := controller(t)
			c.PathWritten(&v1alpha1.DelegationPathStatus{Withdrawal: test.before}, &v1alpha1.DelegationPathStatus{Withdrawal: test.after})
			c.HopWritten(&v1alpha1.DelegationHopStatus{Withdrawal: test.before}, &v1alpha1.DelegationHopStatus{Withdrawal: test.after})
			if diff := cmp.Diff(test.want, testutil.Metrics(t, c)); diff != "" {
				t.Errorf("-want +served:\n%s", diff)
			}
		})
	}
}

// TestDurations: it takes as long as the status says, and no less than nothing where who revoked had a clock that is ahead.
func TestDurations(t *testing.T) {
	for d, want := range map[time.Duration]float64{1500 * time.Millisecond: 1.5, -time.Minute: 0} {
		c := controller(t)
		c.HopWritten(&v1alpha1.DelegationHopStatus{}, &v1alpha1.DelegationHopStatus{Withdrawal: &v1alpha1.Withdrawal{
			Reason: v1alpha1.ReasonExpired, AskedAt: after(0), UnboundAt: after(d),
		}})
		sums := map[string]float64{}
		for _, family := range gather(t, c) {
			if family.sum != nil {
				sums[family.name] = *family.sum
			}
		}
		want := map[string]float64{"wayleave_withdrawal_duration_seconds": want, "wayleave_expiry_lag_seconds": want}
		if diff := cmp.Diff(want, sums); diff != "" {
			t.Errorf("after %s: -want +served:\n%s", d, diff)
		}
	}
}

// TestUsesBegun: uses are counted when they begin, and not when they end.
func TestUsesBegun(t *testing.T) {
	uses := func(begun int32) *v1alpha1.DelegationHopStatus {
		return &v1alpha1.DelegationHopStatus{Uses: &v1alpha1.Uses{Begun: new(begun)}}
	}
	none := &v1alpha1.DelegationHopStatus{}
	c := controller(t)
	for _, step := range [][2]*v1alpha1.DelegationHopStatus{
		{none, none}, {none, uses(0)}, {uses(0), uses(1)}, {uses(1), uses(1)}, {uses(1), uses(3)}, {uses(3), none}, {none, uses(0)},
	} {
		c.HopWritten(step[0], step[1])
	}
	if diff := cmp.Diff(map[string]float64{"wayleave_uses_begun_total": 3}, testutil.Metrics(t, c)); diff != "" {
		t.Errorf("-want +served:\n%s", diff)
	}
}

// TestAdmissionLabelsAreBounded: what a request names becomes no label of its own.
func TestAdmissionLabelsAreBounded(t *testing.T) {
	a := NewAdmission()
	for _, kind := range []string{"Pod", "Rosebud", strings.Repeat("x", 1<<10), ""} {
		a.Decided(kind, "Deny", "Rosebud")
		a.Answered(kind, time.Millisecond)
	}
	a.Decided("Pod", "Allow", v1alpha1.ReasonGranted)
	want := map[string]float64{
		`wayleave_admission_decisions_total{kind="Pod",reason="Other",verdict="Deny"}`:    1,
		`wayleave_admission_decisions_total{kind="Other",reason="Other",verdict="Deny"}`:  3,
		`wayleave_admission_decisions_total{kind="Pod",reason="Granted",verdict="Allow"}`: 1,
		`wayleave_admission_duration_seconds{kind="Pod"}`:                                 1,
		`wayleave_admission_duration_seconds{kind="Other"}`:                               3,
	}
	if diff := cmp.Diff(want, testutil.Metrics(t, a)); diff != "" {
		t.Errorf("-want +served:\n%s", diff)
	}
}
