package controllers

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/testutil"
)

// TestWithdrawalIsMeasuredOnce: whichever write of a status fails, and however often it is reconciled.
func TestWithdrawalIsMeasuredOnce(t *testing.T) {
	const steps = "wayleave_withdrawal_duration_seconds"
	want := map[string]float64{
		`wayleave_paths{reason="Revoked"}`: 1, steps + `{kind="DelegationPath",step="Unbound"}`: 1,
		steps + `{kind="DelegationPath",step="Completed"}`: 1,
		`wayleave_hops{reason="Revoked"}`:                  1, steps + `{kind="DelegationHop",step="Unbound"}`: 1,
		steps + `{kind="DelegationHop",step="IdentityDeleted"}`: 1, steps + `{kind="DelegationHop",step="WorkloadsStopped"}`: 1,
		steps + `{kind="DelegationHop",step="Completed"}`: 1,
	}
	conflict := apierrors.NewConflict(hopResource, "isolate", errors.New("changed"))
	for name, failing := range map[string]error{"no write fails": nil, "etcd is gone": errors.New("killed"), "a conflict": conflict} {
		t.Run(name, func(t *testing.T) {
			path, hop, _ := grantedHop()
			path.Spec.Revoked = &v1alpha1.Revocation{Reason: "test", At: at(-time.Second)}
			hop.Status.PathUID = string(path.UID)
			status := hop.Status.DeepCopy()
			hop.Status = v1alpha1.DelegationHopStatus{}
			failures := 0
			r := reconciler(t, interceptor.Funcs{SubResourceApply: func(
				ctx context.Context, cl client.Client, sub string, o runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption,
			) error {
				if failing != nil && failures > 0 {
					failures--
					return failing
				}
				return cl.SubResource(sub).Apply(ctx, o, opts...)
			}}, path, hop)
			r.record.objects = r.grants.Client
			paths := &PathReconciler{
				hops: r.hops, gather: r.gather, grants: r.grants, record: r.record, clock: r.clock, unbinding: r.unbinding,
			}
			if err := r.live.Get(t.Context(), delegation.HopKey(hop), hop); err != nil {
				t.Fatal(err)
			}
			if err := r.record.writeHop(t.Context(), hop, status); err != nil { // under our name, so that we can clear it
				t.Fatal(err)
			}
			if err := r.grants.Client.Create(t.Context(), account(path, hop)); err != nil {
				t.Fatal(err)
			}
			failures = 2  // of the hop, and of the path
			for range 5 { // more often than anything fails
				_, _ = r.Reconcile(t.Context(), ctrl.Request{NamespacedName: delegation.HopKey(hop)})
				_, _ = paths.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(path)})
			}
			if diff := cmp.Diff(want, testutil.Metrics(t, r.record.metrics)); diff != "" {
				t.Errorf("-want +served:\n%s", diff)
			}
		})
	}
}

// TestUsesAreCountedWhenTheyAreWritten: a use that could not be written has not begun.
func TestUsesAreCountedWhenTheyAreWritten(t *testing.T) {
	path, hop, _ := grantedHop()
	fail := true
	r := reconciler(t, interceptor.Funcs{SubResourceApply: func(
		ctx context.Context, cl client.Client, sub string, o runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption,
	) error {
		if fail {
			return errors.New("etcd is gone")
		}
		return cl.SubResource(sub).Apply(ctx, o, opts...)
	}}, path, hop)
	if err := r.live.Get(t.Context(), delegation.HopKey(hop), hop); err != nil {
		t.Fatal(err)
	}
	p := &pass{}
	p.in, p.v, p.next = allowedFor(path, hop)
	p.next.Uses = &v1alpha1.Uses{Summary: "1", Begun: new(int32(1)), Live: []v1alpha1.Use{{
		Kind: v1alpha1.WorkloadJob, Name: "run", UID: "use", Since: metav1.NewTime(t0), By: "alice@example.com",
	}}}
	for _, want := range []float64{0, 1, 1} {
		if err := r.countUses(t.Context(), p); (err != nil) != fail {
			t.Fatal(err)
		}
		if got := testutil.Metrics(t, r.record.metrics)["wayleave_uses_begun_total"]; got != want {
			t.Errorf("%v uses are counted, want %v", got, want)
		}
		fail = false
	}
}

// TestTokensAreCounted: a token is counted when it is in its Secret, and one that is denied is not.
func TestTokensAreCounted(t *testing.T) {
	claims := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"jti":"1","iat":%d}`, t0.Unix()))
	for name, test := range map[string]struct {
		denied error
		want   float64
	}{
		"issued": {want: 1},
		"denied": {denied: apierrors.NewForbidden(corev1.Resource("serviceaccounts"), "dhop-isolate", errors.New("a policy"))},
	} {
		t.Run(name, func(t *testing.T) {
			path, hop, account := grantedHop()
			hop.Spec.Token = &v1alpha1.Token{SecretName: "isolate-token"}
			secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: hop.Namespace, Name: "isolate-token", UID: "secret"}}
			secret.Labels = delegation.Labels(path, hop, 1)
			secret.OwnerReferences = []metav1.OwnerReference{{
				APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: kindHop, Name: hop.Name, UID: hop.UID,
			}}
			r := reconciler(t, interceptor.Funcs{SubResourceCreate: func(
				_ context.Context, _ client.Client, _ string, _, o client.Object, _ ...client.SubResourceCreateOption,
			) error {
				if request, ok := o.(*authenticationv1.TokenRequest); ok {
					request.Status.Token, request.Status.ExpirationTimestamp = "head."+claims+".signature", *at(time.Hour)
				}
				return test.denied
			}}, path, hop, secret)
			if err := r.live.Get(t.Context(), delegation.HopKey(hop), hop); err != nil {
				t.Fatal(err)
			}
			p := &pass{}
			p.in, p.v, p.next = allowedFor(path, hop)
			p.next.Credential = delegation.AnnouncedCredential(hop, t0)
			g := delegation.Grant{
				Account: types.NamespacedName{Namespace: hop.Namespace, Name: account}, Owner: hop.UID, Labels: secret.Labels,
				Token: &delegation.TokenSpec{SecretName: secret.Name, Life: 10 * time.Minute},
			}
			kept := delegation.Plan{Keep: []delegation.Object{{Kind: delegation.Secret, Key: client.ObjectKeyFromObject(secret)}}}
			if err := r.ensureToken(t.Context(), p, g, kept); (err != nil) != (test.denied != nil) {
				t.Fatal(err)
			}
			if got := testutil.Metrics(t, r.record.metrics)["wayleave_tokens_minted_total"]; got != test.want {
				t.Errorf("%v tokens are counted, want %v", got, test.want)
			}
		})
	}
}
