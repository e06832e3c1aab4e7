package facts

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"
	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
	"github.com/wayleave/wayleave/internal/scope"
)

// Reviewer creates SubjectAccessReviews. A client.Client is one.
type Reviewer interface {
	Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error
}

const (
	// reviewsAtOnce bounds the questions that one answer asks at the same time.
	reviewsAtOnce = 8
	// enoughDenied is how many missing permissions are named; then no more is asked. Without it, a scope of a thousand permissions that
	// its origin does not hold would cost a thousand requests.
	enoughDenied = 8
)

// May answers whether a subject may do all that a set names. RBAC is read from the cache first; what it does not cover
// is asked of the API server, whose other authorizers may allow it. A fresh gatherer asks the API server alone. Audiences are no
// RBAC right and are left out.
func (g *Gatherer) May(ctx context.Context, who v1alpha1.Subject, set scope.Set) delegation.Answer {
	if g.fresh {
		return g.review(ctx, who, set.MissingFrom(scope.Rights{}))
	}
	held, _, err := rbac.Reader{Cache: g.Cache}.Of(ctx, who, set.Namespaces())
	if err != nil {
		return delegation.Answer{Detail: err.Error()}
	}
	return g.review(ctx, who, set.MissingFrom(held))
}

// MayImpersonate answers whether a subject may act as another one, with each of its groups.
func (g *Gatherer) MayImpersonate(ctx context.Context, who, other v1alpha1.Subject) delegation.Answer {
	questions := make([]scope.Permission, 0, 1+len(other.Groups))
	if account, ok := rbac.ServiceAccountOf(other.User); ok {
		questions = append(
			questions,
			scope.Permission{Namespace: account.Namespace, Resource: "serviceaccounts", Verb: "impersonate", Name: account.Name},
		)
	} else {
		questions = append(questions, scope.Permission{Resource: "users", Verb: "impersonate", Name: other.User})
	}
	for _, group := range other.Groups {
		questions = append(questions, scope.Permission{Resource: "groups", Verb: "impersonate", Name: group})
	}
	return g.review(ctx, who, questions)
}

// review asks the API server about each permission. One denied is a Deny; else one without an answer is Undetermined.
func (g *Gatherer) review(ctx context.Context, who v1alpha1.Subject, permissions []scope.Permission) delegation.Answer {
	var (
		mu      sync.Mutex
		missing []scope.Permission
		unknown []string
	)
	for batch := range slices.Chunk(permissions, reviewsAtOnce) {
		var group errgroup.Group
		for _, permission := range batch {
			group.Go(func() error {
				allowed, detail := g.ask(ctx, who, permission)
				mu.Lock()
				defer mu.Unlock()
				switch {
				case detail != "":
					unknown = append(unknown, detail)
				case !allowed:
					missing = append(missing, permission)
				}
				return nil
			})
		}
		_ = group.Wait() // the questions answer through the lists above
		if len(missing) >= enoughDenied || len(unknown) > 0 {
			break
		}
	}
	switch {
	case len(missing) > 0:
		return delegation.Answer{Outcome: delegation.Deny, Missing: inOrder(permissions, missing)}
	case len(unknown) > 0:
		return delegation.Answer{Detail: unknown[0]}
	}
	return delegation.Answer{Outcome: delegation.Allow}
}

// ask asks one question. The detail says why there is no answer.
func (g *Gatherer) ask(ctx context.Context, who v1alpha1.Subject, a scope.Permission) (allowed bool, detail string) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: who.User, Groups: rbac.Groups(who),
	}}
	if a.URL != "" {
		review.Spec.NonResourceAttributes = &authorizationv1.NonResourceAttributes{Path: a.URL, Verb: a.Verb}
	} else {
		resource, subresource, _ := strings.Cut(a.Resource, "/")
		review.Spec.ResourceAttributes = &authorizationv1.ResourceAttributes{
			Namespace: a.Namespace, Verb: a.Verb, Group: a.APIGroup, Version: "*",
			Resource: resource, Subresource: subresource, Name: a.Name,
		}
	}
	if err := g.Access.Create(ctx, review); err != nil {
		return false, fmt.Sprintf("asking whether %q may %s: %s", who.User, a, delegation.APIMessage(err, "there was no answer"))
	}
	if !review.Status.Allowed && review.Status.EvaluationError != "" {
		return false, fmt.Sprintf("asking whether %q may %s: %s", who.User, a, review.Status.EvaluationError)
	}
	return review.Status.Allowed, ""
}

// inOrder returns those of the permissions that are in some, in the order of permissions: answers come in any order, messages do
// not.
func inOrder(permissions, some []scope.Permission) []scope.Permission {
	among := make(map[scope.Permission]bool, len(some))
	for _, a := range some {
		among[a] = true
	}
	ordered := make([]scope.Permission, 0, len(some))
	for _, a := range permissions {
		if among[a] {
			ordered = append(ordered, a)
		}
	}
	return ordered
}
