package controllers

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// Kubeconfig says how a delegate that is no pod reaches the API server.
type Kubeconfig struct {
	// Server is the API server's URL.
	Server string
	// CA are the PEM certificates that sign the API server's.
	CA []byte
}

// minExpiration is the shortest token that the API server makes. A token that outlasts its hop for that long is worth
// nothing all the same: it dies with the Secret and the account that it is bound to.
const minExpiration = 10 * time.Minute

// ensureToken keeps a token in the hop's Secret, bound to that Secret, and replaces it at 80 % of its life.
func (r *HopReconciler) ensureToken(ctx context.Context, s *state, g delegation.Grant) error {
	if g.SecretName == "" {
		s.next.Credential = nil
		return nil
	}
	if c := s.next.Credential; c == nil || c.SecretName != g.SecretName {
		// What the status does not tell of would be nobody's if we died here and the hop named another Secret meanwhile.
		s.next.Credential = announced(s)
		if err := r.writeHopStatus(ctx, s.hop, s.next); err != nil {
			return err
		}
	}
	secret, err := r.ensureSecret(ctx, s, g)
	if err != nil {
		return err
	}
	if c := s.next.Credential; c.ID != "" && c.ID == secret.Annotations[v1alpha1.AnnotationCredentialID] && s.in.Now.Before(delegation.TokenDue(s.hop, s.in.Now)) {
		return nil
	}
	// A cache that lags makes a token of a moment ago look like one that nobody knows of.
	if err := r.upToDate(ctx, s.hop); err != nil {
		return err
	}
	request, err := r.mint(ctx, s, secret)
	if err != nil {
		return err
	}
	id, err := credentialID(request.Status.Token)
	if err != nil {
		return err
	}
	if err := r.fill(ctx, s, secret, id, request.Status.Token); err != nil {
		return err
	}
	s.next.Credential = &v1alpha1.Credential{
		SecretName: secret.Name, ID: id, IssuedAt: metav1.NewTime(s.in.Now.Truncate(time.Second)), ExpiresAt: request.Status.ExpirationTimestamp,
	}
	return nil
}

// announced is what the status says of the Secret that a hop names before there is a token in it.
func announced(s *state) *v1alpha1.Credential {
	if s.hop.Spec.Token == nil {
		return nil
	}
	now := metav1.NewTime(s.in.Now.Truncate(time.Second))
	return &v1alpha1.Credential{SecretName: s.hop.Spec.Token.SecretName, IssuedAt: now, ExpiresAt: now}
}

func expirationOf(t *v1alpha1.Token) time.Duration {
	if t.Expiration == nil {
		return minExpiration
	}
	return t.Expiration.Duration
}

// outgrown says whether the Secret may hold a token that the hop's spec does not allow any more: one for another
// audience, or with a longer life. Such a token ends with the Secret that it is bound to.
func outgrown(secret *metav1.PartialObjectMetadata, s *state) bool {
	token, c := s.hop.Spec.Token, s.next.Credential
	const slack = 2 * time.Second // the times of a credential have no fractions
	return secret.Annotations[v1alpha1.AnnotationAudience] != token.Audience ||
		c != nil && c.ExpiresAt.Sub(c.IssuedAt.Time) > max(minExpiration, expirationOf(token))+slack
}

// ownSecret reads the metadata of the Secret that a hop names; nil if there is none. One that was left by an earlier hop
// of the same name, and that the garbage collector has not come round to yet, is removed. One that is not the hop's is
// a refusal.
func (r *HopReconciler) ownSecret(ctx context.Context, hop *v1alpha1.DelegationHop, name string) (*metav1.PartialObjectMetadata, error) {
	secret, err := r.secret(ctx, hop.Namespace, name)
	switch {
	case err != nil || secret == nil || isOf(secret, hop):
		return secret, err
	case isOfPredecessor(secret, hop):
		return nil, r.removeOne(ctx, delegation.Object{Kind: delegation.Secret, Key: client.ObjectKeyFromObject(secret), UID: secret.UID})
	}
	return nil, refusal{delegation.Finding{Reason: v1alpha1.ReasonSecretTaken, Field: "spec.token.secretName",
		Message: fmt.Sprintf("Secret %q exists and is not this hop's: name another one, or delete it", name)}}
}

// ensureSecret returns the metadata of the hop's Secret, which it makes if there is none. One that is not the hop's is
// never touched.
func (r *HopReconciler) ensureSecret(ctx context.Context, s *state, g delegation.Grant) (metav1.ObjectMeta, error) {
	standing, err := r.ownSecret(ctx, s.hop, g.SecretName)
	if err != nil {
		return metav1.ObjectMeta{}, err
	}
	if standing != nil && outgrown(standing, s) {
		if err := r.removeOne(ctx, delegation.Object{Kind: delegation.Secret, Key: client.ObjectKeyFromObject(standing), UID: standing.UID}); err != nil {
			return metav1.ObjectMeta{}, err
		}
		standing, s.next.Credential = nil, announced(s)
	}
	if standing == nil {
		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{
			Namespace: s.hop.Namespace, Name: g.SecretName, Labels: g.Labels, OwnerReferences: ownedBy(s.hop),
			Annotations: map[string]string{v1alpha1.AnnotationAudience: s.hop.Spec.Token.Audience},
		}}
		if err := r.Create(ctx, secret, FieldOwner); err != nil {
			return metav1.ObjectMeta{}, fmt.Errorf("making Secret %s: %w", secret.Name, err)
		}
		return secret.ObjectMeta, nil
	}
	standing.Labels = g.Labels
	return standing.ObjectMeta, nil
}

