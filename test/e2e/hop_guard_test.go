//go:build unix

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestWhatAHopMayNotWrite: whatever rights a hop's identity gets, some objects would outlive it, or take what is others'.
// It acts with the token of a hop, to whose account the test gives more rights.
func TestWhatAHopMayNotWrite(t *testing.T) {
	f := setupOn(t, false)
	p, h := f.path("contain"), f.hop("isolate", "contain", "")
	f.apply(f.by, p, h)
	f.granted(h)
	hop := f.withToken(f.token(h))
	everything := "get,list,create,update,patch,delete,deletecollection"
	for _, ns := range []string{f.on, "default"} { // no policy is about groups
		key := meta1(ns, "all-of-"+f.ns)
		f.make(&rbacv1.Role{ObjectMeta: key, Rules: []rbacv1.PolicyRule{
			rule("", "secrets,services,services/status,services/proxy,endpoints,persistentvolumeclaims", everything),
			rule("discovery.k8s.io", "endpointslices", everything),
		}})
		f.make(roleBinding(ns, key.Name, key.Name, rbacv1.GroupKind, "system:serviceaccounts:"+f.ns))
	}
	named := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: f.on, Name: name} }
	secret := func(kind corev1.SecretType) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: named("s"), Type: kind}
		s.Annotations = map[string]string{corev1.ServiceAccountNameKey: "default"}
		return s
	}
	service := func(change func(*corev1.ServiceSpec)) *corev1.Service {
		s := &corev1.Service{ObjectMeta: named("s"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
		change(&s.Spec)
		return s
	}
	claim := func(volume string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{ObjectMeta: named("c"), Spec: corev1.PersistentVolumeClaimSpec{
			VolumeName: volume, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		}}
	}
	slice := func(ns, of string) *discoveryv1.EndpointSlice {
		s := &discoveryv1.EndpointSlice{ObjectMeta: named("mine"), AddressType: discoveryv1.AddressTypeIPv4}
		s.Namespace, s.Labels = ns, map[string]string{discoveryv1.LabelServiceName: of}
		s.Endpoints = []discoveryv1.Endpoint{{Addresses: []string{"192.0.2.1"}}}
		return s
	}
	kubernetes := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "kubernetes"}}
	other := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "other"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}},
	}
	f.make(other)
	token := secret(corev1.SecretTypeServiceAccountToken)
	token.Name = "token"
	f.make(token)
	plain := secret(corev1.SecretTypeOpaque)
	plain.Name = "plain"
	f.make(plain)
	external := func(s *corev1.ServiceSpec) { s.ExternalIPs = []string{"192.0.2.1"} }
	exposed := service(external)
	exposed.Name = "exposed"
	f.make(exposed)
	quiet := service(func(*corev1.ServiceSpec) {})
	quiet.Name = "quiet"
	f.make(quiet)
	balanced := service(func(s *corev1.ServiceSpec) { s.Type = corev1.ServiceTypeLoadBalancer })
	balanced.Name = "balanced"
	f.make(balanced)
	unbound := claim("")
	unbound.Name = "unbound"
	f.make(unbound)
	bound := claim("somebodys")
	bound.Name = "bound"
	f.make(bound)

	create := func(o client.Object) func(client.Client) error {
		return func(c client.Client) error {
			return c.Create(f.Context(), o.DeepCopyObject().(client.Object), client.DryRunAll)
		}
	}
	patch := func(o client.Object, patch string) func(client.Client) error {
		return func(c client.Client) error {
			return c.Patch(f.Context(), o.DeepCopyObject().(client.Object), client.RawPatch(types.MergePatchType, []byte(patch)), client.DryRunAll)
		}
	}
	remove := func(o client.Object) func(client.Client) error {
		return func(c client.Client) error {
			return c.Delete(f.Context(), o.DeepCopyObject().(client.Object), client.DryRunAll)
		}
	}
	removeAll := func(ns string) func(client.Client) error {
		return func(c client.Client) error {
			return c.DeleteAllOf(f.Context(), &corev1.Service{}, client.InNamespace(ns), client.DryRunAll)
		}
	}
	const labels = `{"metadata":{"labels":{"a":"b"}}}`
	status := func(o client.Object) func(client.Client) error {
		return func(c client.Client) error {
			patch := client.RawPatch(types.MergePatchType, []byte(`{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.1"}]}}}`))
			return c.Status().Patch(f.Context(), o.DeepCopyObject().(client.Object), patch, client.DryRunAll)
		}
	}
	for name, c := range map[string]struct {
		attack, twin func(client.Client) error
		want         string
	}{
		"creates a token's Secret": {
			create(secret(corev1.SecretTypeServiceAccountToken)), create(secret(corev1.SecretTypeOpaque)), "makes a credential",
		},
		"creates a bootstrap token": {
			create(secret(corev1.SecretTypeBootstrapToken)), create(secret("example.com/other")), "makes a credential",
		},
		"patches a token's Secret":    {patch(token, labels), patch(plain, labels), "makes a credential"},
		"creates external IPs":        {create(service(external)), create(service(func(*corev1.ServiceSpec) {})), "spec.externalIPs"},
		"adds external IPs":           {patch(quiet, `{"spec":{"externalIPs":["192.0.2.1"]}}`), patch(quiet, labels), "spec.externalIPs"},
		"takes over external IPs":     {patch(exposed, labels), patch(exposed, `{"spec":{"externalIPs":null}}`), "spec.externalIPs"},
		"writes an ingress IP":        {status(balanced), patch(balanced, labels), "the status of a Service"},
		"patches kubernetes":          {patch(kubernetes, labels), patch(other, labels), "default/kubernetes"},
		"deletes kubernetes":          {remove(kubernetes), remove(other), "default/kubernetes"},
		"deletes all Services":        {removeAll("default"), removeAll(f.on), "default/kubernetes"},
		"diverts kubernetes":          {create(slice("default", "kubernetes")), create(slice("default", "other")), "default/kubernetes"},
		"names the volume of a claim": {create(claim("somebodys")), create(claim("")), "spec.volumeName"},
		"names it after the fact":     {patch(unbound, `{"spec":{"volumeName":"somebodys"}}`), patch(bound, labels), "spec.volumeName"},
	} {
		t.Run(name, func(t *testing.T) {
			inner := &fixture{T: t, ns: f.ns, on: f.on, by: f.by}
			inner.eventually("the twin to be allowed", func() error { return c.twin(hop) })
			switch err := c.attack(hop); {
			case !apierrors.IsForbidden(err):
				t.Errorf("answered: %v", orAllowed(err))
			default:
				inner.wantDenied(err, c.want, "ValidatingAdmissionPolicy")
			}
			// Nobody else is concerned.
			if err := c.attack(suite.admin); err != nil {
				t.Errorf("an administrator is denied: %v", err)
			}
		})
	}
}
