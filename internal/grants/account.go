package grants

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// RandomSuffix is what makes the name of an account one that cannot be guessed.
func RandomSuffix() string {
	random := make([]byte, 5)
	_, _ = rand.Read(random) // it never fails: crypto/rand ends the process instead
	return hex.EncodeToString(random)
}

// CreateAccount creates the account of a grant and returns its UID. It fails if one of that name exists.
func (m *Manager) CreateAccount(ctx context.Context, hop *v1alpha1.DelegationHop, g delegation.Grant) (types.UID, error) {
	account := &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: g.Account.Namespace, Name: g.Account.Name, Labels: g.Labels, OwnerReferences: ownedBy(hop),
		},
		AutomountServiceAccountToken: new(false),
	}
	if err := m.Client.Create(ctx, account, FieldOwner); err != nil {
		return "", fmt.Errorf("creating ServiceAccount %s: %w", account.Name, err)
	}
	return account.UID, nil
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
