package grants

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// IssueToken issues a token for the account of a grant, bound to the hop's Secret, writes it there, and returns what the
// status says of it. Life is how long it lives, and account the UID of the account.
func (m *Manager) IssueToken(
	ctx context.Context, hop *v1alpha1.DelegationHop, g delegation.Grant, account types.UID, life time.Duration,
) (*v1alpha1.Credential, error) {
	secret, err := m.secret(ctx, hop.Namespace, g.Token.SecretName)
	if err != nil {
		return nil, err
	}
	if secret == nil || ownershipOf(secret, hop) != delegation.OwnedByHop {
		return nil, fmt.Errorf("issuing a token into Secret %s: it is gone, or another one, by now", g.Token.SecretName)
	}
	request, err := m.requestToken(ctx, g, account, secret, life)
	if err != nil {
		return nil, err
	}
	id, issuedAt, err := claimsOf(request.Status.Token)
	if err != nil {
		return nil, err
	}
	if err := m.fillSecret(ctx, g, secret, id, request.Status.Token); err != nil {
		return nil, err
	}
	return &v1alpha1.Credential{
		SecretName: secret.Name, ID: id, Digest: digest(request.Status.Token),
		IssuedAt: metav1.NewTime(issuedAt), ExpiresAt: request.Status.ExpirationTimestamp,
	}, nil
}

// requestToken requests a token that ends with the Secret.
func (m *Manager) requestToken(
	ctx context.Context, g delegation.Grant, uid types.UID, secret *corev1.Secret, life time.Duration,
) (*authenticationv1.TokenRequest, error) {
	request := &authenticationv1.TokenRequest{ObjectMeta: metav1.ObjectMeta{UID: uid}, Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(int64(life / time.Second)),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: secret.Name, UID: secret.UID},
	}}
	if g.Token.Audience != "" {
		request.Spec.Audiences = []string{g.Token.Audience}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: g.Account.Namespace, Name: g.Account.Name}}
	if err := m.Client.SubResource("token").Create(ctx, account, request); err != nil {
		return nil, asDenied(fmt.Errorf("requesting a token for ServiceAccount %s: %w", account.Name, err))
	}
	return request, nil
}

// fillSecret writes the token into the Secret. The resource version makes it fail if another client wrote there meanwhile.
func (m *Manager) fillSecret(ctx context.Context, g delegation.Grant, read *corev1.Secret, id, token string) error {
	data, err := m.secretData(g.Account, g.Token.Audience, token)
	if err != nil {
		return err
	}
	secret := &corev1.Secret{ObjectMeta: *read.ObjectMeta.DeepCopy(), Data: data}
	secret.ManagedFields, secret.Labels = nil, g.Labels
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Annotations[v1alpha1.AnnotationCredentialID] = id
	if err := m.Client.Update(ctx, secret, FieldOwner); isAbout(err, "type") { // it is immutable
		return nameTaken(delegation.Object{Kind: delegation.Secret, Key: client.ObjectKeyFromObject(secret)}, "with another type")
	} else if err != nil {
		return asDenied(fmt.Errorf("writing the token into Secret %s: %w", secret.Name, err))
	}
	return nil
}

// tokenKey is the key of the token in a Secret.
const tokenKey = "token"

// secretData is what a Secret with a token holds. One for the API server also has what a client needs to reach it.
func (m *Manager) secretData(account types.NamespacedName, audience, token string) (map[string][]byte, error) {
	data := map[string][]byte{tokenKey: []byte(token)}
	if audience != "" {
		return data, nil
	}
	kubeconfig, err := m.Kubeconfig.withToken(account.Namespace, account.Name, token)
	if err != nil {
		return nil, err
	}
	data["kubeconfig"], data["ca.crt"], data["namespace"] = kubeconfig, m.Kubeconfig.CA, []byte(account.Namespace)
	return data, nil
}

// digest is the SHA-256 of a token, by which the one in a Secret is recognized.
func digest(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

// claimsOf returns the id of a token, as the API server's audit log has it, and when it was issued. By the controller's own
// clock, at the start of a slow grant, the token would seem to live longer than it may, and would be replaced at once. The
// token is fresh from the API server, so its signature is not verified.
func claimsOf(token string) (id string, issuedAt time.Time, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", time.Time{}, errors.New("the API server issued a token that is no JWT")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", time.Time{}, fmt.Errorf("decoding the claims of a token: %w", err)
	}
	var claims struct {
		ID       string `json:"jti"`
		IssuedAt int64  `json:"iat"`
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		return "", time.Time{}, fmt.Errorf("reading the claims of a token: %w", err)
	}
	if claims.ID == "" || claims.IssuedAt == 0 {
		return "", time.Time{}, errors.New("the API server issued a token without an id (claim jti) or a time (claim iat)")
	}
	return claims.ID, time.Unix(claims.IssuedAt, 0), nil
}
