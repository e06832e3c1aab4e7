//go:build unix

package e2e

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestTokenDoesWhatItsScopeSays: each permission works, and for each a similar one is denied.
func TestTokenDoesWhatItsScopeSays(t *testing.T) {
	f := setup(t)
	p := f.path("contain")
	h := f.hop("isolate", "contain", "", func(h *v1alpha1.DelegationHop) {
		s := f.scope(
			resources("", "configmaps", "get", "settings"), resources("", "pods", "list"),
			resources("networking.k8s.io", "networkpolicies", "create"),
		)
		h.Spec.Scope = &s
	})
	for _, name := range []string{"settings", "other"} {
		f.make(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: name}})
	}
	f.apply(f.by, p, h)
	f.state(p, v1alpha1.ReasonActive)
	f.valid(h)
	hop := f.withToken(f.token(h))

	get := func(namespace, name string) error {
		return hop.Get(f.Context(), client.ObjectKey{Namespace: namespace, Name: name}, &corev1.ConfigMap{})
	}
	policy := func(namespace string) error {
		return hop.Create(f.Context(), &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "deny"}})
	}
	for name, ask := range map[string]func() error{
		"get the configmap":       func() error { return get(f.on, "settings") },
		"list pods":               func() error { return hop.List(f.Context(), &corev1.PodList{}, client.InNamespace(f.on)) },
		"create a network policy": func() error { return policy(f.on) },
	} {
		if err := ask(); err != nil {
			t.Errorf("the hop may not %s: %v", name, err)
		}
	}
	for name, ask := range map[string]func() error{
		"get another name":         func() error { return get(f.on, "other") },
		"get in another namespace": func() error { return get(f.ns, "settings") },
		"list instead of get":      func() error { return hop.List(f.Context(), &corev1.ConfigMapList{}, client.InNamespace(f.on)) },
		"delete instead of get": func() error {
			return hop.Delete(f.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: "settings"}})
		},
		"list another resource":     func() error { return hop.List(f.Context(), &corev1.SecretList{}, client.InNamespace(f.on)) },
		"list in another namespace": func() error { return hop.List(f.Context(), &corev1.PodList{}, client.InNamespace(f.ns)) },
		"list everywhere":           func() error { return hop.List(f.Context(), &corev1.PodList{}) },
		"create elsewhere":          func() error { return policy(f.ns) },
	} {
		if err := ask(); !apierrors.IsForbidden(err) {
			t.Errorf("the hop wanted to %s and was answered %v, not 403", name, err)
		}
	}
}

// TestRevocationCascades: one act takes everything from the path's hops, in milliseconds where RBAC decides.
func TestRevocationCascades(t *testing.T) {
	f := setup(t)
	f.make(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: "settings"}})
	p := f.path("contain")
	first, second, third := f.hop("triage", "contain", ""), f.hop("isolate", "contain", "triage"), f.hop("report", "contain", "isolate")
	f.apply(f.by, p, first, second, third)
	clients := map[string]client.Client{}
	for _, h := range []*v1alpha1.DelegationHop{first, second, third} {
		f.valid(h)
		clients[h.Name] = f.withToken(f.token(h))
	}
	ask := func(c client.Client) error {
		return c.Get(f.Context(), client.ObjectKey{Namespace: f.on, Name: "settings"}, &corev1.ConfigMap{})
	}
	for name, c := range clients {
		if err := ask(c); err != nil {
			t.Fatalf("hop %s may not read: %v", name, err)
		}
	}

	f.state(p, v1alpha1.ReasonActive)
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"revoked":{"reason":"false alarm"}}}`))
	if err := f.as(f.by).Patch(f.Context(), p, patch); err != nil {
		t.Fatal(err)
	}
	revoked := time.Now()
	for name, c := range clients {
		f.eventually("403 for "+name, func() error { return wantForbidden(ask(c)) })
		f.measured("the requests of hop %s of 3 were denied (403) %s after the revocation", name, time.Since(revoked).Round(time.Millisecond))
	}
	for name, c := range clients {
		f.eventually("401 for "+name, func() error { return wantUnauthorized(ask(c)) })
		f.measured("the account of hop %s of 3 was unknown (401) %s after the revocation", name, time.Since(revoked).Round(time.Millisecond))
	}
	for _, h := range []*v1alpha1.DelegationHop{first, second, third} {
		message := f.state(h, v1alpha1.ReasonRevoked)
		t.Logf("%s: %s", h.Name, message)
		f.nothingLeft(h)
	}
	f.state(p, v1alpha1.ReasonRevoked)
}
