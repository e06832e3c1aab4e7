package controllers

import (
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/metrics"
)

// TestApprovalsAreSpentOnce: of two controllers that find the same approval at the same time, one spends it. The write of the other fails,
// since the path is not the one any more that it read.
func TestApprovalsAreSpentOnce(t *testing.T) {
	scheme := runtime.NewScheme()
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	now := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	path := &v1alpha1.DelegationPath{ObjectMeta: metav1.ObjectMeta{Namespace: "requests", Name: "restart", UID: "path-uid", Generation: 1}}
	path.Spec.Origin = &v1alpha1.Subject{User: "alice"}
	path.Spec.Approval = &v1alpha1.ApprovalRule{Count: 1}
	path.Spec.Lifetime.Duration = &metav1.Duration{Duration: time.Hour}
	path.Spec.Scope.Audiences = []string{"vault"}
	c := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(path).WithObjects(path).Build()
	yes := delegation.Answer{Outcome: delegation.Allow}
	spend := func() error {
		read := path.DeepCopy()
		in := delegation.Input{Now: now, Path: read}
		in.Facts.Origin, in.Facts.TokenSecrets = yes, yes
		in.Facts.Approval = delegation.Approval{Digest: "sha256:1111", Decisions: []delegation.Decided{{
			DelegationApproval: &v1alpha1.DelegationApproval{
				ObjectMeta: metav1.ObjectMeta{Name: "a", UID: "approval-uid", CreationTimestamp: metav1.NewTime(now.Add(-time.Minute))},
				Spec: v1alpha1.DelegationApprovalSpec{
					Digest: "sha256:1111", Decision: v1alpha1.DecisionApproved, Reason: "x", ExpiresAt: metav1.NewTime(now.Add(time.Hour)),
					Approver: &v1alpha1.Approver{User: "bob"},
				},
			}, MayApprove: yes,
		}}}
		v := delegation.Evaluate(in)
		if v.Outcome != delegation.Allow {
			t.Fatal(v.Message())
		}
		r := &recorder{status: c.Status(), metrics: metrics.NewController(c, nil)}
		return r.writePath(t.Context(), read, delegation.PathStatus(in, v, nil, now))
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(path), path); err != nil { // what both read
		t.Fatal(err)
	}
	if err := spend(); err != nil {
		t.Fatal(err)
	}
	if err := spend(); !apierrors.IsConflict(err) {
		t.Errorf("the second spends it, too: %v", err)
	}
	stored := &v1alpha1.DelegationPath{}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(path), stored); err != nil {
		t.Fatal(err)
	}
	if a := stored.Status.Approval; a == nil || a.SpentAt == nil {
		t.Errorf("it is stored as %+v", a)
	}
}
