package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// certificatePatience is how long a process waits for the certificate that another one puts into a Secret. Then it ends: the kubelet
// looks at once for what is in the Secret when it starts a container again, and else a minute later.
const certificatePatience = 10 * time.Second

// patientServer is a webhook server that waits for its certificate: at the installation the Secret that holds it is mounted empty.
type patientServer struct {
	webhook.Server
	certDir  string
	patience time.Duration
}

// Start serves once the certificate is there.
func (s patientServer) Start(ctx context.Context) error {
	missing := s.missing()
	_ = wait.PollUntilContextTimeout(ctx, min(s.patience, time.Second), s.patience, true, func(context.Context) (bool, error) {
		missing = s.missing()
		return missing == nil, nil
	}) // what is missing says whether it failed
	switch {
	case missing == nil:
		return s.Server.Start(ctx)
	case ctx.Err() == nil:
		return fmt.Errorf("waiting %s for the serving certificate: %w", s.patience, missing)
	}
	return nil // the process ends
}

// NeedLeaderElection says that every replica serves.
func (s patientServer) NeedLeaderElection() bool { return false }

// isValid is a readiness check: the API server calls nobody whose certificate has expired.
func (s patientServer) isValid(*http.Request) error {
	raw, err := os.ReadFile(filepath.Join(s.certDir, "tls.crt"))
	if err != nil {
		return fmt.Errorf("reading the serving certificate: %w", err)
	}
	certificates, err := cert.ParseCertsPEM(raw)
	if err != nil {
		return fmt.Errorf("reading the serving certificate in %s: %w", s.certDir, err)
	}
	if end := certificates[0].NotAfter; time.Now().After(end) {
		return fmt.Errorf("the serving certificate in %s has expired at %s: renew it, or let wayleave certs do so",
			s.certDir, end.UTC().Format(time.RFC3339))
	}
	return nil
}

func (s patientServer) missing() error {
	for _, name := range []string{"tls.crt", "tls.key"} {
		if _, err := os.Stat(filepath.Join(s.certDir, name)); err != nil {
			return err
		}
	}
	return nil
}