// observeSecrets returns the token Secrets that stand for a hop: the one that its status tells of, and the one that its
// spec names, which a crash may have kept out of the status.
func (r *HopReconciler) observeSecrets(ctx context.Context, hop *v1alpha1.DelegationHop) ([]delegation.Object, error) {
	var names []string
	if c := hop.Status.Credential; c != nil {
		names = append(names, c.SecretName)
	}
	if t := hop.Spec.Token; t != nil && !slices.Contains(names, t.SecretName) {
		names = append(names, t.SecretName)
	}
	var objects []delegation.Object
	for _, name := range names {
		secret, err := r.secret(ctx, hop.Namespace, name)
		if err != nil {
			return nil, err
		}
		if secret != nil && isOf(secret, hop) {
			objects = append(objects, delegation.Object{Kind: delegation.Secret, Key: client.ObjectKeyFromObject(secret), UID: secret.UID})
		}
	}
	return objects, nil
}

// secret reads the metadata of a Secret; nil if there is none.
func (r *HopReconciler) secret(ctx context.Context, namespace, name string) (*metav1.PartialObjectMetadata, error) {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := r.live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // nil is the answer "there is none"
	}
	if err != nil {
		return nil, fmt.Errorf("reading Secret %s: %w", name, err)
	}
	return secret, nil
}

// isOfPredecessor says whether a Secret was made for an earlier hop of the same name. A name has one holder at a time, so
// that one is gone.
func isOfPredecessor(secret *metav1.PartialObjectMetadata, hop *v1alpha1.DelegationHop) bool {
	return slices.ContainsFunc(secret.OwnerReferences, func(ref metav1.OwnerReference) bool {
		return ref.APIVersion == v1alpha1.SchemeGroupVersion.String() && ref.Kind == "DelegationHop" && ref.Name == hop.Name &&
			ref.UID != hop.UID && string(ref.UID) == secret.Labels[v1alpha1.LabelHopUID]
	})
}

// isOf says whether a Secret was made for a hop.
func isOf(secret *metav1.PartialObjectMetadata, hop *v1alpha1.DelegationHop) bool {
	return secret.Labels[v1alpha1.LabelHopUID] == string(hop.UID) && owned(secret, hop)
}

// mint makes a token for the hop's account that dies with the Secret.
func (r *HopReconciler) mint(ctx context.Context, s *state, secret metav1.ObjectMeta) (*authenticationv1.TokenRequest, error) {
	expiration := max(minExpiration, min(expirationOf(s.hop.Spec.Token), s.verdict.NotAfter.Sub(s.in.Now)))
	request := &authenticationv1.TokenRequest{ObjectMeta: metav1.ObjectMeta{UID: s.account}, Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: new(int64(expiration / time.Second)),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: secret.Name, UID: secret.UID},
	}}
	if audience := s.hop.Spec.Token.Audience; audience != "" {
		request.Spec.Audiences = []string{audience}
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.hop.Namespace, Name: s.next.ServiceAccountName}}
	if err := r.SubResource("token").Create(ctx, account, request); err != nil {
		return nil, fmt.Errorf("making a token for ServiceAccount %s: %w", account.Name, err)
	}
	return request, nil
}

// fill writes the token into the Secret. The resource version makes it fail if somebody else wrote there meanwhile.
func (r *HopReconciler) fill(ctx context.Context, s *state, meta metav1.ObjectMeta, id, token string) error {
	secret := &corev1.Secret{ObjectMeta: *meta.DeepCopy(), Data: map[string][]byte{"token": []byte(token)}}
	secret.ManagedFields = nil
	if secret.Annotations == nil {
		secret.Annotations = map[string]string{}
	}
	secret.Annotations[v1alpha1.AnnotationCredentialID] = id
	if s.hop.Spec.Token.Audience == "" {
		kubeconfig, err := r.Kubeconfig.withToken(s.hop.Namespace, s.next.ServiceAccountName, token)
		if err != nil {
			return err
		}
		secret.Data["kubeconfig"], secret.Data["ca.crt"], secret.Data["namespace"] = kubeconfig, r.Kubeconfig.CA, []byte(s.hop.Namespace)
	}
	if err := r.Update(ctx, secret, FieldOwner); err != nil {
		return fmt.Errorf("writing the token into Secret %s: %w", secret.Name, err)
	}
	return nil
}

func (k Kubeconfig) withToken(namespace, user, token string) ([]byte, error) {
	const name = "wayleave"
	config := clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: k.Server, CertificateAuthorityData: k.CA}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{user: {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: user, Namespace: namespace}},
		CurrentContext: name,
	}
	raw, err := clientcmd.Write(config)
	if err != nil {
		return nil, fmt.Errorf("writing a kubeconfig: %w", err)
	}
	return raw, nil
}

// credentialID is the id of a token as it stands in the API server's audit log. The token is our own and fresh from the
// API server, so its signature is not asked about.
func credentialID(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errors.New("the API server made a token that is no JWT")
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", fmt.Errorf("decoding the claims of a token: %w", err)
	}
	var claims struct {
		ID string `json:"jti"`
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		return "", fmt.Errorf("reading the claims of a token: %w", err)
	}
	if claims.ID == "" {
		return "", errors.New("the API server made a token without an id (claim jti)")
	}
	return claims.ID, nil
}
