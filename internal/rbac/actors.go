package rbac

import (
	"context"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// maxActors bounds how many are found: no one reads more, and the answer is no after the first.
const maxActors = 64

// Actor is who can act as accounts of a namespace, or read Secrets there.
type Actor struct {
	// Who is a subject of a binding, By the binding, and Can what it lets them do.
	Who, By, Can string
	// Secrets is true where they can read Secrets, and nothing more.
	Secrets bool
	// Names are the objects of which they can do so; nil means all.
	Names []string
}

// String is a sentence without an end.
func (a Actor) String() string { return a.Who + " can " + a.Can + " (" + a.By + ")" }

// Actors returns who can impersonate accounts of a namespace, request their tokens, or read Secrets there: by bindings in the namespace
// and by those of the whole cluster, but for those that every cluster has, and for administrators of the whole cluster, who can give
// themselves anything. A user who is trusted is left out. It is incomplete where reading it all would cost too much.
func (r Reader) Actors(ctx context.Context, namespace, trusted string) (actors []Actor, complete bool, err error) {
	f := actorFinder{reader: r, namespace: namespace, trusted: userKey(trusted)}
	var list rbacv1.RoleBindingList
	if err := r.Cache.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, false, fmt.Errorf("listing RoleBindings in namespace %s: %w", namespace, err)
	}
	list.Items = slices.DeleteFunc(list.Items, func(b rbacv1.RoleBinding) bool { return IsGrant(&b) })
	for i := range list.Items[:min(len(list.Items), maxBindings)] {
		b := &list.Items[i]
		if err := f.binding(ctx, b, "RoleBinding "+b.Namespace+"/"+b.Name, b.RoleRef, b.Subjects); err != nil {
			return nil, false, err
		}
	}
	var cluster rbacv1.ClusterRoleBindingList
	if err := r.Cache.List(ctx, &cluster, client.UnsafeDisableDeepCopy); err != nil { // administrators make these
		return nil, false, fmt.Errorf("listing ClusterRoleBindings: %w", err)
	}
	for i := range cluster.Items {
		b := &cluster.Items[i]
		if err := f.binding(ctx, b, "ClusterRoleBinding "+b.Name, b.RoleRef, b.Subjects); err != nil {
			return nil, false, err
		}
	}
	slices.SortFunc(f.actors, func(a, b Actor) int { return strings.Compare(a.String(), b.String()) }) // the cache has no order
	return f.actors, len(list.Items) <= maxBindings && len(f.actors) < maxActors, nil
}

// IsGrant says whether an object is part of what a hop was granted. No scope lets a hop act as another one.
func IsGrant(o client.Object) bool {
	return o.GetLabels()[v1alpha1.LabelHopUID] != "" && strings.HasPrefix(o.GetName(), v1alpha1.AccountPrefix)
}

// actorFinder finds who can act as the accounts of a namespace.
type actorFinder struct {
	reader             Reader
	namespace, trusted string
	actors             []Actor
}

func (f *actorFinder) binding(ctx context.Context, b client.Object, by string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) error {
	if isDefault(b) || b.GetName() == "cluster-admin" && b.GetNamespace() == "" || len(subjects) == 0 {
		return nil
	}
	c := &collector{reader: f.reader.Cache, counts: func(*rbacv1.ClusterRole) bool { return true }}
	rules, err := c.read(ctx, ref, b.GetNamespace())
	if err != nil || b.GetNamespace() == "" && slices.ContainsFunc(rules, isEverything) {
		return err
	}
	for i := range rules {
		for _, can := range powersOf(&rules[i]) {
			for _, s := range subjects {
				f.add(s, by, can, rules[i].ResourceNames)
			}
		}
	}
	return nil
}

func (f *actorFinder) add(s rbacv1.Subject, by string, can power, names []string) {
	if len(f.actors) >= maxActors || slices.Contains(subjectKeys([]rbacv1.Subject{s}, f.namespace), f.trusted) {
		return
	}
	who := s.Kind + " " + s.Name
	if s.Kind == rbacv1.ServiceAccountKind && s.Namespace != "" {
		who = s.Kind + " " + s.Namespace + "/" + s.Name
	}
	f.actors = append(f.actors, Actor{Who: who, By: by, Can: can.words, Secrets: can.secrets, Names: names})
}

// power is what lets somebody act as an account.
type power struct {
	words   string
	secrets bool
	is      func(*rbacv1.PolicyRule) bool
}

// powers are all of them. Newer releases know impersonation of one kind of user alone, which is asked by verbs of their own.
var powers = []power{
	{words: "impersonate its accounts", is: func(r *rbacv1.PolicyRule) bool {
		return has(r.Resources, "serviceaccounts") && slices.ContainsFunc(r.Verbs, func(verb string) bool {
			return verb == rbacv1.VerbAll || verb == "impersonate" || verb == "impersonate:serviceaccount"
		}) && (has(r.APIGroups, "") || has(r.APIGroups, "authentication.k8s.io"))
	}},
	{words: "request tokens of its accounts", is: func(r *rbacv1.PolicyRule) bool {
		return has(r.APIGroups, "") && has(r.Resources, "serviceaccounts/token") && has(r.Verbs, "create")
	}},
	{words: "read its Secrets", secrets: true, is: func(r *rbacv1.PolicyRule) bool {
		return has(r.APIGroups, "") && has(r.Resources, "secrets") &&
			(has(r.Verbs, "get") || has(r.Verbs, "list") || has(r.Verbs, "watch"))
	}},
}

func powersOf(r *rbacv1.PolicyRule) []power {
	return slices.DeleteFunc(slices.Clone(powers), func(p power) bool { return !p.is(r) })
}

// has says whether a list of a rule has a value. A subresource is also meant by a pattern.
func has(list []string, value string) bool {
	return slices.ContainsFunc(list, func(one string) bool {
		_, subresource, ok := strings.Cut(value, "/")
		return one == "*" || one == value || ok && one == "*/"+subresource
	})
}

func isEverything(r rbacv1.PolicyRule) bool {
	return slices.Contains(r.Verbs, "*") && slices.Contains(r.APIGroups, "*") && slices.Contains(r.Resources, "*") && len(r.ResourceNames) == 0
}
