package delegation

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// NamedSecrets are the permissions of a path on Secrets that it names: those of its scope, unless that cannot be parsed, and what its
// hops may list for their pods to read.
func NamedSecrets(path *v1alpha1.DelegationPath) []scope.Permission {
	set, _ := scope.Parse(path.Spec.Scope)
	var secrets []scope.Permission
	for _, p := range set.Permissions() {
		if p.APIGroup == "" && p.Resource == "secrets" && p.Name != "" {
			secrets = append(secrets, p)
		}
	}
	if path.Spec.Hops == nil {
		return secrets
	}
	for _, namespace := range HopNamespaces(path) {
		for _, name := range path.Spec.Hops.Secrets {
			secrets = append(secrets, scope.Permission{Namespace: namespace, Resource: "secrets", Verb: "get", Name: name})
		}
	}
	return secrets
}

// TokenSecret is the Secret that a hop keeps its token in; empty where it keeps none.
func TokenSecret(hop *v1alpha1.DelegationHop) types.NamespacedName {
	if hop.Status.Credential == nil {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: hop.Namespace, Name: hop.Status.Credential.SecretName}
}

// NamedTokenSecret is the Secret that a hop names for its token; empty where it names none.
func NamedTokenSecret(hop *v1alpha1.DelegationHop) types.NamespacedName {
	if hop.Spec.Token == nil {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: hop.Namespace, Name: hop.Spec.Token.SecretName}
}

// NamedFirst says whether a path was active, and so named its Secrets, before a hop was. Who comes second gives way: a hop
// that takes the name of a Secret must not end the path that names it, and a path must not read the token of a hop.
func NamedFirst(path *v1alpha1.DelegationPath, hop *v1alpha1.DelegationHop) bool {
	since := hop.Status.ActiveSince
	return IsActive(path) && (since == nil || path.Status.ActiveSince.Before(since))
}

// IsActive says whether a path began and has not ended.
func IsActive(path *v1alpha1.DelegationPath) bool {
	return path.Status.ActiveSince != nil && ReadyReason(path.Status.Conditions).Class() != v1alpha1.ClassFinal
}

// checkTokenName checks that the Secret of the hop asked about is not one that a path named before.
func (e *evaluation) checkTokenName() {
	hop := e.in.Chain.Last()
	if hop == nil || hop.Spec.Token == nil {
		return
	}
	e.reportAnswer(e.in.Facts.TokenName, Finding{
		Reason: v1alpha1.ReasonSecretTaken, Field: "spec.token.secretName",
		Message: fmt.Sprintf("a path names Secret %q, which would hold the token, in its scope or in hops.secrets: name another one",
			hop.Spec.Token.SecretName),
	}, "whether a path names the Secret")
}

// checkTokenSecrets checks that the path names no Secret with the token of a hop.
func (e *evaluation) checkTokenSecrets(n node) {
	e.reportAnswer(e.in.Facts.TokenSecrets, Finding{
		Reason: v1alpha1.ReasonScopeAmplifies, Node: n.name, Field: "spec.scope", Message: fmt.Sprintf(
			"%s does not fit in a path: a hop keeps its token there, and the bearer would act as that hop; leave it out",
			scope.Describe(e.in.Facts.TokenSecrets.Missing)),
	}, "whether a hop of another path keeps its token in a Secret of the scope")
}
