//go:build unix

package e2e

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

var errAllowed = errors.New("it was allowed")

// wantForbidden passes on 403: the API server knows the account, or has not noticed yet that it is deleted, and RBAC gives it
// nothing. It caches what it knows of a token for ten seconds, so a token that was first used just before is forbidden first.
func wantForbidden(err error) error {
	if apierrors.IsForbidden(err) {
		return nil
	}
	return fmt.Errorf("answered: %w", orAllowed(err))
}

// wantUnauthorized passes on 401: the account or the Secret of the token is deleted, and the API server has noticed.
func wantUnauthorized(err error) error {
	if apierrors.IsUnauthorized(err) {
		return nil
	}
	return fmt.Errorf("answered: %w", orAllowed(err))
}

func orAllowed(err error) error {
	if err == nil {
		return errAllowed
	}
	return err
}

// nothingLeft waits until no object that was created for a hop exists.
func (f *fixture) nothingLeft(hop *v1alpha1.DelegationHop) {
	f.Helper()
	f.eventually("nothing to be left of hop "+hop.Name, func() error {
		for _, list := range []client.ObjectList{
			&rbacv1.RoleBindingList{}, &rbacv1.ClusterRoleBindingList{}, &rbacv1.RoleList{}, &rbacv1.ClusterRoleList{},
			&corev1.ServiceAccountList{}, &corev1.SecretList{},
		} {
			if err := suite.admin.List(f.Context(), list, client.MatchingLabels{v1alpha1.LabelHopUID: string(hop.UID)}); err != nil {
				return err
			}
			if n := meta.LenList(list); n > 0 {
				return fmt.Errorf("%d of %T", n, list)
			}
		}
		return nil
	})
}
