package scope

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func TestMissingFromParent(t *testing.T) {
	for name, tc := range map[string]struct {
		child, parent v1alpha1.Scope
		want          []string
	}{
		"nothing is in everything": {parent: scopeOf(inOne("a", may("get", "", "pods")))},
		"an empty parent covers nothing": {
			child: scopeOf(inOne("a", may("get", "", "pods")), forAudiences("vault")),
			want:  []string{`get pods in namespace a`, `audience "vault"`},
		},
		"two rules of the parent cover one of the child": {
			child: scopeOf(inAll([]string{"a", "b"}, v1alpha1.ResourceRule{
				APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"get", "list"},
			})),
			parent: scopeOf(
				inAll([]string{"b", "a"}, may("get", "", "pods")), inOne("a", may("list", "", "pods")),
				inOne("b", may("list", "", "pods")),
			),
		},
		"another verb, resource, subresource, group, namespace, place": {
			child: scopeOf(
				inOne("a", may("list", "", "pods"), may("get", "", "services"), may("get", "", "pods/log"), may("get", "apps", "pods")),
				inOne("b", may("get", "", "pods")), cluster(may("get", "", "pods")),
			),
			parent: scopeOf(inOne("a", may("get", "", "pods"))),
			want: []string{
				`get pods (cluster)`, `list pods in namespace a`, `get pods/log in namespace a`, `get services in namespace a`,
				`get pods.apps in namespace a`, `get pods in namespace b`,
			},
		},
		"a name is in any name": {
			child:  scopeOf(inOne("a", may("get", "", "pods", "x"))),
			parent: scopeOf(inOne("a", may("get", "", "pods"))),
		},
		"any name is not in a name": {
			child:  scopeOf(inOne("a", may("get", "", "pods"))),
			parent: scopeOf(inOne("a", may("get", "", "pods", "x"))),
			want:   []string{`get pods in namespace a`},
		},
		"one name is not in another": {
			child:  scopeOf(inOne("a", may("get", "", "pods", "x", "y"))),
			parent: scopeOf(inOne("a", may("get", "", "pods", "x"))),
			want:   []string{`get pods "y" in namespace a`},
		},
		"a parent's rights on the cluster are not rights in a namespace": {
			child:  scopeOf(inOne("a", may("get", "example.com", "widgets"))),
			parent: scopeOf(cluster(may("get", "example.com", "widgets"))),
			want:   []string{`get widgets.example.com in namespace a`},
		},
		"URLs and audiences are compared as they are": {
			child:  scopeOf(urls("get", "/metrics", "/healthz"), forAudiences("vault", "aws")),
			parent: scopeOf(urls("get", "/metrics"), forAudiences("vault")),
			want:   []string{`get /healthz`, `audience "aws"`},
		},
		"a wildcard in a parent is a name like any other": {
			child:  scopeOf(inOne("a", may("get", "", "pods")), urls("get", "/healthz/etcd")),
			parent: scopeOf(inOne("a", may("*", "*", "*")), urls("get", "/healthz/*")),
			want:   []string{`get pods in namespace a`, `get /healthz/etcd`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			child, parent := mustParse(tc.child), mustParse(tc.parent)
			if diff := cmp.Diff(tc.want, texts(child.Missing(parent))); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
			if got, want := parent.Covers(child), len(tc.want) == 0; got != want {
				t.Errorf("Covers() = %v, want %v", got, want)
			}
		})
	}
}

