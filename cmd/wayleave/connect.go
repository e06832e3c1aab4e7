package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	utilversion "k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// kubeconfigUsage is the help of --kubeconfig, in our words.
const kubeconfigUsage = "kubeconfig of the cluster (default: KUBECONFIG, else the pod that this runs in)"

// kindsPatience is how long kinds that were installed just now may take to be served.
const kindsPatience = 10 * time.Second

// config is the connection to the cluster. The client's own throttle is off: a withdrawal must not queue behind it,
// and the API server has priority and fairness of its own.
func config(flags *pflag.FlagSet) (*rest.Config, error) {
	if err := namesFiles(flags); err != nil {
		return nil, fmt.Errorf("finding the cluster: %w", err)
	}
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("finding the cluster (set --kubeconfig or KUBECONFIG, or run in a pod): %w", err)
	}
	cfg.QPS = -1
	return cfg, nil
}

// namesFiles says which file is not there, which clientcmd would pass over for KUBECONFIG.
func namesFiles(flags *pflag.FlagSet) error {
	if f := flags.Lookup("kubeconfig"); f != nil && f.Value.String() != "" {
		return missingFile("--kubeconfig", f.Value.String())
	}
	files := filepath.SplitList(os.Getenv(clientcmd.RecommendedConfigPathEnvVar))
	_, err := os.Stat(clientcmd.RecommendedHomeFile)
	if len(files) == 0 && err != nil && os.Getenv("KUBERNETES_SERVICE_HOST") == "" { // clientcmd would say more, and less clearly
		return errors.New("set --kubeconfig or KUBECONFIG, or run in a pod")
	}
	var missing error
	for _, file := range files {
		err := missingFile(clientcmd.RecommendedConfigPathEnvVar, file)
		if err == nil {
			return nil // one of them is enough
		}
		missing = err
	}
	return missing
}

func missingFile(by, file string) error {
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) { //nolint:gosec // the operator's own setting names the file
		return fmt.Errorf("%s names %s, which does not exist", by, file)
	}
	return nil
}

// reach asks the API server once, so that what is wrong with the connection is reported in one sentence, immediately.
// It waits so long for our kinds to be served; with zero it does not ask for them. A cluster may hide its version and
// its kinds from us: such an answer means that the API server was reached.
func reach(ctx context.Context, cfg *rest.Config, forKinds time.Duration) error {
	short := rest.CopyConfig(cfg)
	short.Timeout = 10 * time.Second
	client, err := discovery.NewDiscoveryClientForConfig(short)
	if err != nil {
		return fmt.Errorf("connecting to the API server %s: %w", cfg.Host, err)
	}
	served, err := client.ServerVersionWithContext(ctx)
	switch {
	case apierrors.IsForbidden(err):
	case apierrors.IsUnauthorized(err):
		return fmt.Errorf("the API server %s does not know who we are: %w", cfg.Host, err)
	case err != nil:
		return fmt.Errorf("cannot reach the API server %s: %w", cfg.Host, cause(err))
	default:
		if err := newEnough(served.GitVersion); err != nil {
			return err
		}
	}
	if forKinds == 0 {
		return nil
	}
	err = wait.PollUntilContextTimeout(ctx, min(forKinds, time.Second), forKinds, true, func(context.Context) (bool, error) {
		// Not with the end of this wait: a question cut off by it would hide the answer that came before.
		_, err := client.ServerResourcesForGroupVersionWithContext(ctx, v1alpha1.SchemeGroupVersion.String())
		if apierrors.IsNotFound(err) {
			return false, nil
		}
		return err == nil, err
	})
	switch {
	case err == nil, apierrors.IsForbidden(err):
		return nil
	case wait.Interrupted(err) && ctx.Err() == nil:
		return fmt.Errorf("the kinds of %s are not installed: kubectl apply -k config/crd", v1alpha1.GroupName)
	default:
		return fmt.Errorf("asking the API server %s for our kinds: %w", cfg.Host, cause(err))
	}
}

// oldest is the oldest release of Kubernetes for which Wayleave is made.
var oldest = utilversion.MustParseGeneric("1.35.0")

// newEnough fails for an API server that is too old. One that hides its version may be new enough.
func newEnough(served string) error {
	v, err := utilversion.ParseGeneric(served)
	if err != nil {
		return nil //nolint:nilerr // nothing is known of it
	}
	if v.LessThan(oldest) {
		return fmt.Errorf("the cluster runs Kubernetes %s: Wayleave needs %d.%d or newer", served, oldest.Major(), oldest.Minor())
	}
	return nil
}

// cause is what lies below the address that the message names already.
func cause(err error) error {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno
	}
	if address, ok := errors.AsType[*url.Error](err); ok {
		return address.Err
	}
	return err
}
