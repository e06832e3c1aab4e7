package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
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
	// told keeps a replica that is not ready from saying so at each probe.
	told sync.Once
}

// Start serves once there is a valid certificate.
func (s *patientServer) Start(ctx context.Context) error {
	wrong := s.unusable()
	_ = wait.PollUntilContextTimeout(ctx, min(s.patience, time.Second), s.patience, true, func(context.Context) (bool, error) {
		wrong = s.unusable()
		return wrong == nil, nil
	}) // what is wrong says whether it failed
	switch {
	case wrong == nil:
		return s.Server.Start(ctx)
	case ctx.Err() == nil:
		return fmt.Errorf("waiting %s for the serving certificate: %w", s.patience, wrong)
	}
	return nil // the process ends
}

// NeedLeaderElection says that every replica serves.
func (s *patientServer) NeedLeaderElection() bool { return false }

// isValid is a readiness check: the API server calls nobody whose certificate has expired. What is wrong is logged, since /readyz keeps
// it to itself.
func (s *patientServer) isValid(*http.Request) error {
	err := s.unusable()
	if err != nil {
		s.told.Do(func() { ctrl.Log.Error(err, "not ready") })
	}
	return err
}

// unusable says why nobody can be served with the certificate that is there; nil if one is.
func (s *patientServer) unusable() error {
	pair, err := tls.LoadX509KeyPair(filepath.Join(s.certDir, "tls.crt"), filepath.Join(s.certDir, "tls.key"))
	if err != nil {
		return fmt.Errorf("reading the serving certificate in %s: %w", s.certDir, err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return fmt.Errorf("reading the serving certificate in %s: %w", s.certDir, err)
	}
	switch now := time.Now(); {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("the serving certificate in %s has expired at %s: renew it, or let wayleave certs do so",
			s.certDir, leaf.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("the serving certificate in %s is valid from %s on: check the clock of the node", s.certDir,
			leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}
