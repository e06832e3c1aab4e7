package scope

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// many returns n different texts.
func many(prefix string, n int) []string {
	s := make([]string, n)
	for i := range s {
		s[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return s
}

// wide is a rule of groups × resources × verbs × names permissions.
func wide(groups, resources, verbs, names int) v1alpha1.ResourceRule {
	return v1alpha1.ResourceRule{
		APIGroups: many("g", groups), Resources: many("r", resources), Verbs: many("v", verbs), ResourceNames: many("n", names),
	}
}

func TestValidate(t *testing.T) {
	get := may("get", "", "pods")
	for name, tc := range map[string]struct {
		scope      v1alpha1.Scope
		wantFields []string
	}{
		"an empty scope allows nothing and is well formed": {},
		"everything that a scope can say": {
			scope: scopeOf(inOne("a", get, may("get", "", "secrets", "db")), cluster(may("list", "", "nodes")),
				urls("get", "/metrics"), forAudiences("vault")),
		},
		"256 permissions in an entry": {scope: scopeOf(inOne("a", wide(2, 8, 8, 2)))},
		"257 permissions in an entry": {scope: scopeOf(inOne("a", wide(2, 8, 8, 2), get)), wantFields: []string{"namespaced[0]"}},
		"the same rules in another entry count again": {
			scope: scopeOf(inOne("a", wide(2, 8, 8, 2)), inOne("a", wide(2, 8, 8, 2))),
		},
		"1024 permissions in all": {scope: scopeOf(inAll(many("ns", 4), wide(1, 16, 16, 1)))},
		"1025 permissions, the last an audience": {
			scope:      scopeOf(inAll(many("ns", 4), wide(1, 16, 16, 1)), forAudiences("vault")),
			wantFields: []string{"audiences"},
		},
		"1025 permissions, the last a URL": {
			scope:      scopeOf(inAll(many("ns", 4), wide(1, 16, 16, 1)), urls("get", "/metrics")),
			wantFields: []string{"cluster[0]"},
		},
		"1280 permissions over namespaces": {
			scope:      scopeOf(inAll(many("ns", 5), wide(1, 16, 16, 1))),
			wantFields: []string{"namespaced[0]"},
		},
		"32 namespaces, some of them twice": {
			scope: scopeOf(inAll(many("ns", 32), get), inAll(many("ns", 32), get)),
		},
		"33 namespaces": {
			scope:      scopeOf(inAll(many("ns", 32), get), inOne("another", get)),
			wantFields: []string{"namespaced[1].namespaces"},
		},
		"as many as the schema lets through": {
			scope:      scopeOf(inAll(many("ns", 32), wide(16, 32, 16, 64), wide(16, 32, 16, 64))),
			wantFields: []string{"namespaced[0]"},
		},
		"rules that lack a list are rejected, not treated as covered": {
			scope: scopeOf(inOne("a", v1alpha1.ResourceRule{}, get, wide(0, 1, 1, 0), wide(1, 0, 1, 0), wide(1, 1, 0, 0))),
			wantFields: []string{
				"namespaced[0].rules[0].verbs", "namespaced[0].rules[0].apiGroups", "namespaced[0].rules[0].resources",
				"namespaced[0].rules[2].apiGroups", "namespaced[0].rules[3].resources", "namespaced[0].rules[4].verbs",
			},
		},
		"an unbounded list does not hide behind an empty one": {
			scope:      scopeOf(inOne("a", wide(1, 0, 1, 5000))),
			wantFields: []string{"namespaced[0].rules[0].resources"},
		},
		"entries that lack a list": {
			scope:      scopeOf(inAll(nil, get), inOne("a")),
			wantFields: []string{"namespaced[0].namespaces", "namespaced[1].rules"},
		},
		"empty texts": {
			scope: scopeOf(inOne("", may("", "", "")), inOne("a", may("get", "", "secrets", "")), urls("", ""), forAudiences("")),
			wantFields: []string{
				"namespaced[0].namespaces[0]", "namespaced[0].rules[0].resources[0]", "namespaced[0].rules[0].verbs[0]",
				"namespaced[1].rules[0].resourceNames[0]", "cluster[0].verbs[0]", "cluster[0].nonResourceURLs[0]", "audiences[0]",
			},
		},
		"a text of 253 bytes": {scope: scopeOf(inOne("a", may("get", "", "pods", strings.Repeat("x", 253))))},
		"a text of 254 bytes": {
			scope:      scopeOf(inOne("a", may("get", strings.Repeat("x", 254), "pods"))),
			wantFields: []string{"namespaced[0].rules[0].apiGroups[0]"},
		},
		"names of what has none yet": {
			scope:      scopeOf(inOne("a", may("create", "", "configmaps", "db"), may("deletecollection", "", "pods", "web"))),
			wantFields: []string{"namespaced[0].rules[0].verbs[0]", "namespaced[0].rules[1].verbs[0]"},
		},
		"names of what exists": {
			scope: scopeOf(inOne("a", may("create", "", "pods/eviction", "web"), may("create", "", "configmaps"), may("delete", "", "pods", "web"))),
		},
		"all namespaces": {
			scope:      scopeOf(inOne("*", get)),
			wantFields: []string{"namespaced[0].namespaces[0]"},
		},
		"a cluster rule is about resources or about URLs": {
			scope: v1alpha1.Scope{Cluster: []v1alpha1.ClusterRule{{
				Verbs: []string{"get"}, APIGroups: many("g", 5000), NonResourceURLs: []string{"/metrics"},
			}}},
			wantFields: []string{"cluster[0]"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			set, problems := Parse(tc.scope)
			if diff := cmp.Diff(tc.wantFields, fields(problems)); diff != "" {
				t.Errorf("fields of problems (-want +got):\n%s", diff)
			}
			if len(problems) > 0 && len(set.Permissions()) > 0 {
				t.Errorf("a rejected scope has %d permissions", len(set.Permissions()))
			}
		})
	}
}

func TestProblemsSayWhereAndWhatToDo(t *testing.T) {
	_, problems := Parse(scopeOf(inOne("payments", wide(1, 32, 16, 0))))
	want := []Problem{{
		Field: "namespaced[0]",
		Message: "the rules name more than 256 permissions (apiGroups × resources × verbs × resourceNames, added up) in each " +
			"namespace: name less, or divide the work between several hops",
	}}
	if diff := cmp.Diff(want, problems); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

// enormous scopes name 10^16 permissions and more, in every possible way.
func enormous() map[string]v1alpha1.Scope {
	texts := many("x", 100_000)
	rule := v1alpha1.ResourceRule{APIGroups: texts, Resources: texts, Verbs: texts, ResourceNames: texts}
	empty := make([]v1alpha1.ResourceRule, 100_000)
	rules := make([]v1alpha1.ResourceRule, 100_000)
	entries := make([]v1alpha1.NamespacedScope, 100_000)
	clusterRules := make([]v1alpha1.ClusterRule, 100_000)
	for i := range rules {
		rules[i] = rule
		entries[i] = v1alpha1.NamespacedScope{Namespaces: texts, Rules: rules}
		clusterRules[i] = v1alpha1.ClusterRule{NonResourceURLs: texts, Verbs: texts, APIGroups: texts}
	}
	return map[string]v1alpha1.Scope{
		"rules":      {Namespaced: entries[:1]},
		"entries":    {Namespaced: entries},
		"empty":      {Namespaced: []v1alpha1.NamespacedScope{{Namespaces: []string{"a"}, Rules: empty}}},
		"namespaces": scopeOf(inAll(texts, may("get", "", "pods"))),
		"cluster":    {Cluster: clusterRules},
		"audiences":  {Audiences: texts},
	}
}

func TestEnormousScopesCostNothing(t *testing.T) {
	for name, s := range enormous() {
		t.Run(name, func(t *testing.T) {
			if _, problems := Parse(s); len(problems) == 0 || len(problems) > maxProblems {
				t.Errorf("%d problems, want 1 to %d", len(problems), maxProblems)
			}
			if allocations := testing.AllocsPerRun(10, func() { EscalationRisks(s, Bearer{}) }); allocations > 500 {
				t.Errorf("%v allocations, want no more than for a small scope", allocations)
			}
		})
	}
}

func TestMissingRequired(t *testing.T) {
	hop := mustParse(scopeOf(
		inOne("payments", may("get", "", "pods")),
		inOne("orders", may("create", "networking.k8s.io", "networkpolicies"), may("get", "", "secrets", "db")),
		cluster(may("list", "", "nodes")), urls("get", "/metrics"),
	))
	for name, tc := range map[string]struct {
		rules       []rbacv1.PolicyRule
		wantMissing []string
		wantFields  []string
	}{
		"nothing is required": {},
		"each is allowed somewhere": {rules: []rbacv1.PolicyRule{
			policy("get", "", "pods"), policy("create", "networking.k8s.io", "networkpolicies"), policy("list", "", "nodes"),
			policy("get", "", "secrets", "db"), {NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}},
		}},
		"a verb too many": {
			rules:       []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "delete"}}},
			wantMissing: []string{"delete pods in any namespace"},
		},
		"any secret is more than one": {
			rules:       []rbacv1.PolicyRule{policy("get", "", "secrets")},
			wantMissing: []string{"get secrets in any namespace"},
		},
		"another URL": {
			rules:       []rbacv1.PolicyRule{{NonResourceURLs: []string{"/healthz"}, Verbs: []string{"get"}}},
			wantMissing: []string{"get /healthz"},
		},
		"a wildcard is always missing": {
			rules:       []rbacv1.PolicyRule{policy("*", "", "pods")},
			wantMissing: []string{"* pods in any namespace"},
		},
		"a rule without verbs": {
			rules:      []rbacv1.PolicyRule{policy("get", "", "pods"), {APIGroups: []string{""}, Resources: []string{"pods"}}},
			wantFields: []string{"[1].verbs"},
		},
		"too many": {
			rules:      []rbacv1.PolicyRule{fromNamespaced(wide(16, 16, 1, 0)), policy("get", "", "pods")},
			wantFields: []string{"[1]"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			missing, problems := hop.MissingRequired(tc.rules)
			if diff := cmp.Diff(tc.wantMissing, texts(missing)); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.wantFields, fields(problems)); diff != "" {
				t.Errorf("fields of problems (-want +got):\n%s", diff)
			}
		})
	}
}
