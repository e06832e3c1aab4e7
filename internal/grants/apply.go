package grants

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// Apply writes the objects of a step, at the same time. Accounts and Secrets are created, by CreateAccount and here.
func (m *Manager) Apply(ctx context.Context, hop *v1alpha1.DelegationHop, g delegation.Grant, step delegation.Step) error {
	return inParallel(ctx, step, func(ctx context.Context, o delegation.Object) error {
		if o.Kind == delegation.Secret {
			return m.createSecret(ctx, hop, g)
		}
		return m.applyOne(ctx, g, o)
	})
}

// DryRun asks the API server, before anything is created, whether it would accept the roles of a grant. Without it, a
// grant that is denied half way would be created and deleted on each try, under one new identity after the other.
func (m *Manager) DryRun(ctx context.Context, g delegation.Grant) error {
	var roles delegation.Step
	for _, o := range g.Objects(true) {
		if o.Kind == delegation.Role || o.Kind == delegation.ClusterRole {
			roles = append(roles, o)
		}
	}
	return inParallel(ctx, roles, func(ctx context.Context, o delegation.Object) error {
		return m.applyOne(ctx, g, o, client.DryRunAll)
	})
}

func inParallel(ctx context.Context, step delegation.Step, do func(context.Context, delegation.Object) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writesAtOnce)
	for _, o := range step {
		group.Go(func() error { return do(ctx, o) })
	}
	return group.Wait()
}

func (m *Manager) applyOne(ctx context.Context, g delegation.Grant, o delegation.Object, opts ...client.ApplyOption) error {
	k := kindOf(o.Kind)
	if k.apply == nil {
		return nil
	}
	err := m.Client.Apply(ctx, k.apply(g, o.Key.Namespace), append(opts, FieldOwner, client.ForceOwnership)...)
	if apierrors.IsInvalid(err) { // the reference of a binding is immutable, so another client created it
		return nameTaken(o, "with another roleRef")
	} else if err != nil {
		return asDenied(fmt.Errorf("applying %s %s: %w", o.Kind, o.Key, err))
	}
	return nil
}

// DeniedError is an error that is a finding about the hop, and no failure of the controller.
type DeniedError struct{ delegation.Finding }

func (e DeniedError) Error() string { return e.String() }

// asDenied is what it means that the API server did not accept the write of a right. A Role that it forbids is more than
// the controller was given, whatever RBAC said a moment ago.
func asDenied(err error) error {
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause), namespaceMissing(err):
		return DeniedError{delegation.Finding{
			Reason: v1alpha1.ReasonNotYetValid, Field: "spec.scope", Message: "a namespace of the scope does not exist: " + err.Error(),
		}}
	case apierrors.IsForbidden(err):
		return DeniedError{delegation.Finding{
			Reason: v1alpha1.ReasonScopeExceedsCeiling, Field: "spec.scope",
			Message: "the API server does not let the controller grant this: " + err.Error(),
		}}
	}
	return err
}

// nameTaken is a denial that passes only when the object is deleted, or the grant gets another name.
func nameTaken(o delegation.Object, how string) error {
	return DeniedError{delegation.Finding{
		Reason: v1alpha1.ReasonNameTaken, Message: fmt.Sprintf(
			"%s %s exists %s and was not created by the controller: delete it", o.Kind, o.Key, how),
	}}
}

// namespaceMissing says whether a write failed because its namespace does not exist.
func namespaceMissing(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsNotFound(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details != nil && details.Kind == "namespaces"
}
