package delegation

import (
	"cmp"
	"slices"
	"time"

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

// removal is the order in which kinds are deleted. Bindings are first, since the API server denies requests within
// milliseconds of their deletion; then what authenticates; then the roles, which give nothing by themselves.
var removal = map[Kind]int{
	RoleBinding: 0, ClusterRoleBinding: 0,
	ServiceAccount: 1, Secret: 1,
	Role: 2, ClusterRole: 2,
}

// creation is the order in which kinds are created: an object is created after what it refers to.
var creation = map[Kind]int{
	ServiceAccount: 0,
	Role:           1, ClusterRole: 1,
	RoleBinding: 2, ClusterRoleBinding: 2,
	Secret: 3,
}

// Ownership says for whom an observed object was created.
type Ownership string

// The owners of an observed object.
const (
	// OwnedByHop: it was created for the hop.
	OwnedByHop Ownership = ""
	// OwnedByPredecessor: it was created for an earlier hop of the same name.
	OwnedByPredecessor Ownership = "Predecessor"
	// OwnedByOthers: it has a name that the hop needs and was not created for it. It is never touched.
	OwnedByOthers Ownership = "Others"
)

// Object is one object of a grant, desired or observed.
type Object struct {
	Kind Kind
	Key  types.NamespacedName
	// Content is what the object says, in a form that can be compared: rules, a reference and its subjects, how an account
	// was created, the audience of a token. Empty where the existence is all.
	Content string
	// Life is how long the token in a Secret lives from its issue; on a desired Secret, the longest that it may.
	Life time.Duration

	// UID is that of the object which was observed; empty on one that is to be created.
	UID types.UID

	// The following are set on observed objects only.

	// Ownership says for whom it was created.
	Ownership Ownership
	// Unlabelled is true for an object that has lost labels of the grant. They are applied again: with them it is found, by
	// the controller and by an administrator who ends a path by hand.
	Unlabelled bool
	// Deleting is true for an object that is being deleted.
	Deleting bool
	// CredentialID is the id of the token in a Secret.
	CredentialID string
}

// lifeSlack allows for the times of a credential, which have no fractions of seconds.
const lifeSlack = 2 * time.Second

// matches says whether an observed object is as desired. A token that lives longer than it may does not match.
func (o Object) matches(observed Object) bool {
	return observed.Content == o.Content && observed.Life <= o.Life+lifeSlack &&
		observed.Ownership == OwnedByHop && !observed.Deleting
}

// isBinding: the reference of a binding is immutable.
func (o Object) isBinding() bool { return o.Kind == RoleBinding || o.Kind == ClusterRoleBinding }

// Step is a group of objects that can be written in any order, or at the same time.
type Step []Object

// Plan says how to get from what is observed to what is desired: Discard, then Remove, then Make.
type Plan struct {
	// Discard has what must be deleted before anything is created: a Secret whose token is too broad, or that an earlier hop of
	// the name left, and what has lost its labels, since nothing finds it once the status names another identity.
	Discard []Object
	Remove  []Step
	Make    []Step
	Keep    []Object
	// Blocked has the desired names that are taken by objects that are not the hop's.
	Blocked []Object
}

// Empty says whether there is nothing to do.
func (p Plan) Empty() bool {
	return len(p.Discard) == 0 && len(p.Remove) == 0 && len(p.Make) == 0 && len(p.Blocked) == 0
}

// TakeUnboundRoles takes out of the plan the roles that it makes, if no binding exists or is to be removed: they give nothing
// yet, so they can be written before it is certain that anything is granted.
func (p *Plan) TakeUnboundRoles() Step {
	kept := slices.ContainsFunc(p.Keep, Object.isBinding)
	rewritten := slices.ContainsFunc(slices.Concat(p.Make...), func(o Object) bool { return o.isBinding() && o.UID != "" })
	if kept || rewritten || len(p.Remove) > 0 || len(p.Make) == 0 {
		return nil
	}
	first := p.Make[0]
	if slices.ContainsFunc(first, func(o Object) bool { return o.Kind != Role && o.Kind != ClusterRole }) {
		return nil
	}
	p.Make = p.Make[1:]
	return first
}

type identity struct {
	kind Kind
	key  types.NamespacedName
}

// Makes says whether the plan creates or applies an object of a kind.
func (p Plan) Makes(kind Kind) bool {
	return slices.ContainsFunc(p.Make, func(s Step) bool {
		return slices.ContainsFunc(s, func(o Object) bool { return o.Kind == kind })
	})
}

// PlanFor plans the grant of a hop. The same input gives the same plan.
func PlanFor(g Grant, useLives bool, observed []Object) Plan {
	return planFor(g.Objects(useLives), observed)
}

// RemovalOf plans the removal of all objects of a grant. What is not the hop's stays.
func RemovalOf(observed []Object) []Step {
	own := slices.DeleteFunc(slices.Clone(observed), func(o Object) bool { return o.Ownership == OwnedByOthers })
	return steps(own, removal)
}

func planFor(desired, observed []Object) Plan {
	want := make(map[identity]Object, len(desired))
	for _, o := range desired {
		want[identity{o.Kind, o.Key}] = o
	}
	done := make(map[identity]bool, len(observed)) // nothing has to be written for these
	var plan Plan
	var remove, produce []Object
	for _, o := range observed {
		id := identity{o.Kind, o.Key}
		d, wanted := want[id]
		switch fateOf(o, d, wanted) {
		case blocks:
			plan.Blocked = append(plan.Blocked, o)
			done[id] = true
		case stays:
			plan.Keep = append(plan.Keep, o)
			done[id] = true
		case discarded:
			plan.Discard = append(plan.Discard, o)
		case removed:
			remove = append(remove, o)
		case rewritten:
			d.UID = o.UID
			want[id] = d
		case ignored:
		}
	}
	for id, o := range want {
		if !done[id] {
			produce = append(produce, o)
		}
	}
	plan.Remove = steps(remove, removal)
	plan.Make = steps(produce, creation)
	for _, list := range [][]Object{plan.Discard, plan.Keep, plan.Blocked} {
		slices.SortFunc(list, compareObjects)
	}
	return plan
}

// fate is what a plan does with an observed object.
type fate int

const (
	ignored fate = iota
	blocks
	stays
	discarded
	removed
	// rewritten is an object that is applied again.
	rewritten
)

func fateOf(o, desired Object, wanted bool) fate {
	switch {
	case o.Ownership == OwnedByOthers && wanted:
		return blocks
	case o.Ownership == OwnedByOthers:
		return ignored
	case !wanted && o.Unlabelled:
		return discarded
	case !wanted:
		return removed
	case desired.matches(o) && !o.Unlabelled:
		return stays
	case desired.matches(o):
		return rewritten
	case o.Kind == Secret:
		return discarded
	case o.isBinding():
		return removed
	}
	return rewritten
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
