//go:build unix

package certmanager

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

const (
	secretName = "wayleave-webhook-cert"
	serverName = "wayleave-webhook.wayleave-system.svc"
	// says is what the webhook answers to a pod that declares a hop which does not exist.
	says = `HopNotFound: there is no such hop in this namespace`
)

// TestCertManager plays the life of an installation whose certificates cert-manager makes, from the chart's own issuer, and has one that
// made its own go over to that. The webhook answers all the while.
func TestCertManager(t *testing.T) {
	if why := cluster.CanRunNode(); why != nil {
		t.Logf("nothing of this package runs here: %v", why)
		return
	}
	s := newSite(t)
	s.installCertManager()
	s.helm("v4", "install", "wayleave", "charts/wayleave", "--namespace", operator.Namespace, "--create-namespace",
		"--wait", "--timeout", "4m", "--set", "certificate.from=certManager")
	s.nobodyElseMakesCertificates()
	s.eventually("the webhook to answer after the installation", s.refuses)
	first := s.serves(nil)
	second := first
	s.refusesAllTheWhile("renewing", func() {
		s.renew()
		second = s.serves(first)
	})
	s.refusesAllTheWhile("deleting the Secret", func() {
		s.must(s.admin.Delete(s.Context(), s.secret()))
		s.serves(second)
	})
	s.refusesAllTheWhile("upgrading", func() {
		s.helm("v4", "upgrade", "wayleave", "charts/wayleave", "--namespace", operator.Namespace, "--wait", "--timeout", "4m",
			"--set", "certificate.from=certManager,webhook.podLabels.changed=yes")
	})
	s.helm("v4", "uninstall", "wayleave", "--namespace", operator.Namespace, "--wait", "--timeout", "4m")
	s.keepsSecret()
	s.nothingLeft()

	s.helm("v4", "install", "wayleave", "charts/wayleave", "--namespace", operator.Namespace, "--wait", "--timeout", "4m")
	s.eventually("the webhook to answer with a certificate of rotation", s.refuses)
	rotation := s.secret()
	s.must(s.admin.Get(s.Context(), client.ObjectKeyFromObject(rotation), rotation))
	s.refusesAllTheWhile("switching to cert-manager", func() {
		s.helm("v4", "upgrade", "wayleave", "charts/wayleave", "--namespace", operator.Namespace, "--wait", "--timeout", "4m",
			"--set", "certificate.from=certManager")
		s.nobodyElseMakesCertificates()
		s.serves(rotation.Data[corev1.TLSCertKey])
	})
}

// keepsSecret: cert-manager keeps the Secret, with which Helm does not install rotation, as docs/install.md says.
func (s *site) keepsSecret() {
	s.Helper()
	_, err := s.tryHelm("v4", "install", "wayleave", "charts/wayleave", "--namespace", operator.Namespace)
	if err == nil || !strings.Contains(err.Error(), `Secret "`+secretName+`"`) {
		s.Errorf("Helm installs rotation beside the Secret of cert-manager: %v", err)
	}
	s.must(s.admin.Delete(s.Context(), s.secret()))
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

// nobodyElseMakesCertificates: neither the process certs nor its account is there, nor a binding of it.
func (s *site) nobodyElseMakesCertificates() {
	s.Helper()
	key := metav1.ObjectMeta{Namespace: operator.Namespace, Name: "wayleave-certs"}
	global := metav1.ObjectMeta{Name: key.Name}
	for _, o := range []client.Object{
		&appsv1.Deployment{ObjectMeta: key}, &corev1.ServiceAccount{ObjectMeta: key}, &rbacv1.Role{ObjectMeta: key},
		&rbacv1.RoleBinding{ObjectMeta: key}, &rbacv1.ClusterRole{ObjectMeta: global}, &rbacv1.ClusterRoleBinding{ObjectMeta: global},
	} {
		if err := s.admin.Get(s.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			s.Errorf("there is a %T %s: %v", o, o.GetName(), err)
		}
	}
	s.eventually("no pod of certs", func() error {
		var pods corev1.PodList
		if err := s.admin.List(s.Context(), &pods, client.InNamespace(operator.Namespace)); err != nil {
			return err
		}
		var accounts []string
		for i := range pods.Items {
			accounts = append(accounts, pods.Items[i].Spec.ServiceAccountName)
			if strings.HasPrefix(pods.Items[i].Name, key.Name) {
				return fmt.Errorf("there is %s", pods.Items[i].Name)
			}
		}
		s.Logf("pods run as %s", strings.Join(accounts, ", "))
		return nil
	})
}

// refuses is nil if a pod that declares a hop which does not exist is refused by the webhook, in its words.
func (s *site) refuses() error {
	err := s.admin.Create(s.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "stray", Labels: map[string]string{v1alpha1.LabelHop: "missing"}},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Image: "registry.example.com/agent:1.0"}}},
	})
	if err == nil {
		return errors.New("the pod was admitted")
	}
	if !strings.Contains(err.Error(), says) {
		return err
	}
	return nil
}

// refusesAllTheWhile demands that the webhook answers each request while something is done.
func (s *site) refusesAllTheWhile(what string, do func()) {
	s.Helper()
	ctx, stop := context.WithCancel(s.Context())
	done := make(chan struct{})
	var asked, failed int
	var first, last time.Time
	var why error
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			asked++
			if err := s.refuses(); err != nil {
				failed++
				if failed == 1 {
					first, why = time.Now(), err
				}
				last = time.Now()
			}
			time.Sleep(100 * time.Millisecond)
		}
	}()
	defer func() {
		stop()
		<-done
		s.Logf("%s: %d requests, of which %d were not answered, for %s", what, asked, failed, last.Sub(first).Round(100*time.Millisecond))
		if failed > 0 {
			s.Errorf("%s: the webhook did not answer: %v", what, why)
		}
	}()
	do()
}

