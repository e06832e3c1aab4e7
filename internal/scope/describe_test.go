package scope

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPermissionReadsLikeASentence(t *testing.T) {
	for name, tc := range map[string]struct {
		permission Permission
		want       string
	}{
		"core resource": {
			permission: Permission{Namespace: "payments", Resource: "pods", Verb: "delete"},
			want:       `delete pods in namespace payments`,
		},
		"one object": {
			permission: Permission{Namespace: "payments", Resource: "secrets", Verb: "get", Name: "db"},
			want:       `get secrets "db" in namespace payments`,
		},
		"other group": {
			permission: Permission{Namespace: "payments", APIGroup: "networking.k8s.io", Resource: "networkpolicies", Verb: "create"},
			want:       `create networkpolicies.networking.k8s.io in namespace payments`,
		},
		"subresource of another group": {
			permission: Permission{Namespace: "payments", APIGroup: "apps", Resource: "deployments/scale", Verb: "patch", Name: "web"},
			want:       `patch deployments.apps/scale "web" in namespace payments`,
		},
		"cluster": {permission: Permission{Resource: "nodes", Verb: "list"}, want: `list nodes (cluster)`},
		"required by a pod": {
			permission: Permission{Namespace: AnyNamespace, Resource: "pods", Verb: "list"}, want: `list pods in any namespace`,
		},
		"URL":                 {permission: Permission{URL: "/metrics", Verb: "get"}, want: `get /metrics`},
		"audience":            {permission: Permission{Audience: "vault"}, want: `audience "vault"`},
		"forged line of logs": {permission: Permission{Resource: "pods\nallowed", Verb: "get"}, want: `get "pods\nallowed" (cluster)`},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.permission.String()); diff != "" {
				t.Errorf("String() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDescribe(t *testing.T) {
	pods := func(namespace, name, verb string) Permission {
		return Permission{Namespace: namespace, Resource: "pods", Name: name, Verb: verb}
	}
	for name, tc := range map[string]struct {
		permissions []Permission
		want        string
	}{
		"nothing": {},
		"verbs of one object are listed together, in any input order": {
			permissions: []Permission{pods("payments", "", "list"), {Audience: "vault"}, pods("payments", "", "get")},
			want:        `get, list pods in namespace payments; audience "vault"`,
		},
		"duplicates are listed once": {
			permissions: []Permission{pods("payments", "", "get"), pods("payments", "", "get")},
			want:        `get pods in namespace payments`,
		},
		"five objects are written out": {
			permissions: []Permission{pods("a", "", "get"), pods("b", "", "get"), pods("c", "", "get"), pods("d", "", "get"), pods("e", "", "get")},
			want: `get pods in namespace a; get pods in namespace b; get pods in namespace c; ` +
				`get pods in namespace d; get pods in namespace e`,
		},
		"the rest is counted": {
			permissions: []Permission{
				pods("a", "", "get"), pods("b", "", "get"), pods("c", "", "get"), pods("d", "", "get"), pods("e", "", "get"),
				pods("f", "", "get"), pods("f", "", "list"), pods("g", "x", "get"),
			},
			want: `get pods in namespace a; get pods in namespace b; get pods in namespace c; ` +
				`get pods in namespace d; get pods in namespace e; and 3 more`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Describe(tc.permissions)); diff != "" {
				t.Errorf("Describe() (-want +got):\n%s", diff)
			}
		})
	}
}
