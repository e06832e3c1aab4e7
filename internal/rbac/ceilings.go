package rbac

import (
	"context"
	"errors"
	"maps"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// terms are the annotations of a ceiling that demand something of the paths that use it.
var terms = []string{v1alpha1.AnnotationRequiresApproval, v1alpha1.AnnotationMaxLifetime, v1alpha1.AnnotationMaxDepth}

// SameTerms says whether two versions of an object demand the same of the paths that use it, if they are a ceiling.
func SameTerms(before, after client.Object) bool {
	return IsCeiling(before) == IsCeiling(after) && !slices.ContainsFunc(terms, func(key string) bool {
		old, had := before.GetAnnotations()[key]
		now, has := after.GetAnnotations()[key]
		return had != has || old != now
	})
}

// errNotAllRead says that there may be a ceiling that was not read, and what it demands is not known.
var errNotAllRead = errors.New("more roles are bound to the controller than are read for one answer")

// Ceilings visits the ceilings with annotations that demand something, and that give the controller, a user name, a part of a set. It fails
// where not all could be read: whoever administers a namespace can bind the controller there as often as they like.
func (r Reader) Ceilings(
	ctx context.Context, controller string, set scope.Set, visit func(role string, annotations map[string]string),
) error {
	whole := len(set.MissingFrom(scope.Rights{}))
	demands := map[string]*rbacv1.ClusterRole{}
	_, complete, err := r.collect(ctx, Keys(v1alpha1.Subject{User: controller}), set.Namespaces(), func(role *rbacv1.ClusterRole) bool {
		if role != nil && IsCeiling(role) && slices.ContainsFunc(terms, func(key string) bool { _, ok := role.Annotations[key]; return ok }) {
			demands[role.Name] = role
		}
		return false
	})
	if err != nil {
		return err
	}
	if !complete {
		return errNotAllRead
	}
	for _, name := range slices.Sorted(maps.Keys(demands)) { // what is said of a path must be the same each time
		rights, complete, err := r.collect(ctx, Keys(v1alpha1.Subject{User: controller}), set.Namespaces(), func(c *rbacv1.ClusterRole) bool {
			return c != nil && c.Name == name
		})
		if err != nil {
			return err
		}
		if !complete || len(set.MissingFrom(rights)) < whole {
			visit(name, demands[name].Annotations)
		}
	}
	return nil
}
