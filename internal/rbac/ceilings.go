package rbac

import (
	"context"
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

// Ceilings visits the ceilings with annotations that demand something, and that give the controller, a user name, a part of a set.
func (r Reader) Ceilings(
	ctx context.Context, controller string, set scope.Set, visit func(role string, annotations map[string]string),
) error {
	whole := len(set.MissingFrom(scope.Rights{}))
	demands := map[string]*rbacv1.ClusterRole{}
	if _, _, err := r.collect(ctx, Keys(v1alpha1.Subject{User: controller}), set.Namespaces(), func(role *rbacv1.ClusterRole) bool {
		if role != nil && IsCeiling(role) && slices.ContainsFunc(terms, func(key string) bool { _, ok := role.Annotations[key]; return ok }) {
			demands[role.Name] = role
		}
		return false
	}); err != nil {
		return err
	}
	for name, role := range demands {
		rights, _, err := r.collect(ctx, Keys(v1alpha1.Subject{User: controller}), set.Namespaces(), func(c *rbacv1.ClusterRole) bool {
			return c != nil && c.Name == name
		})
		if err != nil {
			return err
		}
		if len(set.MissingFrom(rights)) < whole {
			visit(name, role.Annotations)
		}
	}
	return nil
}
