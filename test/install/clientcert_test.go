//go:build unix

package install

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/test/operator"
)

// presents writes what docs/install.md says with which the API server presents a client certificate to the webhook. It returns the
// flag of the API server, and the CA.
func presents(t *testing.T) (flag string, ca []byte) {
	t.Helper()
	dir := t.TempDir()
	ca, certificate, key := certificate(t, "kube-apiserver", x509.ExtKeyUsageClientAuth)
	user := clientcmdapi.AuthInfo{ClientCertificateData: certificate, ClientKeyData: key}
	kubeconfig := filepath.Join(dir, "webhooks.kubeconfig")
	if err := clientcmd.WriteToFile(clientcmdapi.Config{
		AuthInfos: map[string]*clientcmdapi.AuthInfo{"wayleave-webhook.wayleave-system.svc": &user},
	}, kubeconfig); err != nil {
		t.Fatal(err)
	}
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n"
	for _, plugin := range []string{"MutatingAdmissionWebhook", "ValidatingAdmissionWebhook"} {
		text += fmt.Sprintf("- name: %s\n  configuration:\n    apiVersion: apiserver.config.k8s.io/v1\n"+
			"    kind: WebhookAdmissionConfiguration\n    kubeConfigFile: %s\n", plugin, kubeconfig)
	}
	file := filepath.Join(dir, "admission.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return "--admission-control-config-file=" + file, ca
}

// certificate makes a CA, and a certificate that it signs.
func certificate(t *testing.T, name string, usage x509.ExtKeyUsage) (ca, certificate, key []byte) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	template := func(name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		}
	}
	root, leaf := template("CA of "+name), template(name)
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	leaf.KeyUsage, leaf.ExtKeyUsage, leaf.DNSNames = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{usage}, []string{name}
	rootKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	leafKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	rootDER, err := x509.CreateCertificate(rand.Reader, root, root, rootKey.Public(), rootKey)
	must(err)
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, root, leafKey.Public(), rootKey)
	must(err)
	keyDER, err := x509.MarshalECPrivateKey(leafKey)
	must(err)
	encode := func(kind string, der []byte) []byte { return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}) }
	return encode("CERTIFICATE", rootDER), encode("CERTIFICATE", leafDER), encode("EC PRIVATE KEY", keyDER)
}

// frontSecret is the Secret with the CA of the API server's client certificate.
func (s *site) frontSecret() {
	s.Helper()
	s.must(s.admin.Create(s.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: "front"}, Data: map[string][]byte{"ca.crt": s.frontCA},
	}))
}

// givenSecret makes a certificate of the webhook as a team of its own PKI would, and returns a file with its CA.
func (s *site) givenSecret() string {
	s.Helper()
	ca, certificate, key := certificate(s.T, "wayleave-webhook.wayleave-system.svc", x509.ExtKeyUsageServerAuth)
	s.must(s.admin.Create(s.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: "given"}, Type: corev1.SecretTypeTLS,
		Data: map[string][]byte{corev1.TLSCertKey: certificate, corev1.TLSPrivateKeyKey: key},
	}))
	file := filepath.Join(s.TempDir(), "ca.crt")
	s.must(os.WriteFile(file, ca, 0o600))
	return file
}

// hasNoCerts: with a given certificate, nothing of Wayleave may write webhook configurations or that Secret.
func (s *site) hasNoCerts() {
	s.Helper()
	err := s.admin.Get(s.Context(), client.ObjectKey{Namespace: operator.Namespace, Name: "wayleave-certs"}, &corev1.ServiceAccount{})
	if !apierrors.IsNotFound(err) {
		s.Errorf("the account of wayleave certs: %v", err)
	}
}

// answersTheAPIServerAlone: the webhook ends a connection without a client certificate.
func (s *site) answersTheAPIServerAlone() {
	s.Helper()
	anonymous := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // it is the caller that is in question here
	}}
	var pods corev1.PodList
	s.must(s.admin.List(s.Context(), &pods, client.InNamespace(operator.Namespace),
		client.MatchingLabels{"app.kubernetes.io/component": "webhook"}))
	pods.Items = slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool { return pod.DeletionTimestamp != nil }) // of before
	if len(pods.Items) == 0 {
		s.Fatal("there is no webhook")
	}
	for _, pod := range pods.Items {
		request, err := http.NewRequestWithContext(s.Context(), http.MethodPost,
			fmt.Sprintf("https://%s:9443/validate-workload", pod.Status.PodIP), http.NoBody)
		s.must(err)
		response, err := anonymous.Do(request)
		if err == nil {
			s.Errorf("the webhook answers anybody, with %s", response.Status)
			_ = response.Body.Close()
		} else if !strings.Contains(err.Error(), "certificate required") {
			s.Errorf("the webhook does not ask for a certificate: %v", err)
		}
	}
}
