package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
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
		Long: `Freezes the whole cluster, as ConfigMap wayleave-freeze does, and returns when no hop holds anything any
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

// freeze freezes the cluster until the ServiceAccount of the controller is gone, with which go its rights. What somebody froze stays
// as it is, if it is everything.
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
	err := c.Create(ctx, freeze)
	if err == nil {
		return nil
	}
	if !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("freezing the cluster: %w", err)
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(freeze), freeze); err != nil {
		return fmt.Errorf("reading what is frozen: %w", err)
	}
	if !delegation.FreezeOf(freeze.Data).Everything {
		return fmt.Errorf("ConfigMap %s/%s freezes a part of the cluster: delete it, or have it name nothing, so that it freezes everything",
			o.namespace, delegation.FreezeName)
	}
	return nil
}

// hopsAtOnce is how many hops are read at a time.
const hopsAtOnce = 500

// quiet is how often in a row nothing has to be found: a reconcile that began before the freeze may still write.
const quiet = 3

// untilWithdrawn waits until no hop holds an identity and no binding is left, also of a hop that was deleted, and says meanwhile what
// is.
func (o *withdrawOptions) untilWithdrawn(ctx context.Context, c client.Client, out io.Writer) error {
	last, nothing := "", 0
	err := wait.PollUntilContextTimeout(ctx, time.Second, o.timeout, true, func(ctx context.Context) (bool, error) {
		left, err := leftovers(ctx, c)
		if err != nil {
			return false, err
		}
		if len(left) > 0 {
			nothing = 0
		} else {
			nothing++
		}
		if now := describe(left); now != last {
			fmt.Fprintln(out, now)
			last = now
		}
		return nothing == quiet, nil
	})
	if wait.Interrupted(err) {
		return fmt.Errorf("after %s, there is still %s: does the controller run, and what does kubectl describe say of them? "+
			"To go on without a removal, delete ConfigMap %s/%s", o.timeout, last, o.namespace, delegation.FreezeName)
	}
	return err
}

// named is how many of what is left are named.
const named = 10

func describe(left []string) string {
	if len(left) == 0 {
		return "nothing is left"
	}
	text := fmt.Sprintf("%d left: %s", len(left), strings.Join(left[:min(len(left), named)], ", "))
	if len(left) > named {
		text += ", …"
	}
	return text
}

// leftovers names the hops that hold an identity, and the bindings of hops.
func leftovers(ctx context.Context, c client.Client) (left []string, err error) {
	for page := (v1alpha1.DelegationHopList{}); ; {
		next := page.Continue
		page = v1alpha1.DelegationHopList{}
		if err := c.List(ctx, &page, client.Limit(hopsAtOnce), client.Continue(next)); err != nil {
			return nil, fmt.Errorf("listing the hops: %w", err)
		}
		for i := range page.Items {
			if hop := &page.Items[i]; hop.Status.ServiceAccountName != "" {
				left = append(left, "hop "+delegation.HopKey(hop).String())
			}
		}
		if page.Continue == "" {
			break
		}
	}
	for _, kind := range []string{"RoleBinding", "ClusterRoleBinding"} {
		bindings := &metav1.PartialObjectMetadataList{}
		bindings.SetGroupVersionKind(rbacv1.SchemeGroupVersion.WithKind(kind + "List"))
		if err := c.List(ctx, bindings, client.HasLabels{v1alpha1.LabelHopUID}); err != nil {
			return nil, fmt.Errorf("listing the bindings of hops: %w", err)
		}
		for _, b := range bindings.Items {
			if strings.HasPrefix(b.Name, v1alpha1.AccountPrefix) && b.DeletionTimestamp.IsZero() { // anybody can hold one by a finalizer
				left = append(left, strings.TrimSuffix(kind+" "+b.Namespace, " ")+"/"+b.Name)
			}
		}
	}
	return left, nil
}
