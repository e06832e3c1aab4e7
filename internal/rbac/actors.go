package rbac

import (
	"context"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// maxActors bounds how many are found.
const maxActors = 4096

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
	f := actorFinder{
		rules:     collector{reader: r.Cache, counts: func(*rbacv1.ClusterRole) bool { return true }, complete: true},
		namespace: namespace, trusted: trusted,
	}
	var list rbacv1.RoleBindingList
	if err := r.Cache.List(ctx, &list, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, false, fmt.Errorf("listing RoleBindings in namespace %s: %w", namespace, err)
	}
	list.Items = slices.DeleteFunc(list.Items, func(b rbacv1.RoleBinding) bool { return IsGrant(&b) && onlyHops(b.Subjects) })
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
	return f.actors, len(list.Items) <= maxBindings && f.rules.complete, nil
}

// SameRights says whether two versions of an object of RBAC give the same to the same.
func SameRights(before, after client.Object) bool {
	switch a := before.(type) {
	case *rbacv1.Role:
		b, ok := after.(*rbacv1.Role)
		return ok && equality.Semantic.DeepEqual(a.Rules, b.Rules)
	case *rbacv1.ClusterRole:
		b, ok := after.(*rbacv1.ClusterRole)
		return ok && equality.Semantic.DeepEqual(a.Rules, b.Rules)
	case *rbacv1.RoleBinding:
		b, ok := after.(*rbacv1.RoleBinding)
		return ok && a.RoleRef == b.RoleRef && equality.Semantic.DeepEqual(a.Subjects, b.Subjects) && IsGrant(a) == IsGrant(b)
	case *rbacv1.ClusterRoleBinding:
		b, ok := after.(*rbacv1.ClusterRoleBinding)
		return ok && a.RoleRef == b.RoleRef && equality.Semantic.DeepEqual(a.Subjects, b.Subjects) && isDefault(a) == isDefault(b)
	}
	return false
}

// IsGrant says whether an object is part of what a hop was granted. No scope lets a hop act as another one.
func IsGrant(o client.Object) bool {
	return o.GetLabels()[v1alpha1.LabelHopUID] != "" && strings.HasPrefix(o.GetName(), v1alpha1.AccountPrefix)
}

// onlyHops says whether some subjects are accounts of hops alone.
func onlyHops(subjects []rbacv1.Subject) bool {
	return !slices.ContainsFunc(subjects, func(s rbacv1.Subject) bool {
		return s.Kind != rbacv1.ServiceAccountKind || !strings.HasPrefix(s.Name, v1alpha1.AccountPrefix)
	})
}

// actorFinder finds who can act as the accounts of a namespace.
type actorFinder struct {
	rules              collector
	namespace, trusted string
	actors             []Actor
	subjects           int
}

// binding adds those whom a binding lets act as an account. Its rules are read once, and so are its subjects.
func (f *actorFinder) binding(ctx context.Context, b client.Object, by string, ref rbacv1.RoleRef, subjects []rbacv1.Subject) error {
	if isDefault(b) || b.GetName() == "cluster-admin" && b.GetNamespace() == "" || len(subjects) == 0 {
		return nil
	}
	f.rules.seen = map[roleKey]bool{} // each binding counts, also of a role that was read before
	rules, err := f.rules.rules(ctx, ref, b.GetNamespace())
	if err != nil || b.GetNamespace() == "" && slices.ContainsFunc(rules, isEverything) {
		return err
	}
	given := givenBy(rules)
	if len(given) == 0 {
		return nil
	}
	for _, who := range f.distinct(subjects) {
		for _, a := range given {
			if len(f.actors) >= maxActors {
				f.rules.complete = false
				return nil
			}
			a.Who, a.By = who, by
			f.actors = append(f.actors, a)
		}
	}
	return nil
}

// givenBy is what some rules give to whomever they are bound to, each power once for each list of names.
func givenBy(rules []rbacv1.PolicyRule) []Actor {
	var given []Actor
	for i := range rules {
		for _, p := range powersOf(&rules[i]) {
			a := Actor{Can: p.words, Secrets: p.secrets, Names: rules[i].ResourceNames}
			covered := slices.ContainsFunc(given, func(g Actor) bool {
				return g.Can == a.Can && (len(g.Names) == 0 || slices.Equal(g.Names, a.Names))
			})
			if !covered && len(given) < maxNamed*maxNamed {
				given = append(given, a)
			}
		}
	}
	return given
}

// distinct are the subjects whom nobody trusts, each once and as they are told.
func (f *actorFinder) distinct(subjects []rbacv1.Subject) []string {
	f.subjects += len(subjects)
	if f.subjects > maxRuleStrings {
		f.rules.complete = false
		return nil
	}
	var names []string
	for _, s := range subjects {
		in, who := s.Namespace, s.Kind+" "+s.Name
		if s.Kind == rbacv1.ServiceAccountKind && in != "" {
			who = s.Kind + " " + in + "/" + s.Name
		}
		if in == "" {
			in = f.namespace
		}
		isUser, isAccount := s.Kind == rbacv1.UserKind, s.Kind == rbacv1.ServiceAccountKind
		if !(isUser && s.Name == f.trusted || isAccount && ServiceAccountUser(in, s.Name) == f.trusted) {
			names = append(names, who)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
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
