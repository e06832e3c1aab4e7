package grants

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// Apply writes the objects of a step, at the same time, and tells of each how what the API server stored differs from what
// was written; nil where it does not. It fails with a DeniedError if what differs decides what the hop may do. An account
// that does not exist is created by CreateAccount.
func (m *Manager) Apply(
	ctx context.Context, hop *v1alpha1.DelegationHop, g delegation.Grant, step delegation.Step,
	wrote func(o delegation.Object, differs *delegation.Finding),
) error {
	return inParallel(ctx, step, func(ctx context.Context, o delegation.Object) error {
		var differs *delegation.Finding
		var err error
		switch {
		case o.Kind == delegation.Secret:
			differs, err = m.createSecret(ctx, hop, g, o)
		case o.Kind != delegation.ServiceAccount || o.UID != "":
			differs, err = m.applyOne(ctx, g, o)
		}
		if err == nil {
			wrote(o, differs)
		}
		return err
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
		_, err := m.applyOne(ctx, g, o, client.DryRunAll)
		return err
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

// applyOne applies an object. It is a patch of an empty one, into which the answer is read: an apply configuration would
// keep what it has and the answer has not.
func (m *Manager) applyOne(
	ctx context.Context, g delegation.Grant, o delegation.Object, opts ...client.PatchOption,
) (differs *delegation.Finding, err error) {
	k := kindOf(o.Kind)
	raw, err := json.Marshal(k.apply(g, o))
	if err != nil {
		return nil, fmt.Errorf("encoding %s %s: %w", o.Kind, o.Key, err)
	}
	stored := k.empty(metav1.ObjectMeta{Namespace: o.Key.Namespace, Name: o.Key.Name})
	err = m.Client.Patch(ctx, stored, client.RawPatch(types.ApplyPatchType, raw), append(opts, FieldOwner, client.ForceOwnership)...)
	if isAbout(err, "roleRef") { // it is immutable
		return nil, nameTaken(o, "with another roleRef")
	} else if err != nil {
		return nil, asDenied(fmt.Errorf("applying %s %s: %w", o.Kind, o.Key, err))
	}
	return compare(stored, o, g, byAdmission)
}

// DeniedError is an error that is a finding about the hop, and no failure of the controller.
type DeniedError struct{ delegation.Finding }

func (e DeniedError) Error() string { return e.String() }

// notHeld is what the API server says of a Role with more than its author holds, whatever RBAC said a moment ago.
const notHeld = "attempting to grant RBAC permissions not currently held"

// asDenied is what it means that the API server did not accept an object of a grant. What another try at the same moment
// may change is a failure like any other.
func asDenied(err error) error {
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause), namespaceMissing(err):
		return DeniedError{delegation.NamespaceNotFound(err.Error())}
	case apierrors.IsForbidden(err) && strings.Contains(err.Error(), notHeld):
		return DeniedError{delegation.Finding{
			Reason: v1alpha1.ReasonScopeExceedsCeiling, Field: "spec.scope",
			Message: "the API server does not let the controller grant this: " + err.Error(),
		}}
	case apierrors.IsForbidden(err), apierrors.IsInvalid(err), apierrors.IsBadRequest(err), apierrors.IsRequestEntityTooLargeError(err):
		return DeniedError{delegation.Finding{Reason: v1alpha1.ReasonGrantDenied, Message: err.Error()}}
	}
	return err
}

// isAbout says whether the API server named a field in an error.
func isAbout(err error, field string) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool { return c.Field == field })
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
