package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

type certsOptions struct {
	common
	certDir  string
	secret   string
	service  string
	dnsNames []string
	configs  string
}

func certsCommand() *cobra.Command {
	var o certsOptions
	cmd := &cobra.Command{
		Use:   "certs",
		Short: "Make and rotate the webhook's serving certificate",
		Long: `Makes the serving certificate of the webhook, keeps it in one Secret, writes its CA into the two
webhook configurations, and replaces both in time. It is a process of its own so that neither the
webhook nor the controller may write webhook configurations.`,
		Args:    cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error { return o.validate() },
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(ctrl.SetupSignalHandler(), cmd.Flags()) },
	}
	flags := cmd.Flags()
	o.bind(flags)
	flags.StringVar(&o.certDir, "cert-dir", "/certs", "folder in which the Secret is mounted")
	flags.StringVar(
		&o.secret, "secret", "wayleave-webhook-cert",
		"Secret in --namespace that holds the certificate; it must exist, and may be empty",
	)
	flags.StringVar(&o.service, "service", "wayleave-webhook", "Service in --namespace that the API server calls")
	flags.StringSliceVar(&o.dnsNames, "dns-name", nil, "more names for the certificate")
	flags.StringVar(&o.configs, "webhook-configuration", "wayleave", "name of the mutating and of the validating webhook configuration")
	return cmd
}

func (o *certsOptions) run(ctx context.Context, flags *pflag.FlagSet) error {
	cfg, err := config(flags)
	if err != nil {
		return err
	}
	if err := reach(ctx, cfg, 0); err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:                 newScheme(),
		Metrics:                o.metrics(),
		HealthProbeBindAddress: o.healthAddress,
	})
	if err != nil {
		return fmt.Errorf("setting up the certificate rotation: %w", err)
	}
	ready := make(chan struct{})
	if err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error { return o.untilReady(ctx, ready) })); err != nil {
		return fmt.Errorf("setting up the certificate rotation: %w", err)
	}
	if err := rotator.AddRotator(mgr, &rotator.CertRotator{
		SecretKey:      types.NamespacedName{Namespace: o.namespace, Name: o.secret},
		CertDir:        o.certDir,
		CAName:         "wayleave-ca",
		CAOrganization: "wayleave",
		DNSName:        fmt.Sprintf("%s.%s.svc", o.service, o.namespace),
		ExtraDNSNames:  o.dnsNames,
		IsReady:        ready,
		FieldOwner:     "wayleave-certs",
		Webhooks: []rotator.WebhookInfo{
			{Type: rotator.Mutating, Name: o.configs},
			{Type: rotator.Validating, Name: o.configs},
		},
	}); err != nil {
		return fmt.Errorf("setting up the certificate rotation: %w", err)
	}
	if err := addChecks(mgr, map[string]healthz.Checker{"certificate": o.checker(ready)}); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

func (o *certsOptions) checker(ready <-chan struct{}) healthz.Checker {
	return func(*http.Request) error {
		select {
		case <-ready:
			return nil
		default:
			return o.notReady()
		}
	}
}

func (o *certsOptions) notReady() error {
	return fmt.Errorf("the certificate is not in %s, or its CA not in the webhook configurations %q", o.certDir, o.configs)
}

// untilReady fails if the certificate that is in the Secret by now was not mounted meanwhile.
func (o *certsOptions) untilReady(ctx context.Context, ready <-chan struct{}) error {
	select {
	case <-ready:
		<-ctx.Done()
		return nil
	case <-ctx.Done():
		return nil
	case <-time.After(certificatePatience + 5*time.Second): // it makes the certificate first
		return o.notReady()
	}
}
