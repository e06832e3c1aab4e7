package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// patientServer is a webhook server that waits for its certificate: at the installation the Secret that holds it is mounted empty,
// and filled by another process. Until then /readyz says so, and nothing restarts.
type patientServer struct {
	webhook.Server
	certDir string
}

const (
	certificatePoll = time.Second
	// certificateTell is how often the log says what is waited for.
	certificateTell = 30 * time.Second
)

// Start serves once the certificate is there.
func (s patientServer) Start(ctx context.Context) error {
	var told time.Time
	err := wait.PollUntilContextCancel(ctx, certificatePoll, true, func(ctx context.Context) (bool, error) {
		err := s.hasCertificate()
		if errors.Is(err, fs.ErrNotExist) {
			if now := time.Now(); now.Sub(told) >= certificateTell {
				ctrl.LoggerFrom(ctx).Info("waiting for the serving certificate", "cause", err.Error())
				told = now
			}
			return false, nil
		}
		return err == nil, err
	})
	if ctx.Err() != nil { // the process ends
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading the serving certificate: %w", err)
	}
	return s.Server.Start(ctx)
}

// NeedLeaderElection says that every replica serves.
func (s patientServer) NeedLeaderElection() bool { return false }

func (s patientServer) hasCertificate() error {
	for _, name := range []string{"tls.crt", "tls.key"} {
		if _, err := os.Stat(filepath.Join(s.certDir, name)); err != nil {
			return err
		}
	}
	return nil
}
