package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/webhooks"
)

type webhookOptions struct {
	common
	host     string
	port     int
	certDir  string
	clientCA string
	strict   bool
}

func webhookCommand() *cobra.Command {
	var o webhookOptions
	cmd := &cobra.Command{
		Use:   "webhook",
		Short: "Answer the API server's admission requests",
		Long: `Answers the API server when a user writes a path, a hop, or a workload that declares a hop: it
stamps origin and author, admits or denies, and gives each pod its hop's account. It writes nothing to the
cluster, and any number of replicas may run.`,
		Args:    cobra.NoArgs,
		PreRunE: func(*cobra.Command, []string) error { return o.validate() },
		RunE:    func(cmd *cobra.Command, _ []string) error { return o.run(ctrl.SetupSignalHandler(), cmd.Flags()) },
	}
	flags := cmd.Flags()
	o.bind(flags)
	o.bindFrozen(flags)
	o.bindExclusive(flags)
	o.bindOrigins(flags)
	o.bindEnforce(flags)
	flags.StringVar(&o.host, "host", "", "address to listen on; empty means all")
	flags.IntVar(&o.port, "port", 9443, "port to listen on")
	flags.StringVar(&o.certDir, "cert-dir", "/certs", "folder with tls.crt and tls.key; they are read again when they change")
	flags.BoolVar(
		&o.strict, "strict-admission", false,
		"deny also what the state of another object makes wrong, such as a hop that is wider than its path is now; "+
			"tools for GitOps then cannot change both in one commit",
	)
	flags.StringVar(
		&o.clientCA, "client-ca-file", "",
		"file with the certificates that sign the API server's client certificate; empty means that callers are not asked for one",
	)
	return cmd
}

func (o *webhookOptions) validate() error {
	if o.port < 1 || o.port > 65535 {
		return fmt.Errorf("--port is %d: name one from 1 to 65535", o.port)
	}
	return o.common.validate()
}

func (o *webhookOptions) run(ctx context.Context, flags *pflag.FlagSet) error {
	cfg, err := config(flags)
	if err != nil {
		return err
	}
	if err := reach(ctx, cfg, kindsPatience); err != nil {
		return err
	}
	if err := sameKinds(ctx, cfg, kindsPatience); err != nil {
		return err
	}
	clientCA, err := o.clientCAName()
	if err != nil {
		return err
	}
	server := &patientServer{
		Server:  webhook.NewServer(webhook.Options{Host: o.host, Port: o.port, CertDir: o.certDir, ClientCAName: clientCA}),
		certDir: o.certDir, patience: certificatePatience,
	}
	mgr, err := ctrl.NewManager(cfg, o.manager(server))
	if err != nil {
		return fmt.Errorf("setting up the webhook: %w", err)
	}
	gather, err := o.gatherer(mgr)
	if err != nil {
		return err
	}
	if err := webhooks.Setup(ctx, mgr, webhooks.Options{
		Gather: gather, Audit: audit.New(os.Stdout), Strict: o.strict, ReportOnly: o.reportOnly(),
		Registry: ctrlmetrics.Registry,
	}); err != nil {
		return err
	}
	if err := warm(ctx, mgr); err != nil {
		return err
	}
	if err := addChecks(mgr, map[string]healthz.Checker{"webhook": server.StartedChecker(), "certificate": server.isValid}); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// manager are the options of the manager.
func (o *webhookOptions) manager(server webhook.Server) ctrl.Options {
	return ctrl.Options{
		Scheme: newScheme(),
		Cache: cache.Options{
			DefaultTransform: cache.TransformStripManagedFields(),
			ByObject:         map[client.Object]cache.ByObject{&corev1.ConfigMap{}: facts.FreezeCache(o.namespace)},
		},
		Metrics:                o.metrics(),
		HealthProbeBindAddress: o.healthAddress,
		WebhookServer:          server,
	}
}

// clientCAName is --client-ca-file as controller-runtime takes it, by its way from --cert-dir.
func (o *webhookOptions) clientCAName() (string, error) {
	if o.clientCA == "" {
		return "", nil
	}
	dir, err := filepath.Abs(o.certDir)
	if err != nil {
		return "", fmt.Errorf("reading --cert-dir: %w", err)
	}
	file, err := filepath.Abs(o.clientCA)
	if err != nil {
		return "", fmt.Errorf("reading --client-ca-file: %w", err)
	}
	return filepath.Rel(dir, file)
}

// warm has the informers filled before the first request instead of by it.
func warm(ctx context.Context, mgr ctrl.Manager) error {
	for _, o := range []client.Object{
		&v1alpha1.DelegationPath{}, &v1alpha1.DelegationHop{}, &v1alpha1.DelegationApproval{},
		&corev1.ConfigMap{}, &rbacv1.Role{}, &rbacv1.RoleBinding{}, &rbacv1.ClusterRole{}, &rbacv1.ClusterRoleBinding{},
	} {
		if _, err := mgr.GetCache().GetInformer(ctx, o, cache.BlockUntilSynced(false)); err != nil {
			return fmt.Errorf("setting up the informer of %T: %w", o, err)
		}
	}
	return nil
}
