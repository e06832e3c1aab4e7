package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// started is a server that says when it starts.
type started struct {
	webhook.Server
	at chan time.Time
}

func (s started) Start(context.Context) error {
	s.at <- time.Now()
	return nil
}

// certificate is a certificate that ends so much later, and its key, by the names of their files.
func certificate(t *testing.T, end time.Duration) map[string][]byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(end)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return map[string][]byte{
		"tls.crt": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"tls.key": pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER}),
	}
}

func write(t *testing.T, dir, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestServerWaitsForItsCertificate: it neither serves nor fails until both files are there.
func TestServerWaitsForItsCertificate(t *testing.T) {
	dir, inner := t.TempDir(), started{at: make(chan time.Time, 1)}
	ended := make(chan error, 1)
	go func() {
		ended <- (&patientServer{Server: inner, certDir: dir, patience: time.Minute}).Start(t.Context())
	}()
	files := certificate(t, time.Hour)
	write(t, dir, "tls.crt", files["tls.crt"])
	last := time.Now()
	write(t, dir, "tls.key", files["tls.key"])
	if at := <-inner.at; at.Before(last) {
		t.Error("it started without its certificate")
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestServerEndsWithoutItsCertificate: a process that is asked to end while it waits does.
func TestServerEndsWithoutItsCertificate(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (&patientServer{Server: started{}, certDir: t.TempDir(), patience: time.Minute}).Start(ctx); err != nil {
		t.Error(err)
	}
}

// TestUnusableCertificate: with one a process does not start, a replica is not ready, and both say what is wrong.
func TestUnusableCertificate(t *testing.T) {
	valid, other, expired := certificate(t, time.Hour), certificate(t, time.Hour), certificate(t, -time.Hour)
	for name, test := range map[string]struct {
		files map[string][]byte
		want  string
	}{
		"there is none":           {want: "tls.crt: no such file"},
		"it has no key":           {files: map[string][]byte{"tls.crt": valid["tls.crt"]}, want: "tls.key: no such file"},
		"it has the key of other": {files: map[string][]byte{"tls.crt": valid["tls.crt"], "tls.key": other["tls.key"]}, want: "private key"},
		"it is no certificate":    {files: map[string][]byte{"tls.crt": {}, "tls.key": valid["tls.key"]}, want: "reading the serving"},
		"it has expired":          {files: expired, want: "has expired at"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for name, content := range test.files {
				write(t, dir, name, content)
			}
			s := &patientServer{Server: started{}, certDir: dir, patience: time.Millisecond}
			expect(t, s.isValid(nil), test.want)
			expect(t, s.Start(t.Context()), test.want)
		})
	}
	dir := t.TempDir()
	for name, content := range valid {
		write(t, dir, name, content)
	}
	expect(t, (&patientServer{certDir: dir}).isValid(nil), "")
}

// TestClientCAName: controller-runtime takes the file by its way from the folder of the certificate.
func TestClientCAName(t *testing.T) {
	for file, want := range map[string]string{"": "", "/certs/ca.crt": "ca.crt", "/client-ca/ca.crt": "../client-ca/ca.crt"} {
		o := webhookOptions{certDir: "/certs", clientCA: file}
		if got, err := o.clientCAName(); err != nil || got != want {
			t.Errorf("%q is %q, want %q (%v)", file, got, want, err)
		}
	}
}
