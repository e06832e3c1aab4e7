package delegation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// Grant is what a valid hop holds in the cluster: an identity, and rights for it.
type Grant struct {
	// Account is the hop's ServiceAccount. Roles and bindings bear its name.
	Account types.NamespacedName
	// Labels stand on every object of the grant.
	Labels map[string]string
	// Rules are the rights by namespace; those on cluster-scoped resources and URLs stand under the empty namespace.
	Rules map[string][]rbacv1.PolicyRule
	// SecretName is the Secret that holds the hop's token; empty where none is asked for.
	SecretName string
}

// GrantFor is the grant of a hop whose verdict is Allow.
func GrantFor(path *v1alpha1.DelegationPath, hop *v1alpha1.DelegationHop, incarnation int64, v Verdict) Grant {
	g := Grant{
		Account: types.NamespacedName{Namespace: hop.Namespace, Name: AccountName(hop, incarnation, v.NotAfter)},
		Labels:  Labels(path, hop, incarnation),
		Rules:   rulesOf(v.Scope.Rights()),
	}
	if hop.Spec.Token != nil {
		g.SecretName = hop.Spec.Token.SecretName
	}
	return g
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

// AccountName is the name of a hop's identity: dhop-<hop>.<hash of UID and incarnation>.<unix time of its end>. The dot
// behind the hop's name, which cannot hold one, makes dhop-<hop>.* an exact pattern for trust policies elsewhere.
func AccountName(hop *v1alpha1.DelegationHop, incarnation int64, notAfter time.Time) string {
	sum := sha256.Sum256([]byte(string(hop.UID) + "/" + strconv.FormatInt(incarnation, 10)))
	return fmt.Sprintf("%s%s.%s.%d", v1alpha1.AccountPrefix, hop.Name, hex.EncodeToString(sum[:5]), notAfter.Unix())
}

// Labels are those of everything that is made for a hop.
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

// Objects are the objects of the grant.
func (g Grant) Objects() []Object {
	objects := []Object{{Kind: ServiceAccount, Key: g.Account}}
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
	if g.SecretName != "" {
		objects = append(objects, Object{Kind: Secret, Key: types.NamespacedName{Namespace: g.Account.Namespace, Name: g.SecretName}})
	}
	return objects
}

// Namespaces are those in which the grant has rules, sorted; the empty one stands for the cluster.
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

// Subjects are those of each binding: the account and nobody else.
func (g Grant) Subjects() []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: g.Account.Namespace, Name: g.Account.Name}}
}
