package main

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"time"

	"github.com/spf13/pflag"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/rbac"
	"github.com/wayleave/wayleave/internal/scope"
)

// common are the options of every process.
type common struct {
	namespace      string
	controllerUser string
	frozen         bool
	exclusive      string
	userLifetime   time.Duration
	refuseAll      bool
	credential     string
	enforces       bool // it has the flag --enforce
	enforce        string
	metricsAddress string
	metricsSecure  bool
	healthAddress  string
}

func (c *common) bind(flags *pflag.FlagSet) {
	flags.StringVar(&c.namespace, "namespace", scope.DefaultOperatorNamespace, "namespace that Wayleave runs in")
	flags.StringVar(
		&c.controllerUser, "controller-user", "",
		"user name under which the controller grants (default: ServiceAccount wayleave-controller of --namespace)",
	)
	flags.StringVar(&c.metricsAddress, "metrics-bind-address", "0", "address of the metrics endpoint, such as :8443; 0 turns it off")
	flags.BoolVar(&c.metricsSecure, "metrics-secure", true,
		"serve metrics by HTTPS, and only to who may get /metrics; false serves them by HTTP to everybody who reaches the address")
	flags.StringVar(&c.healthAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz; 0 turns them off")
}

// bindFrozen is for the processes that judge.
func (c *common) bindFrozen(flags *pflag.FlagSet) {
	flags.BoolVar(&c.frozen, "frozen", false, "start with the whole cluster frozen: nothing new starts and every grant is withdrawn, "+
		"as with ConfigMap wayleave-freeze, until it runs without this flag. For a restore; set it on controller and webhook")
}

// The values of --exclusive.
const (
	exclusiveReport = "report"
	exclusiveStrict = "strict"
)

// bindExclusive is for the processes that judge hops.
func (c *common) bindExclusive(flags *pflag.FlagSet) {
	flags.StringVar(&c.exclusive, "exclusive", exclusiveReport, "what becomes of a hop to whose account somebody bound rights by a group "+
		"that all accounts of its namespace are in: report, which names them in its condition Exclusive, or strict, which withdraws it. "+
		"Rights that are bound to the account by name always do. Set it on controller and webhook")
}

// bindOrigins is for the processes that judge paths.
func (c *common) bindOrigins(flags *pflag.FlagSet) {
	flags.DurationVar(&c.userLifetime, "max-user-lifetime", 30*24*time.Hour, "how long a path lives at most whose origin is a user and no "+
		"ServiceAccount, counted from when it became active: whether a user still exists, and is still in their groups, nobody can be "+
		"asked. 0 lets it live as long as it says. Set it on controller and webhook")
	flags.BoolVar(&c.refuseAll, "refuse-unbounded-origin", false, "refuse paths whose origin may do everything (* on *), which bounds "+
		"nothing; by default the condition OriginAuthorized says so. Set it on controller and webhook")
	flags.StringVar(&c.credential, "approver-credential", credentialAny, "with what credential a path is approved: any, or require, which "+
		"lets no approval count that was given with a credential of which the API server knows no id. Set it on controller and webhook")
}

// The values of --approver-credential.
const (
	credentialAny     = "any"
	credentialRequire = "require"
)

// The values of --enforce.
const (
	enforceDeny = "deny"
	enforceWarn = "warn"
)

// bindEnforce is for the processes that refuse or end workloads.
func (c *common) bindEnforce(flags *pflag.FlagSet) {
	c.enforces = true
	flags.StringVar(&c.enforce, "enforce", enforceDeny, "what becomes of Jobs and Pods whose declared delegation is not valid: deny, "+
		"or warn, which lets them run as without Wayleave and only reports them, for the first days on a cluster. "+
		"Set it on controller and webhook")
}

func (c *common) reportOnly() bool { return c.enforce == enforceWarn }

// metrics say how the metrics are served. The certificate is made at the start and signed by itself.
func (c *common) metrics() metricsserver.Options {
	options := metricsserver.Options{BindAddress: c.metricsAddress, SecureServing: c.metricsSecure}
	if c.metricsSecure {
		options.FilterProvider = filters.WithAuthenticationAndAuthorization
	}
	return options
}

// user is the user name of the controller.
func (c *common) user() string {
	return cmp.Or(c.controllerUser, rbac.ServiceAccountUser(c.namespace, "wayleave-controller"))
}

func (c *common) gatherer(mgr ctrl.Manager) (*facts.Gatherer, error) {
	accounts, err := facts.NewAccounts(mgr)
	if err != nil {
		return nil, err
	}
	return &facts.Gatherer{
		Digests: facts.NewDigests(mgr.GetAPIReader()), RequireCredential: c.credential == credentialRequire,
		Accounts: accounts, MaxUserLifetime: c.userLifetime, RefuseUnbounded: c.refuseAll,
		Isolation: facts.NewIsolation(mgr.GetCache(), c.user()),
		Cache:     mgr.GetCache(), Live: mgr.GetAPIReader(), Access: mgr.GetClient(),
		Controller: c.user(), OperatorNamespace: c.namespace, Frozen: c.frozen,
		ExclusiveStrict: c.exclusive == exclusiveStrict,
	}, nil
}

// validate says which flag cannot be meant, before anything is connected to.
func (c *common) validate() error {
	if c.namespace == "" {
		return errors.New("--namespace is empty: name the namespace that Wayleave runs in")
	}
	if c.userLifetime < 0 {
		return fmt.Errorf("--max-user-lifetime is %s: it must not be negative; 0 means no limit", c.userLifetime)
	}
	if c.credential != "" && c.credential != credentialAny && c.credential != credentialRequire {
		return fmt.Errorf("--approver-credential is %q: use any or require", c.credential)
	}
	if c.exclusive != "" && c.exclusive != exclusiveReport && c.exclusive != exclusiveStrict {
		return fmt.Errorf("--exclusive is %q: use report or strict", c.exclusive)
	}
	if c.enforces && c.enforce != enforceDeny && c.enforce != enforceWarn {
		return fmt.Errorf("--enforce is %q: use deny or warn", c.enforce)
	}
	return nil
}

// errNotReady is what /readyz says while the caches are filling.
var errNotReady = errors.New("the caches are not filled yet")

// addChecks makes /readyz red until the caches are filled and all else that is named here holds.
func addChecks(mgr ctrl.Manager, more map[string]healthz.Checker) error {
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("adding a health check: %w", err)
	}
	checks := map[string]healthz.Checker{"caches": func(r *http.Request) error {
		if !mgr.GetCache().WaitForCacheSync(r.Context()) {
			return errNotReady
		}
		return nil
	}}
	maps.Copy(checks, more)
	for name, check := range checks {
		if err := mgr.AddReadyzCheck(name, check); err != nil {
			return fmt.Errorf("adding a readiness check: %w", err)
		}
	}
	return nil
}