func TestMissingFromRights(t *testing.T) {
	url := func(paths ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{NonResourceURLs: paths, Verbs: []string{"get"}}
	}
	inA := func(rules ...rbacv1.PolicyRule) Rights {
		return Rights{Namespaced: map[string][]rbacv1.PolicyRule{"a": rules}}
	}
	get := scopeOf(inOne("a", may("get", "", "pods")))
	scale := scopeOf(inOne("a", may("patch", "apps", "deployments/scale")))
	for name, tc := range map[string]struct {
		child  v1alpha1.Scope
		rights Rights
		want   []string
	}{
		"no child, no rights": {},
		"no rights":           {child: get, want: []string{`get pods in namespace a`}},
		"a RoleBinding there": {child: get, rights: inA(policy("get", "", "pods"))},
		"a RoleBinding elsewhere": {
			child: get, rights: Rights{Namespaced: map[string][]rbacv1.PolicyRule{"b": {policy("get", "", "pods")}}},
			want: []string{`get pods in namespace a`},
		},
		"a ClusterRoleBinding": {child: get, rights: Rights{Cluster: []rbacv1.PolicyRule{policy("get", "", "pods")}}},
		"a RoleBinding to nodes": {
			child: scopeOf(cluster(may("get", "", "nodes"))), rights: inA(policy("*", "*", "*")),
			want: []string{`get nodes (cluster)`},
		},
		"any verb":                   {child: get, rights: inA(policy("*", "", "pods"))},
		"any group":                  {child: get, rights: inA(policy("get", "*", "pods"))},
		"any resource":               {child: get, rights: inA(policy("get", "", "*"))},
		"any resource, subresources": {child: scale, rights: inA(policy("patch", "apps", "*"))},
		"one subresource of any":     {child: scale, rights: inA(policy("patch", "apps", "*/scale"))},
		"another subresource of any": {
			child: scale, rights: inA(policy("patch", "apps", "*/status")),
			want: []string{`patch deployments.apps/scale in namespace a`},
		},
		"no such wildcard in RBAC": {
			child: scale, rights: inA(policy("patch", "apps", "deployments/*")),
			want: []string{`patch deployments.apps/scale in namespace a`},
		},
		"the resource alone": {
			child: scale, rights: inA(policy("patch", "apps", "deployments")),
			want: []string{`patch deployments.apps/scale in namespace a`},
		},
		"a rule without verbs": {
			child: get, rights: inA(rbacv1.PolicyRule{APIGroups: []string{"*"}, Resources: []string{"*"}}),
			want: []string{`get pods in namespace a`},
		},
		"any name by no name": {child: get, rights: inA(policy("get", "", "pods", "")), want: []string{`get pods in namespace a`}},
		"one name by any":     {child: scopeOf(inOne("a", may("get", "", "pods", "x"))), rights: inA(policy("get", "", "pods"))},
		"one name by several": {
			child: scopeOf(inOne("a", may("get", "", "pods", "x"))), rights: inA(policy("get", "", "pods", "y", "x")),
		},
		"one name by a star in a name": {
			child: scopeOf(inOne("a", may("get", "", "pods", "x"))), rights: inA(policy("get", "", "pods", "*")),
			want: []string{`get pods "x" in namespace a`},
		},
		"URLs below a path": {
			child:  scopeOf(urls("get", "/healthz", "/healthz/etcd", "/healthz/ping", "/metrics")),
			rights: Rights{Cluster: []rbacv1.PolicyRule{url("/healthz/*")}},
			want:   []string{`get /healthz`, `get /metrics`},
		},
		"URLs from a letter on, with more stars than one": {
			child:  scopeOf(urls("get", "/healthz", "/healthz/etcd", "/livez", "/metrics")),
			rights: Rights{Cluster: []rbacv1.PolicyRule{url("/h**", "/livez")}},
			want:   []string{`get /metrics`},
		},
		"all URLs": {
			child: scopeOf(urls("get", "/healthz", "/metrics")), rights: Rights{Cluster: []rbacv1.PolicyRule{url("*")}},
		},
		"URLs mean nothing in a Role": {child: scopeOf(urls("get", "/metrics")), rights: inA(url("*")), want: []string{`get /metrics`}},
		"RBAC knows no audiences":     {child: scopeOf(forAudiences("vault"), urls("get", "/metrics")), want: []string{`get /metrics`}},
		"administrators": {
			child: scopeOf(inAll([]string{"a", "b"}, may("get", "", "pods"), may("patch", "apps", "deployments/scale", "x")),
				cluster(may("list", "", "nodes")), urls("get", "/metrics")),
			rights: Rights{Cluster: []rbacv1.PolicyRule{policy("*", "*", "*"), {NonResourceURLs: []string{"*"}, Verbs: []string{"*"}}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, texts(mustParse(tc.child).MissingFrom(tc.rights))); diff != "" {
				t.Errorf("missing (-want +got):\n%s", diff)
			}
		})
	}
}

func TestRights(t *testing.T) {
	rule := func(group string, resources, verbs []string, names ...string) rbacv1.PolicyRule {
		return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs, ResourceNames: names}
	}
	for name, tc := range map[string]struct {
		scope v1alpha1.Scope
		want  Rights
	}{
		"nothing":   {},
		"audiences": {scope: scopeOf(forAudiences("vault"))},
		"what belongs together is joined, whatever its order": {
			scope: scopeOf(
				inAll([]string{"b", "a"}, may("list", "", "services"), may("get", "", "pods"), may("list", "", "pods")),
				inAll([]string{"a"}, may("get", "", "services"), may("get", "", "pods", "needless")),
			),
			want: Rights{Namespaced: map[string][]rbacv1.PolicyRule{
				"a": {rule("", []string{"pods", "services"}, []string{"get", "list"})},
				"b": {rule("", []string{"pods"}, []string{"get", "list"}), rule("", []string{"services"}, []string{"list"})},
			}},
		},
		"names stay with their verbs": {
			scope: scopeOf(inOne("a", may("get", "", "secrets", "y", "x"), may("update", "", "secrets", "y"), may("get", "", "pods"))),
			want: Rights{Namespaced: map[string][]rbacv1.PolicyRule{"a": {
				rule("", []string{"pods"}, []string{"get"}),
				rule("", []string{"secrets"}, []string{"get"}, "x"),
				rule("", []string{"secrets"}, []string{"get", "update"}, "y"),
			}}},
		},
		"cluster": {
			scope: scopeOf(cluster(may("list", "", "nodes")), urls("get", "/metrics", "/healthz")),
			want: Rights{Cluster: []rbacv1.PolicyRule{
				{NonResourceURLs: []string{"/healthz", "/metrics"}, Verbs: []string{"get"}},
				rule("", []string{"nodes"}, []string{"list"}),
			}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, mustParse(tc.scope).Rights()); diff != "" {
				t.Errorf("Rights() (-want +got):\n%s", diff)
			}
		})
	}
}
