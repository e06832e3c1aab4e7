package controllers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"unicode/utf8"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
)

// failingOnce fails one write and then works.
type failingOnce struct {
	io.Writer
	failed bool
}

func (w *failingOnce) Write(p []byte) (int, error) {
	if !w.failed {
		w.failed = true
		return 0, errors.New("disk full")
	}
	return w.Writer.Write(p)
}

// A transition has exactly one audit line and one Event, whichever write fails.
func TestTransitionIsRecordedOnce(t *testing.T) {
	conflict := apierrors.NewConflict(
		v1alpha1.SchemeGroupVersion.WithResource("delegationhops").GroupResource(), "isolate", errors.New("changed"),
	)
	for name, c := range map[string]struct {
		failAudit bool
		status    error // of the first write of the status
		died      bool  // the process ends between line and status
		wantLines int
	}{
		"no write fails":             {wantLines: 1},
		"the audit line fails":       {failAudit: true, wantLines: 1},
		"the status fails":           {status: errors.New("etcd is gone"), wantLines: 1},
		"the status has a conflict":  {status: conflict, wantLines: 1},
		"audit line and status fail": {failAudit: true, status: errors.New("etcd is gone"), wantLines: 1},
		"the process ends between line and status, which gives the line twice": {
			status: errors.New("killed"), died: true, wantLines: 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, hop, _ := grantedHop()
			hop.Status = v1alpha1.DelegationHopStatus{}
			hop.Spec.Revoked = &v1alpha1.Revocation{Reason: "test", By: "bob@example.com"}
			failed := c.status == nil
			r := reconciler(t, interceptor.Funcs{SubResourceApply: func(
				ctx context.Context, cl client.Client, sub string, o runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption,
			) error {
				if !failed {
					failed = true
					return c.status
				}
				return cl.SubResource(sub).Apply(ctx, o, opts...)
			}}, path, hop)
			var lines bytes.Buffer
			recorded := events.NewFakeRecorder(16)
			r.record.events, r.record.audit = recorded, audit.New(&failingOnce{Writer: &lines, failed: !c.failAudit})
			r.gather = &facts.Gatherer{Cache: r.live, Live: r.live, Controller: "system:serviceaccount:wayleave-system:wayleave-controller"}
			request := ctrl.Request{NamespacedName: delegation.HopKey(hop)}
			for range 5 { // more often than anything fails
				if _, err := r.Reconcile(t.Context(), request); err != nil && c.died {
					r.record = &recorder{status: r.record.status, events: recorded, audit: r.record.audit, metrics: r.record.metrics}
				}
			}
			if got := strings.Count(lines.String(), `"reason":"Revoked"`); got != c.wantLines || strings.Count(lines.String(), "\n") != got {
				t.Errorf("%d lines, want %d:\n%s", got, c.wantLines, &lines)
			}
			if got := len(recorded.Events); got != 1 {
				t.Errorf("%d Events, want 1", got)
			}
			if err := r.live.Get(t.Context(), request.NamespacedName, hop); err != nil {
				t.Fatal(err)
			}
			if got := delegation.ReadyReason(hop.Status.Conditions); got != v1alpha1.ReasonRevoked {
				t.Errorf("the status says %q", got)
			}
			before := lines.Len()
			stale := hop.DeepCopy()
			stale.ResourceVersion, stale.Status = "1", v1alpha1.DelegationHopStatus{}
			in := delegation.Input{Now: t0, Path: path, Chain: delegation.Chain{Hops: []*v1alpha1.DelegationHop{stale}}}
			if err := r.record.hop(t.Context(), in, delegation.Evaluate(in), hop.Status.DeepCopy()); !apierrors.IsConflict(err) {
				t.Errorf("recording on a cache that lags: %v", err)
			}
			if lines.Len() != before {
				t.Errorf("a cache that lags writes the line again:\n%s", &lines)
			}
			if err := r.live.Get(t.Context(), request.NamespacedName, hop); err != nil {
				t.Fatal(err)
			}
			if err := r.grants.Client.Delete(t.Context(), hop); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Reconcile(t.Context(), request); err != nil || len(r.record.logged) != 0 {
				t.Errorf("%d transitions are remembered of a hop that was deleted, %v", len(r.record.logged), err)
			}
		})
	}
}

