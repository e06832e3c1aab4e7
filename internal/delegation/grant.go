package delegation

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// Grant is what a valid hop holds in the cluster: an identity, and rights for it.
type Grant struct {
	// Account is the hop's ServiceAccount. Roles and bindings have its name.
	Account types.NamespacedName
	// Incarnation counts the identities of the hop.
	Incarnation int64
	// Owner is the UID of the hop, which owns account and Secret.
	Owner types.UID
	// Labels are those of every object of the grant.
	Labels map[string]string
	// Rules are the rights by namespace; those on cluster-scoped resources and URLs have the empty namespace as key.
	Rules map[string][]rbacv1.PolicyRule
	// Token is the token that the hop asks for; nil where it asks for none.
	Token *TokenSpec
}

// TokenSpec is a token that a hop keeps in a Secret of its namespace.
type TokenSpec struct {
	SecretName string
	// Audience is empty for the API server's.
	Audience string
	// Life is the longest that the token may live.
	Life time.Duration
}

// GrantFor is the grant of a hop whose verdict is Allow, in its present incarnation while the account of that incarnation
// exists and is not spent, else in the next one, whose name has the given random suffix. A name is never used again, and no
// one can know it before it is in the status.
func GrantFor(
	path *v1alpha1.DelegationPath, hop *v1alpha1.DelegationHop, v Verdict, observed []Object, suffix string, spent bool,
) Grant {
	name := hop.Status.ServiceAccountName
	current := grantOf(path, hop, hop.Status.Incarnation, name, v)
	if !spent && endsAt(name, v.NotAfter) && current.hasIdentity(types.UID(hop.Status.ServiceAccountUID), observed) {
		return current
	}
	return grantOf(path, hop, hop.Status.Incarnation+1, AccountName(hop, suffix, v.NotAfter), v)
}

func grantOf(path *v1alpha1.DelegationPath, hop *v1alpha1.DelegationHop, incarnation int64, account string, v Verdict) Grant {
	g := Grant{
		Account:     types.NamespacedName{Namespace: hop.Namespace, Name: account},
		Incarnation: incarnation,
		Owner:       hop.UID,
		Labels:      Labels(path, hop, incarnation),
		Rules:       rulesOf(v.Scope.Rights()),
	}
	g.addDelegation(path, hop, v)
	if t := hop.Spec.Token; t != nil {
		g.Token = &TokenSpec{SecretName: t.SecretName, Audience: t.Audience, Life: tokenLife(t)}
	}
	return g
}

// AccountUID is the UID of the grant's account among some objects; empty if it is not among them.
func (g Grant) AccountUID(observed []Object) types.UID { return g.observedAccount(observed).UID }

// hasIdentity says whether the account of the grant exists. Its UID says so, whatever became of its labels: they decide
// nothing, and a policy that rewrites them must not cost one identity after the other. Where a crash kept the UID out of
// the status, it is the account that is as the controller creates it.
func (g Grant) hasIdentity(uid types.UID, observed []Object) bool {
	o := g.observedAccount(observed)
	switch {
	case o.Kind == "" || o.Deleting:
		return false
	case uid != "":
		return o.UID == uid
	}
	return g.account().matches(o) && !o.Unlabelled
}

func (g Grant) observedAccount(observed []Object) Object {
	i := slices.IndexFunc(observed, func(o Object) bool { return o.Kind == ServiceAccount && o.Key == g.Account })
	if i < 0 {
		return Object{}
	}
	return observed[i]
}

func rulesOf(r scope.Rights) map[string][]rbacv1.PolicyRule {
	rules := maps.Clone(r.Namespaced)
	if len(r.Cluster) > 0 {
		if rules == nil {
			rules = map[string][]rbacv1.PolicyRule{}
		}
		rules[""] = r.Cluster
	}
	return rules
}

// AccountName is the name of a hop's identity: dhop-<hop>.<random suffix>.<unix time of its end>. The dot behind the hop's
// name, which cannot hold one, makes dhop-<hop>.* an exact pattern for trust policies elsewhere.
func AccountName(hop *v1alpha1.DelegationHop, suffix string, notAfter time.Time) string {
	return fmt.Sprintf("%s%s.%s.%d", v1alpha1.AccountPrefix, hop.Name, suffix, notAfter.Unix())
}

// endsAt says whether the name of an account has this end.
func endsAt(name string, notAfter time.Time) bool {
	return strings.HasSuffix(name, "."+strconv.FormatInt(notAfter.Unix(), 10))
}

// Labels are those of every object that is created for a hop.
func Labels(path *v1alpha1.DelegationPath, hop *v1alpha1.DelegationHop, incarnation int64) map[string]string {
	return map[string]string{
		"app.kubernetes.io/managed-by": "wayleave",
		v1alpha1.LabelHopName:          hop.Name,
		v1alpha1.LabelHopNamespace:     hop.Namespace,
		v1alpha1.LabelHopUID:           string(hop.UID),
		v1alpha1.LabelPathUID:          string(path.UID),
		v1alpha1.LabelIncarnation:      strconv.FormatInt(incarnation, 10),
	}
}

// Objects are the objects of the grant. Roles and bindings exist while a use of the hop lives, and as long as the hop keeps
// a token, since what holds a token has no moment of use.
func (g Grant) Objects(useLives bool) []Object {
	objects := []Object{g.account()}
	if g.HasRights(useLives) {
		objects = append(objects, g.rights()...)
	}
	if t := g.Token; t != nil {
		objects = append(objects, Object{
			Kind: Secret, Key: types.NamespacedName{Namespace: g.Account.Namespace, Name: t.SecretName}, Content: t.Audience, Life: t.Life,
		})
	}
	return objects
}

// HasRights says whether the grant has roles and bindings.
func (g Grant) HasRights(useLives bool) bool { return useLives || g.Token != nil }

func (g Grant) account() Object {
	return Object{Kind: ServiceAccount, Key: g.Account, Content: AccountContent(true, new(false))}
}

// rights are the roles and bindings.
func (g Grant) rights() []Object {
	var objects []Object
	for _, namespace := range g.Namespaces() {
		role, binding := Role, RoleBinding
		if namespace == "" {
			role, binding = ClusterRole, ClusterRoleBinding
		}
		key := types.NamespacedName{Namespace: namespace, Name: g.Account.Name}
		objects = append(objects,
			Object{Kind: role, Key: key, Content: RoleContent(g.Rules[namespace])},
			Object{Kind: binding, Key: key, Content: BindingContent(g.RoleRef(namespace), g.Subjects())})
	}
	return objects
}

// Namespaces are those in which the grant has rules, sorted; the empty one means the cluster.
func (g Grant) Namespaces() []string {
	return slices.Sorted(maps.Keys(g.Rules))
}

// RoleRef is what the binding in a namespace refers to.
func (g Grant) RoleRef(namespace string) rbacv1.RoleRef {
	kind := Role
	if namespace == "" {
		kind = ClusterRole
	}
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: string(kind), Name: g.Account.Name}
}

// Subjects are those of each binding: the account alone.
func (g Grant) Subjects() []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: g.Account.Namespace, Name: g.Account.Name}}
}
