//go:build unix

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestStatusIsTheControllersAlone: one malformed time in a status would keep every watch of hops from working, and a
// well-formed one would prolong a hop.
func TestStatusIsTheControllersAlone(t *testing.T) {
	f := setup(t)
	p, h := f.path("contain"), f.hop("isolate", "contain", "")
	f.apply(f.by, p, h)
	f.state(p, v1alpha1.ReasonActive)
	f.valid(h)
	f.bind(f.ns, f.by, rule("delegation.wayleave.dev", "*", "*"))
	for name, status := range map[string]string{
		"a malformed time": `{"status":{"activeSince":"2026-01-01t00:00:00z"}}`,
		"another end":      `{"status":{"expiresAt":"2099-01-01T00:00:00Z"}}`,
	} {
		for who, c := range map[string]client.Client{"a tenant": f.as(f.by), "an administrator": suite.admin} {
			for _, o := range []client.Object{p.DeepCopy(), h.DeepCopy()} {
				err := c.Status().Patch(f.Context(), o, client.RawPatch(types.MergePatchType, []byte(status)))
				if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "controller of Wayleave alone") {
					t.Errorf("%s writes %s into a %T: %v", who, name, o, err)
				}
			}
		}
	}
}

// TestStrippedLabelsHideNothing: objects of a hop are found even if their labels are removed while no controller runs.
// It stops the controller, so nothing runs beside it.
func TestStrippedLabelsHideNothing(t *testing.T) {
	f := setupOn(t, false)
	p, h := f.path("contain"), f.hop("isolate", "contain", "")
	f.apply(f.by, p, h)
	account := f.granted(h)
	hop := f.withToken(f.token(h))
	if err := f.read(hop); err != nil {
		t.Fatal(err)
	}
	made := []client.Object{
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: account}},
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: account}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: account}},
	}
	suite.operator.Kill("controller")
	for _, o := range made {
		if err := suite.admin.Patch(f.Context(), o, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":null}}`))); err != nil {
			t.Fatal(err)
		}
	}
	f.change(f.by, p, revoke)
	if err := suite.operator.StartController(f.Context()); err != nil {
		t.Fatal(err)
	}
	f.state(h, v1alpha1.ReasonRevoked)
	for _, o := range made {
		f.eventually(fmt.Sprintf("%T to be deleted", o), func() error {
			err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(o), o)
			if apierrors.IsNotFound(err) {
				return nil
			}
			return fmt.Errorf("it still exists: %w", orAllowed(err))
		})
	}
	f.eventually("401", func() error { return wantUnauthorized(f.read(hop)) })
}

// TestRefusedHalfWayWaits: a quota that leaves no room for a binding must not cost an identity at each try.
func TestRefusedHalfWayWaits(t *testing.T) {
	f := setup(t)
	f.make(&corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: "full"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/rolebindings.rbac.authorization.k8s.io": resource.MustParse("0")}},
	})
	time.Sleep(2 * time.Second) // the quota counts existing objects before it applies
	p, h := f.path("contain"), f.hop("isolate", "contain", "")
	f.apply(f.by, p, h)
	f.state(h, v1alpha1.ReasonGrantDenied)
	first := h.Status.Incarnation
	time.Sleep(5 * time.Second)
	if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(h), h); err != nil {
		t.Fatal(err)
	}
	if h.Status.Incarnation > first+1 {
		t.Errorf("the hop went from its %d. identity to its %d. within seconds", first, h.Status.Incarnation)
	}
	f.nothingLeft(h)
}

// TestForeignRole: a Role labelled as that of a hop which is still to be created suspends no Job that waits for the hop.
func TestForeignRole(t *testing.T) {
	f := setupOn(t, false)
	evil := f.ns + "-evil"
	f.namespace(evil)
	job := f.job("later", "isolate")
	f.apply(f.by, job)
	lure := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{
		Namespace: evil, Name: "dhop-isolate.0123456789.1", Finalizers: []string{"example.com/never"}, Labels: map[string]string{
			v1alpha1.LabelHopName: "isolate", v1alpha1.LabelHopNamespace: f.ns, v1alpha1.LabelHopUID: "x",
		},
	}}
	f.make(lure)
	f.Cleanup(func() { _ = suite.admin.Patch(context.Background(), lure, finalizersPatch("null")) })
	f.eventually("the lure to be deleted", func() error {
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(lure), lure); err != nil || lure.DeletionTimestamp.IsZero() {
			return fmt.Errorf("it still exists: %w", orAllowed(err))
		}
		return nil
	})
	time.Sleep(2 * time.Second)
	if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(job), job); err != nil || *job.Spec.Suspend {
		t.Errorf("the Job that waits for its hop is suspended: %v", err)
	}
}

// TestForeignLabels: an account labelled as a hop's, in another namespace than the hop, stops no Job and delays no
// withdrawal.
func TestForeignLabels(t *testing.T) {
	f := setupOn(t, false)
	evil := f.ns + "-evil"
	f.namespace(evil)
	p, h := f.path("contain"), f.hop("isolate", "contain", "")
	f.apply(f.by, p, h)
	f.granted(h)
	lure := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
		Namespace: evil, Name: "dhop-isolate.0123456789.1", Finalizers: []string{"example.com/never"},
		Labels: map[string]string{v1alpha1.LabelHopName: h.Name, v1alpha1.LabelHopNamespace: h.Namespace, v1alpha1.LabelHopUID: string(h.UID)},
	}}
	f.make(lure)
	f.Cleanup(func() {
		_ = suite.admin.Patch(context.Background(), lure, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`)))
	})
	f.change(f.by, p, revoke)
	f.state(h, v1alpha1.ReasonRevoked)
	if h.Status.ServiceAccountName != "" {
		t.Errorf("the withdrawal waits for a foreign account: %+v", h.Status)
	}
	if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(lure), lure); err != nil || !lure.DeletionTimestamp.IsZero() {
		t.Errorf("a foreign account was deleted: %v, %v", err, lure.DeletionTimestamp)
	}
}
