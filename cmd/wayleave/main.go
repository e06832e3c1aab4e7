// Command wayleave runs the processes of Wayleave, one subcommand each: the controller, the admission webhook, and the
// rotation of the webhook's certificate. Each is meant to run under a ServiceAccount of its own with the least rights.
package main

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// version is set by the linker.
var version string

func main() {
	if err := root().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "wayleave:", err)
		os.Exit(1)
	}
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "wayleave",
		Short: "Govern delegated execution paths in Kubernetes",
		Long: `Wayleave gives each step of an automated chain a short-lived identity of its own, and takes all of
them back at once.

Each subcommand is one process. They read the cluster from --kubeconfig, from KUBECONFIG, or from
the pod that they run in.`,
		// Without a command there is help; one that does not exist is named with where the others are.
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("unknown command %q; see %s --help", args[0], cmd.CommandPath())
			}
			return nil
		},
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       buildVersion(),
	}
	cmd.CompletionOptions.HiddenDefaultCmd = true
	cmd.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, c.CommandPath())
	})
	logging := zap.Options{}
	flags := flag.NewFlagSet("wayleave", flag.ExitOnError)
	logging.BindFlags(flags)
	ctrl.RegisterFlags(flags) // --kubeconfig
	cmd.PersistentFlags().AddGoFlagSet(flags)
	cmd.PersistentFlags().Lookup("kubeconfig").Usage = kubeconfigUsage
	cmd.PersistentPreRun = func(*cobra.Command, []string) {
		ctrl.SetLogger(zap.New(zap.UseFlagOptions(&logging), zap.WriteTo(os.Stderr)))
	}
	cmd.AddCommand(controllerCommand(), webhookCommand(), certsCommand(), withdrawCommand())
	return cmd
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	return scheme
}
