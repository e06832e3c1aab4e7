//go:build unix

package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestTokenComesBack: a token Secret that is deleted or overwritten has a token that works again, long before the next
// rotation; who overwrites it again and again is named.
func TestTokenComesBack(t *testing.T) {
	f := hopSetup(t)
	h := f.hop("isolate", "contain", "")
	f.apply(f.by, f.path("contain"), h)
	account := f.granted(h)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: h.Spec.Token.SecretName}}
	works := func() error {
		now, err := f.secret(f.ns, secret.Name)
		if err != nil {
			return err
		}
		return f.read(f.withToken(string(now.Data["token"])))
	}
	overwrite := func(data string) {
		t.Helper()
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"data":{%s}}`, data))
		if err := suite.admin.Patch(f.Context(), secret, patch, client.FieldOwner("thief")); err != nil {
			t.Fatal(err)
		}
	}
	f.eventually("the token to work", works)

	overwrite(`"token":"c3RvbGVu"`)
	f.eventually("the token to work again", works)
	overwrite(`"kubeconfig":"c3RvbGVu"`)
	said := f.state(h, v1alpha1.ReasonOverwritten)
	if !strings.Contains(said, "Secret "+f.ns+"/"+secret.Name) {
		t.Errorf("the hop says %q", said)
	}
	f.wantGrantedSince(h)
	f.valid(h)

	unlabel := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{%q:null}}}`, v1alpha1.LabelHopUID))
	if err := suite.admin.Patch(f.Context(), secret, unlabel); err != nil {
		t.Fatal(err)
	}
	f.change(f.by, h, `{"spec":{"lifetime":{"duration":"50m"}}}`) // it is reconciled, and gets another identity
	f.grantedAnew(h, account)
	account = h.Status.ServiceAccountName
	f.eventually("the token to work without a label", works)

	if err := suite.admin.Delete(f.Context(), secret); err != nil {
		t.Fatal(err)
	}
	f.eventually("the deleted token to work again", works)
	if now := f.granted(h); now != account {
		t.Errorf("the account %s became %s", account, now)
	}
}

// TestTokenForAnAudience: a token for another audience cannot be revoked, so a hop that lives less long than the shortest
// one has none.
func TestTokenForAnAudience(t *testing.T) {
	f := hopSetup(t)
	forVault := func(d time.Duration) func(*v1alpha1.DelegationHop) {
		return func(h *v1alpha1.DelegationHop) {
			h.Spec.Token.Audience, h.Spec.Scope.Audiences = "vault", []string{"vault"}
			if d > 0 {
				h.Spec.Lifetime = &v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: d}}
			}
		}
	}
	audience := func(p *v1alpha1.DelegationPath) { p.Spec.Scope.Audiences = []string{"vault"} }
	short := f.path("short", audience, func(p *v1alpha1.DelegationPath) { p.Spec.Lifetime.Duration.Duration = 40 * time.Second })
	long := f.path("contain", audience)
	brief, below := f.hop("brief", "contain", "", forVault(10*time.Minute)), f.hop("below", "short", "", forVault(0))
	fits := f.hop("fits", "contain", "", forVault(11*time.Minute))
	f.apply(f.by, short, long)
	f.wantDenied(f.creates(f.by, brief), "LifetimeTooShort", "cannot be revoked")
	f.apply(f.by, below, fits)
	f.state(below, v1alpha1.ReasonLifetimeTooShort)
	f.nothingLeft(below)
	f.granted(fits)
	if c := fits.Status.Credential; c == nil || c.ExpiresAt.After(fits.Status.ExpiresAt.Time) {
		t.Errorf("the token %+v ends after the hop, at %s", c, fits.Status.ExpiresAt)
	}
}

// TestOrphanedSecret: the token Secret of a hop that was deleted with --cascade=orphan blocks no other hop of its name.
func TestOrphanedSecret(t *testing.T) {
	f := hopSetup(t)
	p, h := f.path("contain"), f.hop("isolate", "contain", "")
	f.apply(f.by, p, h)
	f.granted(h)
	f.token(h)
	orphan, err := f.secret(f.ns, h.Spec.Token.SecretName)
	if err != nil {
		t.Fatal(err)
	}
	f.remove(f.by, h)
	f.gone(orphan.DeepCopy())
	orphan.OwnerReferences, orphan.ResourceVersion, orphan.UID = nil, "", ""
	f.eventually("the Secret to be made", func() error { return suite.admin.Create(t.Context(), orphan.DeepCopy()) })

	next := f.hop("isolate", "contain", "")
	f.apply(f.by, next)
	f.granted(next)
	f.eventually("the token to work", func() error { return f.read(f.withToken(f.token(next))) })
}

// TestDeletedWithoutLabels: a hop whose objects lost their labels, and are not put back again so soon, holds nothing when it
// is deleted.
func TestDeletedWithoutLabels(t *testing.T) {
	f := hopSetupOn(t, false)
	h := f.hop("isolate", "contain", "")
	f.apply(f.by, f.path("contain"), h)
	name := f.granted(h)
	token := f.withToken(f.token(h))
	f.eventually("the token to work", func() error { return f.read(token) })
	made := []client.Object{
		&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: name}},
		&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: name}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: name}},
	}
	strip := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":null,"ownerReferences":null}}`))
	for range 2 {
		for _, o := range made {
			if err := suite.admin.Patch(f.Context(), o, strip); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
	}
	f.remove(f.by, h)
	for _, o := range made {
		f.gone(o)
	}
	f.eventually("401", func() error { return wantUnauthorized(f.read(token)) })
}

// TestPodWithoutItsLabel: who may write the status of pods can take the label from one, and not keep it from being ended.
func TestPodWithoutItsLabel(t *testing.T) {
	f := hopSetupOn(t, false)
	h := f.hop("isolate", "contain", "", func(h *v1alpha1.DelegationHop) {
		h.Spec.Token = nil
		h.Spec.Workload = &v1alpha1.Workload{Kinds: []v1alpha1.WorkloadKind{v1alpha1.WorkloadPod}, Images: []string{agent}}
	})
	f.apply(f.by, f.path("contain"), h)
	f.granted(h)
	f.usable(h.Name)
	pod := f.pod("dhop-agent", h.Name)
	f.apply(f.by, pod)
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{%q:null}}}`, v1alpha1.LabelHop))
	if err := suite.admin.Status().Patch(f.Context(), pod, patch); err != nil {
		t.Fatal(err)
	}
	if pod.Labels[v1alpha1.LabelHop] != "" {
		t.Fatal("the label is still there, so this tests nothing")
	}
	f.remove(f.by, h)
	f.gone(pod)
}
