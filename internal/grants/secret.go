package grants

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// observeSecrets returns the token Secrets that a hop has to do with: the one that its status names, and the one that its
// spec names, which a crash may have kept out of the status.
func (m *Manager) observeSecrets(ctx context.Context, hop *v1alpha1.DelegationHop) ([]delegation.Object, error) {
	var names []string
	if c := hop.Status.Credential; c != nil {
		names = append(names, c.SecretName)
	}
	if t := hop.Spec.Token; t != nil && !slices.Contains(names, t.SecretName) {
		names = append(names, t.SecretName)
	}
	var objects []delegation.Object
	for _, name := range names {
		secret, err := m.secret(ctx, hop.Namespace, name)
		if err != nil {
			return nil, err
		}
		if secret != nil {
			objects = append(objects, observedSecret(secret, hop))
		}
	}
	return objects, nil
}

func observedSecret(secret *metav1.PartialObjectMetadata, hop *v1alpha1.DelegationHop) delegation.Object {
	o := delegation.Object{
		Kind: delegation.Secret, Key: client.ObjectKeyFromObject(secret), UID: secret.UID, Ownership: ownershipOf(secret, hop),
		Content: secret.Annotations[v1alpha1.AnnotationAudience], CredentialID: secret.Annotations[v1alpha1.AnnotationCredentialID],
	}
	if c := hop.Status.Credential; c != nil {
		o.Life = max(time.Duration(0), c.ExpiresAt.Sub(c.IssuedAt.Time))
	}
	return o
}

// ownershipOf says for whom a Secret was created. A name has one holder at a time, so an earlier hop of the name is gone.
func ownershipOf(secret client.Object, hop *v1alpha1.DelegationHop) delegation.Ownership {
	label := secret.GetLabels()[v1alpha1.LabelHopUID]
	for _, ref := range secret.GetOwnerReferences() {
		switch isHop := ref.APIVersion == v1alpha1.SchemeGroupVersion.String() && ref.Kind == "DelegationHop"; {
		case ref.UID == hop.UID && label == string(hop.UID):
			return delegation.OwnedByHop
		case isHop && ref.Name == hop.Name && ref.UID != hop.UID && label == string(ref.UID):
			return delegation.OwnedByPredecessor
		}
	}
	return delegation.OwnedByOthers
}

// RemoveSecrets removes the token Secrets of a hop that was deleted, as it last was. Those of others are not touched.
func (m *Manager) RemoveSecrets(ctx context.Context, deleted *v1alpha1.DelegationHop) error {
	secrets, err := m.observeSecrets(ctx, deleted)
	if err != nil {
		return err
	}
	return m.Remove(ctx, slices.DeleteFunc(secrets, func(o delegation.Object) bool { return o.Ownership != delegation.OwnedByHop }))
}

// secret reads the metadata of a Secret; nil if it does not exist.
func (m *Manager) secret(ctx context.Context, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := m.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // nil is the answer that it does not exist
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", name, err)
	}
	return secret, nil
}

// createSecret creates the Secret of a grant, without a token. One that is not as it was written is deleted where it would
// not be known as the hop's.
func (m *Manager) createSecret(
	ctx context.Context, hop *v1alpha1.DelegationHop, g delegation.Grant, o delegation.Object,
) (differs *delegation.Finding, err error) {
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: hop.Namespace, Name: g.Token.SecretName, Labels: g.Labels, OwnerReferences: ownedBy(hop),
		Annotations: map[string]string{v1alpha1.AnnotationAudience: g.Token.Audience},
	}}
	if err := m.Client.Create(ctx, secret, FieldOwner); err != nil {
		return nil, asDenied(fmt.Errorf("creating Secret %s: %w", secret.Name, err))
	}
	differs, err = compare(secret, o, g, byAdmission)
	if differs == nil || ownershipOf(secret, hop) == delegation.OwnedByHop {
		return differs, err
	}
	o.UID = secret.UID
	return nil, errors.Join(DeniedError{*differs}, m.removeOne(ctx, o))
}
