package grants

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// Overwritten reads objects of a grant from the API server and says which of them is not as the grant says, and who manages
// the field; nil if all are. It fails with a DeniedError if a permission is not the hop's, or was taken from it.
func (m *Manager) Overwritten(ctx context.Context, g delegation.Grant, objects []delegation.Object) (*delegation.Finding, error) {
	var found *delegation.Finding
	for _, o := range objects {
		differs, err := m.overwritten(ctx, g, o)
		if err != nil {
			return nil, err
		}
		found = cmp.Or(differs, found)
	}
	return found, nil
}

func (m *Manager) overwritten(ctx context.Context, g delegation.Grant, o delegation.Object) (*delegation.Finding, error) {
	live := kindOf(o.Kind).empty(metav1.ObjectMeta{})
	if err := m.Live.Get(ctx, o.Key, live); apierrors.IsNotFound(err) {
		return deniedOf(o, fmt.Sprintf("%s %s was deleted again right after it was put back; it is put back every %s",
			o.Kind, o.Key, delegation.DeniedRetry))
	} else if err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", o.Kind, o.Key, err)
	}
	return compare(live, o, g, managerOf)
}

// TokenOverwritten says who changed the token in the Secret of a grant, which was written a moment ago.
func (m *Manager) TokenOverwritten(ctx context.Context, g delegation.Grant) (*delegation.Finding, error) {
	secret, err := m.secret(ctx, g.Account.Namespace, g.Token.SecretName)
	if err != nil || secret == nil {
		return nil, err
	}
	who := managerOf(secret, fieldpath.MakePathOrDie("data", tokenKey))
	return overwritten(fmt.Sprintf(
		"the token in Secret %s is not as it was put back, it was changed by %s; it is put back every %s: keep that from it",
		client.ObjectKeyFromObject(secret), who, delegation.DeniedRetry)), nil
}

// compare says how a stored object differs from what its grant says, and who changed that; nil if it does not. It fails
// with a DeniedError if permissions differ.
func compare(
	stored client.Object, want delegation.Object, g delegation.Grant, who func(client.Object, fieldpath.Path) string,
) (*delegation.Finding, error) {
	k := kindOf(want.Kind)
	message := func(field fieldpath.Path) string {
		return fmt.Sprintf(
			"%s of %s %s is not as it was put back, it was changed by %s; it is put back every %s: keep that from what is named %s…",
			strings.TrimPrefix(field.String(), "."), want.Kind, want.Key, who(stored, field), delegation.DeniedRetry, v1alpha1.AccountPrefix)
	}
	if k.content(stored, g.Owner) != want.Content {
		return deniedOf(want, message(k.changed(stored, g)))
	}
	if labels := delegation.DifferentLabels(stored.GetLabels(), g.Labels); len(labels) > 0 {
		return overwritten(message(fieldpath.MakePathOrDie("metadata", "labels", labels[0]))), nil
	}
	return nil, nil //nolint:nilnil // nil is the answer that nothing differs
}

// deniedOf is what it means that the content of an object is not its grant's. A grant is exact, or there is none; account and
// Secret permit nothing.
func deniedOf(o delegation.Object, message string) (*delegation.Finding, error) {
	f := overwritten(message)
	if o.Kind == delegation.ServiceAccount || o.Kind == delegation.Secret {
		return f, nil
	}
	return nil, DeniedError{*f}
}

func overwritten(message string) *delegation.Finding {
	return &delegation.Finding{Reason: v1alpha1.ReasonOverwritten, Message: message}
}

// byAdmission is who changes our own write on its way into the store.
func byAdmission(client.Object, fieldpath.Path) string { return "an admission policy or webhook" }

// managerOf is who manages a field. What has our name as its manager was changed within our own write; what has none was
// removed by a client that is not on record.
func managerOf(o client.Object, field fieldpath.Path) string {
	for _, entry := range o.GetManagedFields() {
		var fields fieldpath.Set
		if entry.FieldsV1 == nil || fields.FromJSON(entry.FieldsV1.GetRawReader()) != nil || !fields.Has(field) {
			continue
		}
		if entry.Manager == string(FieldOwner) {
			return byAdmission(o, field)
		}
		return fmt.Sprintf("%q", entry.Manager)
	}
	return "another client"
}
