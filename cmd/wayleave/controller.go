package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/wayleave/wayleave/config/policy"
	"github.com/wayleave/wayleave/controllers"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/floor"
	"github.com/wayleave/wayleave/internal/grants"
)

type controllerOptions struct {
	common
	election    election
	server      string
	caFile      string
	maxFactAge  time.Duration
	recheck     time.Duration
	sweepEvery  time.Duration
	concurrency int
	floor       bool
}

func controllerCommand() *cobra.Command {
	var o controllerOptions
	cmd := &cobra.Command{
		Use:   "controller",
		Short: "Give each valid hop its identity and rights, and withdraw them",
		Long: `Gives each valid hop its ServiceAccount, its rights and, where it asks, its token; withdraws all of that when
the hop or anything above it is revoked, expires, no longer fits or is deleted; and writes status and Events. Several
replicas may run, of which one works; the others withdraw what was revoked or has expired if it does not.`,
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
	o.election.bind(flags)
	flags.StringVar(&o.server, "api-server", "",
		"URL of the API server in the kubeconfigs of token Secrets (default: the one that this process uses)")
	flags.StringVar(&o.caFile, "api-server-ca-file", "",
		"PEM file with the certificates that sign --api-server's (default: those that this process trusts)")
	flags.DurationVar(&o.maxFactAge, "max-fact-age", 10*time.Minute, "how long a grant stays in effect while a fact that "+
		"decides cannot be determined")
	flags.DurationVar(&o.recheck, "recheck-interval", 10*time.Minute, "how often to ask again what every path and hop rests on, although "+
		"no RBAC object has changed: other authorizers of the API server tell nobody when they change their mind")
	flags.DurationVar(&o.sweepEvery, "sweep-interval", 10*time.Minute, "how often to look for grants whose hop no longer exists")
	flags.IntVar(&o.concurrency, "concurrency", 16, "how many hops to reconcile at the same time")
	flags.BoolVar(&o.floor, "require-floor", true, "grant nothing new, and be not ready, while one of the policies of this release is "+
		"missing, not bound or changed. They hold also while Wayleave is down. Turn it off for a start without them")
	return cmd
}

func (o *controllerOptions) validate() error {
	if o.maxFactAge <= 0 {
		return fmt.Errorf("--max-fact-age is %s: it must be longer than zero", o.maxFactAge)
	}
	if o.recheck <= 0 {
		return fmt.Errorf("--recheck-interval is %s: it must be longer than zero", o.recheck)
	}
	if o.sweepEvery <= 0 {
		return fmt.Errorf("--sweep-interval is %s: it must be longer than zero", o.sweepEvery)
	}
	if o.concurrency < 1 {
		return fmt.Errorf("--concurrency is %d: it must be at least 1", o.concurrency)
	}
	if o.server != "" {
		if u, err := url.Parse(o.server); err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http") {
			return fmt.Errorf("--api-server is %q: give a URL, such as https://api.example.com:6443", o.server)
		}
	}
	if err := o.election.validate(); err != nil {
		return err
	}
	return o.common.validate()
}

func (o *controllerOptions) run(ctx context.Context, flags *pflag.FlagSet) error {
	cfg, err := config(flags)
	if err != nil {
		return err
	}
	kubeconfig, err := o.kubeconfig(cfg)
	if err != nil {
		return err
	}
	if err := reach(ctx, cfg, kindsPatience); err != nil {
		return err
	}
	if err := sameKinds(ctx, cfg, kindsPatience); err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(cfg, o.manager())
	if err != nil {
		return fmt.Errorf("setting up the controller: %w", err)
	}
	watch, err := o.floorWatch(mgr)
	if err != nil {
		return err
	}
	gather, err := o.gatherer(mgr)
	if err != nil {
		return err
	}
	if err := controllers.Setup(ctx, mgr, controllers.Options{
		Gather: gather, Audit: audit.New(os.Stdout), Kubeconfig: kubeconfig,
		MaxFactAge: o.maxFactAge, RecheckEvery: o.recheck, SweepEvery: o.sweepEvery, Concurrency: o.concurrency,
		ReportOnly: o.reportOnly(), Registry: ctrlmetrics.Registry, Floor: watch,
	}); err != nil {
		return err
	}
	if err := addChecks(mgr, floorChecks(watch)); err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// manager are the options of the manager.
func (o *controllerOptions) manager() ctrl.Options {
	return ctrl.Options{
		Scheme:                        newScheme(),
		Cache:                         controllers.CacheOptions(o.namespace, o.reportOnly()),
		Metrics:                       o.metrics(),
		HealthProbeBindAddress:        o.healthAddress,
		LeaderElection:                o.election.on,
		LeaseDuration:                 &o.election.leaseDuration,
		RenewDeadline:                 &o.election.renewDeadline,
		RetryPeriod:                   &o.election.retryPeriod,
		LeaderElectionID:              "wayleave-controller",
		LeaderElectionNamespace:       o.namespace,
		LeaderElectionReleaseOnCancel: true,
	}
}

// floorWatch watches for the policies that this program has; nil where none is required.
func (o *controllerOptions) floorWatch(mgr ctrl.Manager) (*controllers.FloorWatch, error) {
	if !o.floor {
		return nil, nil //nolint:nilnil // nil is the answer "none is required"
	}
	required, err := floor.Load(policy.Files, o.user(), o.reportOnly())
	if err != nil {
		return nil, err
	}
	return controllers.NewFloorWatch(required, mgr.GetCache()), nil
}

// floorChecks are readiness checks named after the policies, since /readyz says the names of what fails and keeps the rest to itself.
func floorChecks(watch *controllers.FloorWatch) map[string]healthz.Checker {
	checks := map[string]healthz.Checker{}
	for _, name := range watch.Names() {
		checks[name] = func(r *http.Request) error {
			if gap := watch.Gap(r.Context(), name); gap != "" {
				return fmt.Errorf("policy %s %s", name, gap)
			}
			return nil
		}
	}
	return checks
}

func (o *controllerOptions) kubeconfig(cfg *rest.Config) (grants.Kubeconfig, error) {
	k := grants.Kubeconfig{Server: o.server, CA: cfg.CAData}
	if k.Server == "" {
		k.Server = cfg.Host
	}
	file := o.caFile
	if file == "" && len(k.CA) == 0 {
		file = cfg.CAFile
	}
	if file == "" {
		if len(k.CA) == 0 {
			return k, errors.New("the CA of the API server is not known: the kubeconfig has no certificate-authority; set --api-server-ca-file")
		}
		return k, nil
	}
	ca, err := os.ReadFile(file) //nolint:gosec // the operator's own flag names the file
	if err != nil {
		return k, fmt.Errorf("reading the certificates that sign the API server's: %w", err)
	}
	k.CA = ca
	return k, nil
}
