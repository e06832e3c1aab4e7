package delegation

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// TestNamedSecrets: a path names a Secret whether its hops may ask the API server for it, or their pods may mount it.
func TestNamedSecrets(t *testing.T) {
	path := &v1alpha1.DelegationPath{}
	path.Namespace = "incidents"
	path.Spec.Scope.Namespaced = []v1alpha1.NamespacedScope{{Namespaces: []string{"payments"}, Rules: []v1alpha1.ResourceRule{{
		APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: []string{"db"}, Verbs: []string{"get"},
	}}}}
	get := func(namespace, name string) scope.Permission {
		return scope.Permission{Namespace: namespace, Resource: "secrets", Verb: "get", Name: name}
	}
	bounds := func(namespaces ...string) *v1alpha1.HopBounds {
		return &v1alpha1.HopBounds{Secrets: []string{"a"}, Namespaces: namespaces}
	}
	db := get("payments", "db")
	for name, tc := range map[string]struct {
		hops *v1alpha1.HopBounds
		want []scope.Permission
	}{
		"by its scope alone":                {want: []scope.Permission{db}},
		"in its own namespace":              {hops: bounds(), want: []scope.Permission{db, get("incidents", "a")}},
		"in each namespace of several hops": {hops: bounds("x", "y"), want: []scope.Permission{db, get("x", "a"), get("y", "a")}},
	} {
		t.Run(name, func(t *testing.T) {
			path.Spec.Hops = tc.hops
			if diff := cmp.Diff(tc.want, NamedSecrets(path)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
