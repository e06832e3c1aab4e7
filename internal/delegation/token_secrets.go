package delegation

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// NamedSecrets are the permissions of a scope on Secrets that it names; none for a scope that cannot be parsed.
func NamedSecrets(s v1alpha1.Scope) []scope.Permission {
	set, _ := scope.Parse(s)
	var secrets []scope.Permission
	for _, p := range set.Permissions() {
		if p.APIGroup == "" && p.Resource == "secrets" && p.Name != "" {
			secrets = append(secrets, p)
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

// checkTokenSecrets checks that the path names no Secret with the token of another path's hop.
func (e *evaluation) checkTokenSecrets(n node) {
	e.reportAnswer(e.in.Facts.TokenSecrets, Finding{
		Reason: v1alpha1.ReasonScopeAmplifies, Node: n.name, Field: "spec.scope", Message: fmt.Sprintf(
			"%s does not fit in a scope: a hop of another path keeps its token there, and the bearer would act as that hop; leave it out",
			scope.Describe(e.in.Facts.TokenSecrets.Missing)),
	}, "whether a hop of another path keeps its token in a Secret of the scope")
}
