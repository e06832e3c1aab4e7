package rbac

import (
	"fmt"
	"slices"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// TestCeilingsInOrder: what is said of a path must be the same each time, or its status is written again and again.
func TestCeilingsInOrder(t *testing.T) {
	user := rbacv1.Subject{Kind: rbacv1.UserKind, Name: "wayleave"}
	var objects []client.Object
	for i := range 8 {
		name := fmt.Sprintf("c%d", i)
		ceiling := clusterRole(name, "get", "true")
		ceiling.SetAnnotations(map[string]string{v1alpha1.AnnotationMaxLifetime: "1h"})
		objects = append(objects, ceiling, bindingTo("payments", name, name, user))
	}
	set := scope.Of(scope.Permission{Namespace: "payments", Resource: "pods", Verb: "get"})
	var visited []string
	visit := func(role string, _ map[string]string) { visited = append(visited, role) }
	err := reader(t, objects).Ceilings(t.Context(), "wayleave", set, visit)
	if err != nil || len(visited) != 8 || !slices.IsSorted(visited) {
		t.Errorf("visited are %v (%v)", visited, err)
	}
}

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