// renew does what `cmctl renew` does.
func (s *site) renew() {
	s.Helper()
	_, err := s.kubectl("-n", operator.Namespace, "patch", "certificate", "wayleave-webhook", "--subresource=status", "--type=json", "--patch",
		`[{"op": "add", "path": "/status/conditions/-", "value": {"type": "Issuing", "status": "True", "reason": "ManuallyTriggered",
		"message": "Certificate re-issuance manually triggered", "lastTransitionTime": "`+time.Now().UTC().Format(time.RFC3339)+`"}}]`)
	s.must(err)
}

func (s *site) secret() *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: secretName}}
}

// serves waits until the Secret has another certificate than before, both webhook configurations trust its CA, and each pod of the
// webhook serves it. It returns the certificate.
func (s *site) serves(before []byte) []byte {
	s.Helper()
	secret := s.secret()
	issued := func() error {
		if err := s.admin.Get(s.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
			return err
		}
		if len(secret.Data[corev1.TLSCertKey]) == 0 || bytes.Equal(secret.Data[corev1.TLSCertKey], before) {
			return errors.New("it has no new one")
		}
		return nil
	}
	s.eventually("a certificate in the Secret", issued)
	s.eventually("the CA in both webhook configurations", func() error { return errors.Join(issued(), s.trusts(secret.Data["ca.crt"])) })
	s.eventually("each pod of the webhook to serve it", func() error {
		return errors.Join(issued(), s.present(secret.Data[corev1.TLSCertKey], secret.Data["ca.crt"]))
	})
	s.eventually("an answer", s.refuses)
	return secret.Data[corev1.TLSCertKey]
}

// present is nil if each pod of the webhook serves this certificate, and the CA vouches for it.
func (s *site) present(certificate, ca []byte) error {
	var pods corev1.PodList
	of := client.MatchingLabels{"app.kubernetes.io/component": "webhook"}
	if err := s.admin.List(s.Context(), &pods, client.InNamespace(operator.Namespace), of); err != nil {
		return err
	}
	if len(pods.Items) < 2 {
		return fmt.Errorf("there are %d pods", len(pods.Items))
	}
	for i := range pods.Items {
		if err := presents(s.Context(), pods.Items[i].Status.PodIP, certificate, ca); err != nil {
			return fmt.Errorf("pod %s: %w", pods.Items[i].Name, err)
		}
	}
	return nil
}

// trusts is nil if each webhook is called with this CA. cert-manager keeps those of before as well, until they have expired.
func (s *site) trusts(ca []byte) error {
	mutating := &admissionregistrationv1.MutatingWebhookConfiguration{}
	if err := s.admin.Get(s.Context(), client.ObjectKey{Name: "wayleave"}, mutating); err != nil {
		return err
	}
	validating := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err := s.admin.Get(s.Context(), client.ObjectKey{Name: "wayleave"}, validating); err != nil {
		return err
	}
	bundles := map[string][]byte{}
	for _, w := range mutating.Webhooks {
		bundles[w.Name] = w.ClientConfig.CABundle
	}
	for _, w := range validating.Webhooks {
		bundles[w.Name] = w.ClientConfig.CABundle
	}
	if len(bundles) != len(mutating.Webhooks)+len(validating.Webhooks) || len(mutating.Webhooks) == 0 || len(validating.Webhooks) == 0 {
		return fmt.Errorf("there are only the webhooks %v", bundles)
	}
	for name, bundle := range bundles {
		if len(ca) == 0 || !bytes.Contains(bundle, bytes.TrimSpace(ca)) {
			return fmt.Errorf("webhook %s has another CA", name)
		}
	}
	return nil
}

// presents is nil if the webhook at an address serves this certificate, and the CA vouches for it.
func presents(ctx context.Context, address string, certificate, ca []byte) error {
	roots, want := x509.NewCertPool(), x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) || !want.AppendCertsFromPEM(certificate) {
		return errors.New("the Secret has no certificates")
	}
	dialer := &tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: serverName, MinVersion: tls.VersionTLS12}}
	connection, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(address, "9443"))
	if err != nil {
		return err
	}
	defer connection.Close()
	got := x509.NewCertPool()
	for _, c := range connection.(*tls.Conn).ConnectionState().PeerCertificates {
		got.AddCert(c)
	}
	if !got.Equal(want) {
		return errors.New("it serves another certificate")
	}
	return nil
}

// nothingLeft: no webhook configuration, no policy, no account, no Deployment and nothing for cert-manager is there.
func (s *site) nothingLeft() {
	s.Helper()
	for _, kinds := range []string{
		"deployments,serviceaccounts,secrets,certificates,issuers,certificaterequests",
		"validatingadmissionpolicies,validatingwebhookconfigurations,mutatingwebhookconfigurations",
	} {
		s.eventually("nothing left of "+kinds, func() error {
			left, err := s.kubectl("get", kinds, "-n", operator.Namespace, "-o", "name")
			left = strings.TrimSpace(strings.ReplaceAll(left, "serviceaccount/default\n", ""))
			if err == nil && left != "" {
				err = fmt.Errorf("there is %s", strings.ReplaceAll(left, "\n", ", "))
			}
			return err
		})
	}
}