// An Event with a longer note is rejected, and no one learns of it. As much as fits is kept, and whole characters only.
func TestNote(t *testing.T) {
	for _, text := range []string{"short", strings.Repeat("x", 1024), strings.Repeat("x", 1025), strings.Repeat("ü", 1000)} {
		got := note(text)
		switch kept := strings.TrimSuffix(got, "…"); {
		case len(text) <= 1024 && got != text:
			t.Errorf("%d bytes become %d: %s", len(text), len(got), got)
		case len(got) > 1024 || !utf8.ValidString(got) || !strings.HasPrefix(text, kept):
			t.Errorf("%d bytes become %d: %s", len(text), len(got), got)
		case len(text) > 1024 && (kept == got || len(got) < 1024-len("…")):
			t.Errorf("of %d bytes only %d are left: %s", len(text), len(got), got)
		}
	}
}

// TestStatusIsWrittenShort: an object without room for its status does not go on saying Ready=True.
func TestStatusIsWrittenShort(t *testing.T) {
	kind := v1alpha1.SchemeGroupVersion.WithKind("DelegationHop").GroupKind()
	for name, c := range map[string]struct {
		err       error
		wantError bool
	}{
		"etcd's limit":           {err: errors.New("etcdserver: request is too large")},
		"the API server's limit": {err: apierrors.NewRequestEntityTooLargeError("limit is 3145728")},
		"a bound of the schema":  {err: apierrors.NewInvalid(kind, "isolate", nil)},
		"another error":          {err: errors.New("etcd is gone"), wantError: true},
	} {
		t.Run(name, func(t *testing.T) {
			path, hop, _ := grantedHop()
			ready := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Active", Message: "valid"}}
			path.Status.Conditions, hop.Status.Conditions = ready, ready
			failed := map[string]bool{}
			r := reconciler(t, interceptor.Funcs{SubResourceApply: func(
				ctx context.Context, cl client.Client, sub string, o runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption,
			) error {
				if of := fmt.Sprintf("%T", o); !failed[of] {
					failed[of] = true
					return c.err
				}
				return cl.SubResource(sub).Apply(ctx, o, opts...)
			}}, path, hop)
			for _, o := range []client.Object{path, hop} {
				if err := r.live.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
					t.Fatal(err)
				}
			}
			nextPath, nextHop := path.Status.DeepCopy(), hop.Status.DeepCopy()
			not := metav1.Condition{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: "Suspended", Message: "suspended"}
			meta.SetStatusCondition(&nextPath.Conditions, not)
			meta.SetStatusCondition(&nextHop.Conditions, not)
			nextPath.History = []v1alpha1.Transition{{Actor: "bob", Reason: v1alpha1.ReasonSuspended}}
			errs := []error{r.record.writePath(t.Context(), path, nextPath), r.record.writeHop(t.Context(), hop, nextHop)}
			for _, err := range errs {
				if (err != nil) != c.wantError {
					t.Fatal(err)
				}
			}
			if c.wantError {
				return
			}
			for _, o := range []client.Object{path, hop} {
				if err := r.live.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
					t.Fatal(err)
				}
			}
			for _, conditions := range [][]metav1.Condition{path.Status.Conditions, hop.Status.Conditions} {
				if got := meta.FindStatusCondition(conditions, v1alpha1.ConditionReady); got.Status != metav1.ConditionFalse || got.Message != "" {
					t.Errorf("the status says %+v", got)
				}
			}
			if len(path.Status.History) != 0 {
				t.Errorf("the history is %+v", path.Status.History)
			}
		})
	}
}
