//go:build unix

package main

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// pathAllow is the URL path of the webhook that always allows.
const pathAllow = "/allow"

// serveAllow is the floor of admission: a process with the server, the certificate and the libraries of Wayleave's
// webhook, which always allows. The bench starts itself again for it.
func serveAllow(ctx context.Context, certDir string, port int) error {
	server := webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: port, CertDir: certDir})
	server.Register(pathAllow, &webhook.Admission{Handler: admission.HandlerFunc(
		func(context.Context, admission.Request) admission.Response { return admission.Allowed("") })})
	if err := server.Start(ctx); err != nil {
		return fmt.Errorf("serving the webhook that always allows: %w", err)
	}
	return nil
}
