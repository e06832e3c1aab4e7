package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
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

// TestServerWaitsForItsCertificate: it neither serves nor fails until both files are there.
func TestServerWaitsForItsCertificate(t *testing.T) {
	dir, inner := t.TempDir(), started{at: make(chan time.Time, 1)}
	ended := make(chan error, 1)
	go func() { ended <- patientServer{Server: inner, certDir: dir, patience: time.Minute}.Start(t.Context()) }()
	var last time.Time
	for _, name := range []string{"tls.crt", "tls.key"} {
		last = time.Now()
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
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
	if err := (patientServer{Server: started{}, certDir: t.TempDir(), patience: time.Minute}).Start(ctx); err != nil {
		t.Error(err)
	}
}

// TestServerGivesUp: it says which file is missing.
func TestServerGivesUp(t *testing.T) {
	err := patientServer{Server: started{}, certDir: t.TempDir(), patience: time.Millisecond}.Start(t.Context())
	if err == nil || !strings.Contains(err.Error(), "tls.crt") {
		t.Errorf("it ends with %v", err)
	}
}

// TestExpiredCertificate: a replica with one is not ready, and says until when it was valid.
func TestExpiredCertificate(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		end  time.Duration
		want string
	}{
		"it is valid":    {end: time.Hour},
		"it has expired": {end: -time.Hour, want: "has expired at"},
	} {
		t.Run(name, func(t *testing.T) {
			about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(test.end)}
			der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			raw := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
			if err := os.WriteFile(filepath.Join(dir, "tls.crt"), raw, 0o600); err != nil {
				t.Fatal(err)
			}
			expect(t, patientServer{certDir: dir}.isValid(nil), test.want)
		})
	}
	expect(t, patientServer{certDir: t.TempDir()}.isValid(nil), "reading the serving certificate")
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
