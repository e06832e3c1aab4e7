package grants

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

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
			objects = append(objects, m.observedSecret(secret, hop))
		}
	}
	return objects, nil
}

func (m *Manager) observedSecret(secret *corev1.Secret, hop *v1alpha1.DelegationHop) delegation.Object {
	o := delegation.Object{
		Kind: delegation.Secret, Key: client.ObjectKeyFromObject(secret), UID: secret.UID, Ownership: ownershipOf(secret, hop),
		Content: secretContent(secret, hop.UID), CredentialID: m.credentialIn(secret, hop),
	}
	if c := hop.Status.Credential; c != nil {
		o.Life = max(time.Duration(0), c.ExpiresAt.Sub(c.IssuedAt.Time))
	}
	return o
}

// secretContent is the audience of the token, where the Secret is still known as the hop's.
func secretContent(o client.Object, hop types.UID) string {
	if !isOwnedBy(o, hop) {
		return "not the hop's"
	}
	return o.GetAnnotations()[v1alpha1.AnnotationAudience]
}

// changedSecret is the field of a Secret that is not as it was created.
func changedSecret(o client.Object, g delegation.Grant) fieldpath.Path {
	if !isOwnedBy(o, g.Owner) {
		return fieldpath.MakePathOrDie("metadata", "ownerReferences")
	}
	return fieldpath.MakePathOrDie("metadata", "annotations", v1alpha1.AnnotationAudience)
}

// credentialIn is the id of the token that the status names, where a Secret holds it and what was written beside it; else empty.
func (m *Manager) credentialIn(secret *corev1.Secret, hop *v1alpha1.DelegationHop) string {
	credential, token := hop.Status.Credential, string(secret.Data[tokenKey])
	if credential == nil || credential.Digest != digest(token) {
		return ""
	}
	account := types.NamespacedName{Namespace: hop.Namespace, Name: hop.Status.ServiceAccountName}
	written, err := m.secretData(account, secret.Annotations[v1alpha1.AnnotationAudience], token)
	if err != nil {
		return ""
	}
	for key, value := range written {
		if !bytes.Equal(secret.Data[key], value) {
			return ""
		}
	}
	return credential.ID
}

// HoldsToken says whether the Secret of a hop holds the token that its status names.
func (m *Manager) HoldsToken(ctx context.Context, hop *v1alpha1.DelegationHop) (bool, error) {
	key := delegation.TokenSecret(hop)
	secret, err := m.secret(ctx, key.Namespace, key.Name)
	if err != nil || secret == nil {
		return false, err
	}
	return ownershipOf(secret, hop) == delegation.OwnedByHop && m.credentialIn(secret, hop) == hop.Status.Credential.ID, nil
}

// ownershipOf says for whom a Secret was created. A name has one holder at a time, so an earlier hop of the name is gone. One
// that was deleted with --cascade=orphan leaves its Secret without an owner.
func ownershipOf(secret client.Object, hop *v1alpha1.DelegationHop) delegation.Ownership {
	label := secret.GetLabels()[v1alpha1.LabelHopUID]
	if len(secret.GetOwnerReferences()) == 0 && isLabelledFor(secret, hop) { // also one that another client labelled so
		return delegation.OwnedByPredecessor
	}
	for _, ref := range secret.GetOwnerReferences() {
		switch isHop := ref.APIVersion == v1alpha1.SchemeGroupVersion.String() && ref.Kind == "DelegationHop"; {
		case isHop && ref.UID == hop.UID: // labels can be removed; the next token comes with them again
			return delegation.OwnedByHop
		case isHop && ref.Name == hop.Name && ref.UID != hop.UID && label == string(ref.UID):
			return delegation.OwnedByPredecessor
		}
	}
	return delegation.OwnedByOthers
}

// isLabelledFor says whether a Secret has the labels of what is created for a hop of this name.
func isLabelledFor(secret client.Object, hop *v1alpha1.DelegationHop) bool {
	labels := secret.GetLabels()
	return labels[v1alpha1.LabelHopUID] != "" && labels[v1alpha1.LabelIncarnation] != "" &&
		labels[v1alpha1.LabelHopName] == hop.Name && labels[v1alpha1.LabelHopNamespace] == hop.Namespace
}

// RemoveSecrets removes the token Secrets of a hop that was deleted, as it last was. Those of others are not touched.
func (m *Manager) RemoveSecrets(ctx context.Context, deleted *v1alpha1.DelegationHop) error {
	secrets, err := m.observeSecrets(ctx, deleted)
	if err != nil {
		return err
	}
	return m.Remove(ctx, slices.DeleteFunc(secrets, func(o delegation.Object) bool {
		orphaned := o.Ownership == delegation.OwnedByPredecessor && o.CredentialID != "" // it holds the token of this very hop
		return o.Ownership != delegation.OwnedByHop && !orphaned
	}))
}

// secret reads a Secret; nil if it does not exist.
func (m *Manager) secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
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
