//go:build unix

package e2e

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/test/operator"
)

// TestCertificateRotation: a certificate that is about to expire is replaced, with its CA in the webhook configurations, and
// the running webhook serves the new one; a valid one that somebody else put there stays. It replaces the certificate of the
// webhook that the tests share, and therefore runs alone.
func TestCertificateRotation(t *testing.T) {
	f := setup(t)
	given := issue(t, 365*24*time.Hour)
	f.putCertificate(given)
	f.serves("the certificate that was put there", given["tls.crt"], given["ca.crt"])

	expiring := issue(t, time.Hour)
	f.putCertificate(expiring)
	var secret corev1.Secret
	f.eventually("another certificate in the Secret", func() error {
		if err := suite.admin.Get(t.Context(), certificateKey, &secret); err != nil {
			return err
		}
		for _, name := range []string{"tls.crt", "ca.crt"} {
			if bytes.Equal(secret.Data[name], expiring[name]) {
				return fmt.Errorf("%s is the one that expires", name)
			}
		}
		return nil
	})
	f.serves("the new certificate", secret.Data["tls.crt"], secret.Data["ca.crt"])
	served, err := x509.ParseCertificate(der(t, secret.Data["tls.crt"]))
	if err != nil {
		t.Fatal(err)
	}
	if life := time.Until(served.NotAfter); life < 300*24*time.Hour {
		t.Errorf("the new certificate is valid for %s", life)
	}
}

var certificateKey = client.ObjectKey{Namespace: operator.Namespace, Name: "wayleave-webhook-cert"}

func (f *fixture) putCertificate(data map[string][]byte) {
	f.Helper()
	f.eventually("the Secret to be written", func() error {
		var secret corev1.Secret
		if err := suite.admin.Get(f.Context(), certificateKey, &secret); err != nil {
			return err
		}
		secret.Data = data
		return suite.admin.Update(f.Context(), &secret)
	})
}

// serves waits until the webhook serves a certificate, every webhook is called with its CA, and the API server is answered.
func (f *fixture) serves(what string, cert, ca []byte) {
	f.Helper()
	f.eventually("the webhook to serve "+what, func() error {
		configs, err := f.clientConfigs()
		if err != nil {
			return err
		}
		addresses := sets.New[string]()
		for _, config := range configs {
			if !bytes.Equal(config.CABundle, ca) {
				return fmt.Errorf("a webhook is called with another CA")
			}
			at, err := url.Parse(*config.URL)
			if err != nil {
				return err
			}
			addresses.Insert(at.Host)
		}
		for address := range addresses {
			got, err := servedAt(address)
			if err != nil {
				return err
			}
			if !bytes.Equal(got, der(f.T, cert)) {
				return fmt.Errorf("another certificate is served")
			}
		}
		return f.creates(f.by, f.path("probe"))
	})
}

func (f *fixture) clientConfigs() ([]admissionregistrationv1.WebhookClientConfig, error) {
	var mutating admissionregistrationv1.MutatingWebhookConfiguration
	var validating admissionregistrationv1.ValidatingWebhookConfiguration
	for _, o := range []client.Object{&mutating, &validating} {
		if err := suite.admin.Get(f.Context(), client.ObjectKey{Name: "wayleave"}, o); err != nil {
			return nil, err
		}
	}
	var configs []admissionregistrationv1.WebhookClientConfig
	for i := range mutating.Webhooks {
		configs = append(configs, mutating.Webhooks[i].ClientConfig)
	}
	for i := range validating.Webhooks {
		configs = append(configs, validating.Webhooks[i].ClientConfig)
	}
	return configs, nil
}

// servedAt is the certificate that a server shows, in DER.
func servedAt(address string) ([]byte, error) {
	conn, err := tls.Dial("tcp", address, &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Raw, nil
}

// issue makes a CA and a serving certificate of the webhook that expire after a while, as the Secret has them.
func issue(t *testing.T, life time.Duration) map[string][]byte {
	t.Helper()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "wayleave-ca", Organization: []string{"wayleave"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life), IsCA: true, BasicConstraintsValid: true,
		DNSNames: []string{"wayleave-ca"}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano() + 1), Subject: pkix.Name{CommonName: "wayleave-webhook"},
		NotBefore: ca.NotBefore, NotAfter: ca.NotAfter, BasicConstraintsValid: true,
		DNSNames:    []string{"wayleave-webhook.wayleave-system.svc", "localhost"},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	caKey, leafKey := newKey(t), newKey(t)
	return map[string][]byte{
		"ca.crt": sign(t, ca, ca, caKey, caKey), "ca.key": keyPEM(caKey),
		"tls.crt": sign(t, leaf, ca, leafKey, caKey), "tls.key": keyPEM(leafKey),
	}
}

func newKey(t *testing.T) *rsa.PrivateKey {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func sign(t *testing.T, cert, by *x509.Certificate, key, signer *rsa.PrivateKey) []byte {
	t.Helper()
	raw, err := x509.CreateCertificate(rand.Reader, cert, by, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw})
}

func keyPEM(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

func der(t *testing.T, cert []byte) []byte {
	t.Helper()
	block, _ := pem.Decode(cert)
	if block == nil {
		t.Fatal("no certificate")
	}
	return block.Bytes
}
