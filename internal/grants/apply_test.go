package grants

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func TestAsDenied(t *testing.T) {
	roles := schema.GroupResource{Group: rbacv1.GroupName, Resource: "roles"}
	terminating := apierrors.NewForbidden(roles, "x", errors.New("it is being terminated"))
	terminating.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: corev1.NamespaceTerminatingCause}}
	for name, c := range map[string]struct {
		err  error
		want v1alpha1.Reason // empty: not a denial
	}{
		"more than the controller holds": {
			err:  apierrors.NewForbidden(roles, "x", errors.New(`user "wayleave" is `+notHeld+`: {"pods"}`)),
			want: v1alpha1.ReasonScopeExceedsCeiling,
		},
		"a quota": {
			err: apierrors.NewForbidden(roles, "x", errors.New("exceeded quota: few")), want: v1alpha1.ReasonGrantDenied,
		},
		"a policy": {
			err: apierrors.NewInvalid(schema.GroupKind{Group: rbacv1.GroupName, Kind: "Role"}, "x", nil), want: v1alpha1.ReasonGrantDenied,
		},
		"no namespace": {
			err: apierrors.NewNotFound(schema.GroupResource{Resource: "namespaces"}, "on"), want: v1alpha1.ReasonNamespaceNotFound,
		},
		"a namespace that is being deleted": {err: terminating, want: v1alpha1.ReasonNamespaceNotFound},
		"the Role is gone":                  {err: apierrors.NewNotFound(roles, "x")},
		"the API server is overloaded":      {err: apierrors.NewTooManyRequests("later", 1)},
	} {
		var got v1alpha1.Reason
		if denied := (DeniedError{}); errors.As(asDenied(fmt.Errorf("applying it: %w", c.err)), &denied) {
			got = denied.Reason
		}
		if got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
