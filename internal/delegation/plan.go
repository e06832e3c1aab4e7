package delegation

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Kind is a kind of object that a grant is made of.
type Kind string

// The kinds of a grant.
const (
	ServiceAccount     Kind = "ServiceAccount"
	Secret             Kind = "Secret"
	Role               Kind = "Role"
	RoleBinding        Kind = "RoleBinding"
	ClusterRole        Kind = "ClusterRole"
	ClusterRoleBinding Kind = "ClusterRoleBinding"
)

// removal is the order in which kinds go. Bindings go first, since the API server feels their absence within
// milliseconds; then what authenticates; then the roles, which give nothing by themselves.
var removal = map[Kind]int{
	RoleBinding: 0, ClusterRoleBinding: 0,
	ServiceAccount: 1, Secret: 1,
	Role: 2, ClusterRole: 2,
}

// creation is the order in which kinds come: nothing refers to what is not there yet.
var creation = map[Kind]int{
	ServiceAccount: 0,
	Role:           1, ClusterRole: 1,
	RoleBinding: 2, ClusterRoleBinding: 2,
	Secret: 3,
}

// Object is one object of a grant, desired or observed.
type Object struct {
	Kind Kind
	Key  types.NamespacedName
	// UID is that of an observed object.
	UID types.UID
	// Content is what the object says, in a form that can be compared; empty where its existence is all.
	Content string
}

// Step is a group of objects that can be written in any order, or at the same time.
type Step []Object

// Plan says how to get from what is observed to what is desired. All of Remove comes before any of Make.
type Plan struct {
	Remove []Step
	Make   []Step
	Keep   []Object
}

// Empty says whether there is nothing to do.
func (p Plan) Empty() bool { return len(p.Remove) == 0 && len(p.Make) == 0 }

type identity struct {
	kind Kind
	key  types.NamespacedName
}

// PlanFor plans. An object that says something else than desired is removed if it is a binding, whose reference
// cannot be changed, and otherwise written over. The same input gives the same plan.
func PlanFor(desired, observed []Object) Plan {
	want := make(map[identity]Object, len(desired))
	for _, o := range desired {
		want[identity{o.Kind, o.Key}] = o
	}
	stands := make(map[identity]bool, len(observed))
	var plan Plan
	var remove, produce []Object
	for _, o := range observed {
		id := identity{o.Kind, o.Key}
		d, wanted := want[id]
		switch {
		case wanted && d.Content == o.Content:
			plan.Keep = append(plan.Keep, o)
			stands[id] = true
		case !wanted || o.Kind == RoleBinding || o.Kind == ClusterRoleBinding:
			remove = append(remove, o)
		}
	}
	for id, o := range want {
		if !stands[id] {
			produce = append(produce, o)
		}
	}
	plan.Remove = steps(remove, removal)
	plan.Make = steps(produce, creation)
	slices.SortFunc(plan.Keep, compareObjects)
	return plan
}

// steps groups objects by their rank.
func steps(objects []Object, rank map[Kind]int) []Step {
	slices.SortFunc(objects, func(a, b Object) int {
		return cmp.Or(cmp.Compare(rank[a.Kind], rank[b.Kind]), compareObjects(a, b))
	})
	var grouped []Step
	for i, o := range objects {
		if i == 0 || rank[o.Kind] != rank[objects[i-1].Kind] {
			grouped = append(grouped, nil)
		}
		last := len(grouped) - 1
		grouped[last] = append(grouped[last], o)
	}
	return grouped
}

func compareObjects(a, b Object) int {
	return cmp.Or(
		cmp.Compare(a.Kind, b.Kind),
		cmp.Compare(a.Key.Namespace, b.Key.Namespace),
		cmp.Compare(a.Key.Name, b.Key.Name),
		cmp.Compare(a.UID, b.UID))
}

// RoleContent is the comparable form of a role's rules.
func RoleContent(rules []rbacv1.PolicyRule) string { return content(rules) }

// BindingContent is the comparable form of a binding.
func BindingContent(ref rbacv1.RoleRef, subjects []rbacv1.Subject) string {
	return content(struct {
		Ref      rbacv1.RoleRef
		Subjects []rbacv1.Subject
	}{ref, subjects})
}

func content(v any) string {
	raw, err := json.Marshal(v)
	if err != nil { // plain structs of strings always marshal; should that change, nothing compares equal
		return fmt.Sprintf("unreadable: %v", err)
	}
	return string(raw)
}
