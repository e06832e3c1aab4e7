package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/scope"
)

type withdrawOptions struct {
	namespace string
	timeout   time.Duration
}

func withdrawCommand() *cobra.Command {
	var o withdrawOptions
	cmd := &cobra.Command{
		Use:   "withdraw",
		Short: "Withdraw what all hops hold, before Wayleave is removed",
		Long: `Freezes the whole cluster, as ConfigMap wayleave-freeze does, and returns when no hop holds an identity any
more. The controller does the work, so it has to run. The ConfigMap is deleted with the controller's
ServiceAccount: where Wayleave is installed again, what is still valid goes on.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.run(ctrl.SetupSignalHandler(), cmd.Flags(), cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.namespace, "namespace", scope.DefaultOperatorNamespace, "namespace that Wayleave runs in")
	flags.DurationVar(&o.timeout, "timeout", 2*time.Minute, "how long to wait")
	return cmd
}

func (o *withdrawOptions) run(ctx context.Context, flags *pflag.FlagSet, out io.Writer) error {
	cfg, err := config(flags)
	if err != nil {
		return err
	}
	if err := reach(ctx, cfg, kindsPatience); err != nil {
		return err
	}
	c, err := client.New(cfg, client.Options{Scheme: newScheme()})
	if err != nil {
		return fmt.Errorf("connecting to the API server: %w", err)
	}
	if err := o.freeze(ctx, c); err != nil {
		return err
	}
	return o.untilWithdrawn(ctx, c, out)
}

// freeze freezes the cluster until the ServiceAccount of the controller is gone, with which go its rights. One that somebody froze
// stays as it is.
func (o *withdrawOptions) freeze(ctx context.Context, c client.Client) error {
	account := &corev1.ServiceAccount{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: o.namespace, Name: "wayleave-controller"}, account); err != nil {
		return fmt.Errorf("reading the ServiceAccount of the controller: %w", err)
	}
	freeze := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: o.namespace, Name: delegation.FreezeName,
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "ServiceAccount", Name: account.Name, UID: account.UID}},
		},
		Data: map[string]string{"reason": "Wayleave is being removed"},
	}
	if err := c.Create(ctx, freeze); err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("freezing the cluster: %w", err)
	}
	return nil
}

// hopsAtOnce is how many hops are read at a time.
const hopsAtOnce = 500

// untilWithdrawn waits until no hop holds an identity, and says meanwhile how many do.
func (o *withdrawOptions) untilWithdrawn(ctx context.Context, c client.Client, out io.Writer) error {
	last := -1
	err := wait.PollUntilContextTimeout(ctx, time.Second, o.timeout, true, func(ctx context.Context) (bool, error) {
		holding, err := countHolding(ctx, c)
		if err != nil {
			return false, err
		}
		if holding != last {
			fmt.Fprintf(out, "%d hops hold an identity\n", holding)
			last = holding
		}
		return holding == 0, nil
	})
	if wait.Interrupted(err) {
		return fmt.Errorf("after %s, %d hops still hold an identity: does the controller run? What it would delete has the label %s",
			o.timeout, last, v1alpha1.LabelHopUID)
	}
	return err
}

func countHolding(ctx context.Context, c client.Client) (n int, err error) {
	for page := (v1alpha1.DelegationHopList{}); ; {
		next := page.Continue
		page = v1alpha1.DelegationHopList{}
		if err := c.List(ctx, &page, client.Limit(hopsAtOnce), client.Continue(next)); err != nil {
			return 0, fmt.Errorf("listing the hops: %w", err)
		}
		for i := range page.Items {
			if page.Items[i].Status.ServiceAccountName != "" {
				n++
			}
		}
		if page.Continue == "" {
			return n, nil
		}
	}
}
