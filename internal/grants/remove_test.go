package grants

import (
	"errors"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/internal/delegation"
)

// A tenant's Role with our labels and a finalizer once kept a revoked hop from ever being reported as withdrawn.
func TestWhatCountsAsLeft(t *testing.T) {
	object := func(kind delegation.Kind, uid types.UID, deleting bool) delegation.Object {
		return delegation.Object{Kind: kind, UID: uid, Deleting: deleting}
	}
	removed := []delegation.Object{
		object(delegation.ServiceAccount, "account", false), object(delegation.Secret, "secret", false),
		object(delegation.Role, "role", false), object(delegation.RoleBinding, "binding", false),
	}
	for name, c := range map[string]struct {
		after []delegation.Object
		want  types.UID
	}{
		"nothing":                           {},
		"an account held by a finalizer":    {after: []delegation.Object{object(delegation.ServiceAccount, "account", true)}, want: "account"},
		"a Secret held by a finalizer":      {after: []delegation.Object{object(delegation.Secret, "secret", true)}, want: "secret"},
		"a Role held by a finalizer":        {after: []delegation.Object{object(delegation.Role, "role", true)}},
		"a binding held by a finalizer":     {after: []delegation.Object{object(delegation.RoleBinding, "binding", true)}},
		"a binding that was not deleted":    {after: []delegation.Object{object(delegation.RoleBinding, "binding", false)}, want: "binding"},
		"a Role that was created meanwhile": {after: []delegation.Object{object(delegation.Role, "other", false)}},
		"an account that is not the hop's":  {after: []delegation.Object{object(delegation.ServiceAccount, "other", true)}},
	} {
		t.Run(name, func(t *testing.T) {
			left, _ := errors.AsType[delegation.LeftoverError](stillExists(removed, c.after))
			if left.Object.UID != c.want {
				t.Errorf("left is %q, want %q", left.Object.UID, c.want)
			}
		})
	}
}
