package facts

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/scope"
)

// secretIndex is the field index, a namespace/name, of paths by the Secrets that they name.
const secretIndex = "secret"

func indexSecrets(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &v1alpha1.DelegationPath{}, secretIndex, func(o client.Object) []string {
		path, ok := o.(*v1alpha1.DelegationPath)
		if !ok {
			return nil
		}
		var keys []string
		for _, p := range delegation.NamedSecrets(path) {
			keys = append(keys, secretOf(p).String())
		}
		slices.Sort(keys)
		return slices.Compact(keys)
	}); err != nil {
		return fmt.Errorf("indexing paths by Secret: %w", err)
	}
	return nil
}

func secretOf(p scope.Permission) types.NamespacedName {
	return types.NamespacedName{Namespace: p.Namespace, Name: p.Name}
}

// tokenSecrets answers whether the Secrets that a path names are free of the tokens of hops. It is asked where the origin may
// do what the path says: anybody else would learn where tokens are.
func (g *Gatherer) tokenSecrets(ctx context.Context, path *v1alpha1.DelegationPath, origin delegation.Answer) delegation.Answer {
	answer := delegation.Answer{Outcome: delegation.Allow}
	if origin.Outcome != delegation.Allow {
		return answer
	}
	for _, p := range delegation.NamedSecrets(path) {
		holders, err := Hops{Reader: g.Cache}.All(ctx, client.MatchingFields{tokenIndex: secretOf(p).String()})
		if err != nil {
			return delegation.Answer{Detail: err.Error()}
		}
		if slices.ContainsFunc(holders, func(h *v1alpha1.DelegationHop) bool { return !delegation.NamedFirst(path, h) }) {
			answer.Outcome, answer.Missing = delegation.Deny, append(answer.Missing, p)
		}
	}
	return answer
}

// tokenName answers whether no path named the Secret of a hop before the hop had it.
func (g *Gatherer) tokenName(ctx context.Context, hop *v1alpha1.DelegationHop) delegation.Answer {
	answer := delegation.Answer{Outcome: delegation.Allow}
	if hop.Spec.Token == nil {
		return answer
	}
	var list v1alpha1.DelegationPathList
	secret := client.MatchingFields{secretIndex: delegation.NamedTokenSecret(hop).String()}
	if err := g.Cache.List(ctx, &list, secret, client.UnsafeDisableDeepCopy); err != nil {
		return delegation.Answer{Detail: err.Error()}
	}
	if slices.ContainsFunc(list.Items, func(p v1alpha1.DelegationPath) bool { return delegation.NamedFirst(&p, hop) }) {
		answer.Outcome = delegation.Deny
	}
	return answer
}

// WithToken returns the hops that keep a token in a Secret.
func (l Hops) WithToken(ctx context.Context) ([]*v1alpha1.DelegationHop, error) {
	hops, err := l.All(ctx)
	return slices.DeleteFunc(hops, func(h *v1alpha1.DelegationHop) bool { return !delegation.HasToken(h) }), err
}

// NamingSecretsOf returns the hops that name for their token a Secret which a path names.
func (l Hops) NamingSecretsOf(ctx context.Context, path *v1alpha1.DelegationPath) ([]*v1alpha1.DelegationHop, error) {
	var hops []*v1alpha1.DelegationHop
	for _, p := range delegation.NamedSecrets(path) {
		some, err := l.All(ctx, client.MatchingFields{nameIndex: secretOf(p).String()})
		if err != nil {
			return nil, err
		}
		hops = append(hops, some...)
	}
	return hops, nil
}

// PathsNaming returns the paths that name a Secret.
func (l Hops) PathsNaming(ctx context.Context, secret types.NamespacedName) ([]types.NamespacedName, error) {
	var list v1alpha1.DelegationPathList
	if err := l.List(ctx, &list, client.MatchingFields{secretIndex: secret.String()}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the paths that name Secret %s: %w", secret, err)
	}
	keys := make([]types.NamespacedName, len(list.Items))
	for i := range list.Items {
		keys[i] = client.ObjectKeyFromObject(&list.Items[i])
	}
	return keys, nil
}
