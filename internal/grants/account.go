package grants

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// CreateAccount creates the account of a grant and returns its UID. It fails if one of that name exists, and deletes it:
// no status names it, so a crash left it, or a user who guessed the name created it and may hold tokens for it.
func (m *Manager) CreateAccount(ctx context.Context, hop *v1alpha1.DelegationHop, g delegation.Grant) (types.UID, error) {
	account := &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: g.Account.Namespace, Name: g.Account.Name, Labels: g.Labels, OwnerReferences: ownedBy(hop),
		},
		AutomountServiceAccountToken: new(false),
	}
	if err := m.Client.Create(ctx, account, FieldOwner); apierrors.IsAlreadyExists(err) {
		return "", errors.Join(fmt.Errorf("creating ServiceAccount %s: %w", account.Name, err), m.deleteUnexpected(ctx, g.Account))
	} else if err != nil {
		return "", fmt.Errorf("creating ServiceAccount %s: %w", account.Name, err)
	}
	return account.UID, nil
}

func (m *Manager) deleteUnexpected(ctx context.Context, key types.NamespacedName) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	if err := m.Client.Delete(ctx, account); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting ServiceAccount %s, which the controller did not create: %w", key, err)
	}
	return nil
}

// ownedBy lets the garbage collector delete what authenticates as a hop when the hop is deleted while no controller runs.
func ownedBy(hop *v1alpha1.DelegationHop) []metav1.OwnerReference {
	return []metav1.OwnerReference{{
		APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DelegationHop", Name: hop.Name, UID: hop.UID,
	}}
}

func ownerUIDs(o client.Object) []types.UID {
	var uids []types.UID
	for _, ref := range o.GetOwnerReferences() {
		uids = append(uids, ref.UID)
	}
	return uids
}
