package rbac

import (
	"fmt"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// TestCeilingsThatAreNotAllRead: whoever may bind the controller in a namespace, as often as they like, does not hide what a ceiling
// demands.
func TestCeilingsThatAreNotAllRead(t *testing.T) {
	user := rbacv1.Subject{Kind: rbacv1.UserKind, Name: "wayleave"}
	ceiling := clusterRole("strict", "get", "true")
	ceiling.SetAnnotations(map[string]string{v1alpha1.AnnotationRequiresApproval: "true"})
	objects := []client.Object{ceiling, bindingTo("payments", "z", "strict", user)}
	set := scope.Of(scope.Permission{Namespace: "payments", Resource: "pods", Verb: "get"})
	visited := 0
	visit := func(string, map[string]string) { visited++ }
	if err := reader(t, objects).Ceilings(t.Context(), "wayleave", set, visit); err != nil || visited != 1 {
		t.Fatalf("%d ceilings are visited (%v)", visited, err)
	}
	for i := range maxBindings {
		objects = append(objects, bindingTo("payments", fmt.Sprintf("a%d", i), "view", user))
	}
	visited = 0
	if err := reader(t, objects).Ceilings(t.Context(), "wayleave", set, visit); err == nil {
		t.Errorf("where not all bindings are read, %d ceilings are visited, without an error", visited)
	}
}
