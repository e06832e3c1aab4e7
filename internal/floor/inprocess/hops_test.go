package inprocess

import (
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
)

// longHop is a hop of the longest name.
var longHop = "system:serviceaccount:" + strings.Repeat("n", 63) + ":dhop-" + strings.Repeat("x", 200) + ".5f0d.1767229200"

// longAccount is another account of a name as long.
var longAccount = strings.Replace(longHop, ":dhop-", ":xhop-", 1)

// hopRules are about what the identity of a hop may not do, whatever its scope.
var hopRules = map[string]tried{
	"hop-kubernetes": {
		idle: update(service("kubernetes", inDefault), elsewhereIP),
		rows: map[string]row{
			"the Service": {
				"Service default/kubernetes", update(service("kubernetes", inDefault), elsewhereIP, by(hop)),
				update(service("other", inDefault), elsewhereIP, by(hop)),
			},
			"its namesake": {
				"Service default/kubernetes", update(service("kubernetes", inDefault), elsewhereIP, by(hop)),
				update(service("kubernetes"), elsewhereIP, by(hop)),
			},
			"its deletion": {
				"Service default/kubernetes", remove(service("kubernetes", inDefault), by(hop)), remove(service("other", inDefault), by(hop)),
			},
			"its endpoints": {"Service default/kubernetes", create(slice("kubernetes"), by(hop)), create(slice("other"), by(hop))},
			"endpoints that are taken over": {
				"Service default/kubernetes", update(slice("other"), func(s *discoveryv1.EndpointSlice) { *s = *slice("kubernetes") }, by(hop)),
				update(slice("other"), func(s *discoveryv1.EndpointSlice) { *s = *slice("another") }, by(hop)),
			},
		},
		worst: map[string]row{"a long name": {
			"Service default/kubernetes", create(slice("kubernetes"), by(longHop)), create(slice("other"), by(longHop)),
		}},
	},
	"hop-secrets": {
		idle: create(secret(corev1.SecretTypeBootstrapToken), by(eve)),
		rows: map[string]row{
			"a token without end": {
				"makes a credential", create(secret(corev1.SecretTypeServiceAccountToken), by(hop)), create(secret(corev1.SecretTypeOpaque), by(hop)),
			},
			"a bootstrap token": {
				"makes a credential", create(secret(corev1.SecretTypeBootstrapToken), by(hop)), create(secret(corev1.SecretTypeTLS), by(hop)),
			},
			"one that there is": {
				"makes a credential", update(secret(corev1.SecretTypeServiceAccountToken), noted[*corev1.Secret]("a", "b"), by(hop)),
				update(secret(corev1.SecretTypeOpaque), noted[*corev1.Secret]("a", "b"), by(hop)),
			},
		},
		worst: map[string]row{"a long name": {
			"makes a credential", create(secret(corev1.SecretTypeBootstrapToken), by(longHop)), create(secret(corev1.SecretTypeOpaque), by(longHop)),
		}},
	},
	"hop-services": {
		idle: create(service("s", externalIP), by(eve)),
		rows: map[string]row{
			"external IPs": {"spec.externalIPs", create(service("s", externalIP), by(hop)), create(service("s"), by(hop))},
			"its status": {
				"the status of a Service", update(service("s"), ingressIP, by(hop), at("status")), update(service("s"), ingressIP, by(hop)),
			},
		},
		worst: map[string]row{"a long name": {
			"spec.externalIPs", create(service("s", externalIP), by(longHop)), create(service("s"), by(longHop)),
		}},
	},
	"hop-volumes": {
		idle: create(claim("data"), by(eve)),
		rows: map[string]row{
			"a volume": {"the volume of a PersistentVolumeClaim", create(claim("data"), by(hop)), create(claim(""), by(hop))},
			"another one": {
				"the volume of a PersistentVolumeClaim",
				update(claim("data"), func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "d" }, by(hop)),
				update(claim("data"), noted[*corev1.PersistentVolumeClaim]("a", "b"), by(hop)),
			},
		},
		worst: map[string]row{"a long name": {
			"the volume of a PersistentVolumeClaim", create(claim("data"), by(longHop)), create(claim(""), by(longHop)),
		}},
	},
}

func inDefault(s *corev1.Service) { s.Namespace = "default" }

func elsewhereIP(s *corev1.Service) { s.Spec.ClusterIP = "10.0.0.2" }

func externalIP(s *corev1.Service) { s.Spec.ExternalIPs = []string{"192.0.2.1"} }

func ingressIP(s *corev1.Service) {
	s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}
}

func slice(of string) *discoveryv1.EndpointSlice {
	s := &discoveryv1.EndpointSlice{ObjectMeta: named("s")}
	s.Namespace, s.Labels = "default", map[string]string{discoveryv1.LabelServiceName: of}
	return s
}
