package grants

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

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
		return "", asDenied(fmt.Errorf("creating ServiceAccount %s: %w", account.Name, err))
	}
	return account.UID, nil
}

// applyAccount puts an account back as it was created. Its UID has it fail for an account that was deleted meanwhile.
func applyAccount(g delegation.Grant, o delegation.Object) runtime.ApplyConfiguration {
	owner := metav1ac.OwnerReference().WithAPIVersion(v1alpha1.SchemeGroupVersion.String()).WithKind("DelegationHop").
		WithName(g.Labels[v1alpha1.LabelHopName]).WithUID(g.Owner)
	return corev1ac.ServiceAccount(o.Key.Name, o.Key.Namespace).WithUID(o.UID).
		WithLabels(g.Labels).WithOwnerReferences(owner).WithAutomountServiceAccountToken(false)
}

// changedAccount is the field of an account that is not as it was created.
func changedAccount(o client.Object, g delegation.Grant) fieldpath.Path {
	if isOwnedBy(o, g.Owner) {
		return fieldpath.MakePathOrDie("automountServiceAccountToken")
	}
	return fieldpath.MakePathOrDie("metadata", "ownerReferences")
}

// ownedBy lets the garbage collector delete what authenticates as a hop when the hop is deleted while no controller runs.
func ownedBy(hop *v1alpha1.DelegationHop) []metav1.OwnerReference {
	return []metav1.OwnerReference{{
		APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DelegationHop", Name: hop.Name, UID: hop.UID,
	}}
}

func isOwnedBy(o client.Object, hop types.UID) bool {
	return slices.ContainsFunc(o.GetOwnerReferences(), func(ref metav1.OwnerReference) bool { return ref.UID == hop })
}
