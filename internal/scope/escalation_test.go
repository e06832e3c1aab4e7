package scope

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// verdict is what matters of a Problem here.
type verdict struct {
	Field string
	Risk  Risk
}

func verdicts(problems []Problem) []verdict {
	var v []verdict
	for _, p := range problems {
		v = append(v, verdict{p.Field, p.Risk})
	}
	return v
}

const (
	exec            = v1alpha1.RiskExec
	workloads       = v1alpha1.RiskWorkloads
	customResources = v1alpha1.RiskCustomResources
)

func TestEscalationRisks(t *testing.T) {
	reported := map[string]bool{}
	for name, tc := range map[string]struct {
		scope  v1alpha1.Scope
		bearer Bearer
		want   []verdict
		fits   v1alpha1.Scope // the allow twin: what a legitimate path does instead
	}{
		"wildcard verb": {
			scope: scopeOf(inOne("a", may("*", "", "configmaps"))),
			want:  []verdict{{"namespaced[0].rules[0].verbs[0]", ""}},
			fits:  scopeOf(inOne("a", may("update", "", "configmaps"))),
		},
		"wildcard group": {
			scope: scopeOf(inOne("a", may("get", "*", "configmaps"))),
			want:  []verdict{{"namespaced[0].rules[0].apiGroups[0]", ""}},
			fits:  scopeOf(inOne("a", may("get", "example.com", "configmaps"))),
		},
		"wildcard resources": {
			scope: scopeOf(inOne("a", may("get", "", "configmaps"), may("get", "", "pods/*"), may("get", "", "*/scale"), may("get", "", "*"))),
			want: []verdict{
				{"namespaced[0].rules[1].resources[0]", ""}, {"namespaced[0].rules[2].resources[0]", ""},
				{"namespaced[0].rules[3].resources[0]", ""},
			},
			fits: scopeOf(inOne("a", may("get", "", "pods/status"), may("get", "apps", "deployments/scale"))),
		},
		"wildcard name": {
			scope: scopeOf(inOne("a", may("get", "", "configmaps", "app", "app-*"))),
			want:  []verdict{{"namespaced[0].rules[0].resourceNames[1]", ""}},
			fits:  scopeOf(inOne("a", may("get", "", "configmaps", "app", "app-eu"))),
		},
		"wildcard URL": {
			scope: scopeOf(urls("get", "/healthz", "/healthz/*")),
			want:  []verdict{{"cluster[0].nonResourceURLs[1]", ""}},
			fits:  scopeOf(urls("get", "/healthz", "/healthz/etcd")),
		},
		"wildcard audience": {
			scope: scopeOf(forAudiences("vault", "https://*.example.com")),
			want:  []verdict{{"audiences[1]", ""}},
			fits:  scopeOf(forAudiences("vault", "https://vault.example.com")),
		},

		"escalate and bind": {
			scope: scopeOf(inOne("a", may("escalate", rbacGroup, "roles"), may("bind", rbacGroup, "roles"))),
			want:  []verdict{{"namespaced[0].rules[0].verbs[0]", ""}, {"namespaced[0].rules[1].verbs[0]", ""}},
			fits:  scopeOf(inOne("a", may("get", rbacGroup, "roles"))),
		},
		"impersonation, constrained too": {
			scope: scopeOf(cluster(
				may("impersonate", "", "users"), may("impersonate:user-info", "authentication.k8s.io", "users"),
				may("impersonate-on:user-info:list", "", "nodes"),
			)),
			want: []verdict{{"cluster[0].verbs[0]", ""}, {"cluster[1].verbs[0]", ""}, {"cluster[2].verbs[0]", ""}},
			fits: scopeOf(cluster(may("list", "", "nodes"))),
		},
		"sign, approve and attest": {
			scope: scopeOf(cluster(
				may("sign", certificatesGroup, "signers"), may("approve", certificatesGroup, "signers"),
				may("attest", certificatesGroup, "signers"),
			)),
			want: []verdict{{"cluster[0].verbs[0]", ""}, {"cluster[1].verbs[0]", ""}, {"cluster[2].verbs[0]", ""}},
			fits: scopeOf(cluster(may("list", certificatesGroup, "certificatesigningrequests"))),
		},
		"approval by a controller": {
			scope: scopeOf(cluster(may("approve", "cert-manager.io", "signers", "clusterissuers.cert-manager.io/ca"))),
			want:  []verdict{{"cluster[0].verbs[0]", ""}},
			fits:  scopeOf(cluster(may("list", "cert-manager.io", "clusterissuers"))),
		},
		"an unknown verb": {
			scope: scopeOf(inOne("a", may("adopt", "", "configmaps"))),
			want:  []verdict{{"namespaced[0].rules[0].verbs[0]", ""}},
			fits:  scopeOf(inOne("a", may("deletecollection", "", "configmaps"))),
		},
		"writes on paths and hops, status too, and the virtual verbs": {
			scope: scopeOf(inOne("a", may("create", ownGroup, "delegationhops"), may("patch", ownGroup, "delegationpaths/status"),
				may("use", ownGroup, "delegationhops"))),
			want: []verdict{
				{"namespaced[0].rules[0].verbs[0]", ""}, {"namespaced[0].rules[1].verbs[0]", ""}, {"namespaced[0].rules[2].verbs[0]", ""},
			},
			fits: scopeOf(inOne("a", may("get", ownGroup, "delegationhops"), may("list", ownGroup, "delegationpaths"))),
		},

		"tokens of accounts": {
			scope: scopeOf(inOne("a", may("create", "", "serviceaccounts/token", "robot"))),
			want:  []verdict{{"namespaced[0].rules[0].resources[0]", ""}},
			fits:  scopeOf(inOne("a", may("get", "", "serviceaccounts", "robot"))),
		},
		"accounts": {
			scope: scopeOf(inOne("a", may("delete", "", "serviceaccounts"))),
			want:  []verdict{{"namespaced[0].rules[0].resources[0]", ""}},
			fits:  scopeOf(inOne("a", may("list", "", "serviceaccounts"))),
		},
		"writes on RBAC": {
			scope: scopeOf(inOne("a", may("create", rbacGroup, "rolebindings")), cluster(may("delete", rbacGroup, "clusterroles"))),
			want:  []verdict{{"namespaced[0].rules[0].resources[0]", ""}, {"cluster[0].resources[0]", ""}},
			fits:  scopeOf(inOne("a", may("list", rbacGroup, "rolebindings")), cluster(may("list", rbacGroup, "clusterroles"))),
		},
		"new secrets": {
			scope: scopeOf(inOne("a", may("create", "", "secrets"))),
			want:  []verdict{{"namespaced[0].rules[0].verbs[0]", ""}},
			fits:  scopeOf(inOne("a", may("update", "", "secrets", "db"), may("delete", "", "secrets", "db"))),
		},
		"secrets without names": {
			scope: scopeOf(inOne("a", may("get", "", "secrets"), may("deletecollection", "", "secrets"))),
			want:  []verdict{{"namespaced[0].rules[0].resources[0]", ""}, {"namespaced[0].rules[1].resources[0]", ""}},
			fits:  scopeOf(inOne("a", may("get", "", "secrets", "db"), may("list", "", "secrets", "db"))),
		},
		"certificates": {
			scope: scopeOf(inOne("a", may("create", certificatesGroup, "podcertificaterequests")),
				cluster(may("update", certificatesGroup, "certificatesigningrequests/approval"),
					may("create", certificatesGroup, "clustertrustbundles"))),
			want: []verdict{{"namespaced[0].rules[0].resources[0]", ""}, {"cluster[0].resources[0]", ""}, {"cluster[1].resources[0]", ""}},
			fits: scopeOf(inOne("a", may("get", certificatesGroup, "podcertificaterequests"))),
		},

		"admission, definitions and API services": {
			scope: scopeOf(cluster(
				may("delete", admissionGroup, "validatingadmissionpolicybindings"),
				may("patch", "apiextensions.k8s.io", "customresourcedefinitions"),
				may("update", "apiregistration.k8s.io", "apiservices/status"),
			)),
			want: []verdict{{"cluster[0].resources[0]", ""}, {"cluster[1].resources[0]", ""}, {"cluster[2].resources[0]", ""}},
			fits: scopeOf(cluster(
				may("list", admissionGroup, "validatingadmissionpolicybindings"),
				may("get", "apiextensions.k8s.io", "customresourcedefinitions"), may("list", "apiregistration.k8s.io", "apiservices"),
			)),
		},
		"nodes and volumes": {
			scope: scopeOf(cluster(may("patch", "", "nodes"), may("patch", "", "nodes/status"), may("create", "", "persistentvolumes"))),
			want:  []verdict{{"cluster[0].resources[0]", ""}, {"cluster[1].resources[0]", ""}, {"cluster[2].resources[0]", ""}},
			fits: scopeOf(
				cluster(may("get", "", "nodes"), may("get", "", "nodes/metrics")),
				inOne("a", may("create", "", "persistentvolumeclaims")),
			),
		},
		"writes on namespaces": {
			scope: scopeOf(cluster(may("create", "", "namespaces"), may("update", "", "namespaces/finalize"))),
			want:  []verdict{{"cluster[0].resources[0]", ""}, {"cluster[1].resources[0]", ""}},
			fits:  scopeOf(cluster(may("get", "", "namespaces", "a"), may("list", "", "namespaces"))),
		},
		"the namespace itself in a namespaced rule": {
			scope: scopeOf(inOne("a", may("patch", "", "namespaces"), may("delete", "", "namespaces"))),
			want:  []verdict{{"namespaced[0].rules[0].resources[0]", ""}, {"namespaced[0].rules[1].resources[0]", ""}},
			fits:  scopeOf(inOne("a", may("get", "", "namespaces"), may("list", "", "namespaces"))),
		},
		"configuration of the whole cluster": {
			scope: scopeOf(cluster(
				may("create", storageGroup, "storageclasses"), may("create", storageGroup, "csidrivers"),
				may("create", "node.k8s.io", "runtimeclasses"), may("create", "flowcontrol.apiserver.k8s.io", "flowschemas"),
				may("create", resourceGroup, "resourceslices"), may("create", "scheduling.k8s.io", "priorityclasses"),
				may("create", "networking.k8s.io", "ingressclasses"),
			)),
			want: []verdict{
				{"cluster[0].resources[0]", ""}, {"cluster[1].resources[0]", ""}, {"cluster[2].resources[0]", ""},
				{"cluster[3].resources[0]", ""}, {"cluster[4].resources[0]", ""}, {"cluster[5].resources[0]", ""},
				{"cluster[6].resources[0]", ""},
			},
			fits: scopeOf(cluster(
				may("list", storageGroup, "storageclasses"), may("list", "scheduling.k8s.io", "priorityclasses"),
				may("create", "authorization.k8s.io", "subjectaccessreviews"), may("create", "authentication.k8s.io", "tokenreviews"),
			)),
		},
		"device allocation": {
			scope: scopeOf(inOne("a", may("update", resourceGroup, "resourceclaims/status"))),
			want:  []verdict{{"namespaced[0].rules[0].resources[0]", ""}},
			fits:  scopeOf(inOne("a", may("create", resourceGroup, "resourceclaims"))),
		},
		"what the control plane believes": {
			scope: scopeOf(inAll([]string{"a", "kube-system"}, may("update", "", "configmaps", "aws-auth"),
				may("patch", "", "services", "kube-dns")),
				inOne("kube-node-lease", may("update", "coordination.k8s.io", "leases")),
				inOne("kube-flannel", may("delete", "", "pods"), may("get", "", "secrets", "registry"))),
			want: []verdict{
				{"namespaced[0].rules[0].resources[0]", ""}, {"namespaced[0].rules[1].resources[0]", ""},
				{"namespaced[1].rules[0].resources[0]", ""},
				{"namespaced[2].rules[0].resources[0]", ""}, {"namespaced[2].rules[1].resources[0]", ""},
			},
			fits: scopeOf(inOne("a", may("update", "", "configmaps"), may("patch", "", "services"), may("update", "coordination.k8s.io", "leases")),
				inOne("kube-system", may("get", "", "configmaps", "coredns"), may("list", "", "pods")),
				inOne("kubeflow", may("delete", "", "pods"), may("get", "", "secrets", "registry"))),
		},
		"the operator": {
			scope: scopeOf(inOne("wayleave-system", may("delete", "", "pods"), may("get", "", "secrets", "webhook-cert"))),
			want:  []verdict{{"namespaced[0].rules[0].resources[0]", ""}, {"namespaced[0].rules[1].resources[0]", ""}},
			fits:  scopeOf(inOne("wayleave-system", may("list", "", "pods"))),
		},
		"the operator, installed elsewhere": {
			scope:  scopeOf(inOne("security", may("delete", "", "pods"))),
			bearer: Bearer{OperatorNamespace: "security"},
			want:   []verdict{{"namespaced[0].rules[0].resources[0]", ""}},
			fits:   scopeOf(inOne("wayleave-system", may("delete", "", "pods"))),
		},

		"proxies": {
			scope: scopeOf(inOne("a", may("get", "", "pods/proxy"), may("create", "", "services/proxy")), cluster(may("get", "", "nodes/proxy"))),
			want: []verdict{
				{"namespaced[0].rules[0].resources[0]", ""}, {"namespaced[0].rules[1].resources[0]", ""}, {"cluster[0].resources[0]", ""},
			},
			fits: scopeOf(inOne("a", may("get", "", "services"), may("get", "", "pods/status"))),
		},
		"every pod of a node": {
			scope: scopeOf(cluster(may("get", "", "nodes/log"), may("create", "", "nodes/checkpoint"), may("get", "", "nodes/pods"))),
			want:  []verdict{{"cluster[0].resources[0]", ""}, {"cluster[1].resources[0]", ""}, {"cluster[2].resources[0]", ""}},
			fits:  scopeOf(cluster(may("get", "", "nodes/stats"), may("get", "", "nodes/healthz"))),
		},
		"past the scheduler": {
			scope: scopeOf(inOne("a", may("create", "", "pods/binding"), may("create", "", "bindings"))),
			want:  []verdict{{"namespaced[0].rules[0].resources[0]", ""}, {"namespaced[0].rules[1].resources[0]", ""}},
			fits:  scopeOf(inOne("a", may("create", "", "pods/eviction"), may("patch", "", "pods/resize"))),
		},
		"where Services lead": {
			scope: scopeOf(inOne("a", may("update", "", "endpoints"), may("create", "discovery.k8s.io", "endpointslices"))),
			want:  []verdict{{"namespaced[0].rules[0].resources[0]", ""}, {"namespaced[0].rules[1].resources[0]", ""}},
			fits:  scopeOf(inOne("a", may("update", "", "services"), may("list", "discovery.k8s.io", "endpointslices"))),
		},
		"false status": {
			scope: scopeOf(inOne("a", may("patch", "", "pods/status"), may("patch", "", "services/status"), may("patch", "batch", "jobs/status"))),
			want: []verdict{
				{"namespaced[0].rules[0].resources[0]", ""}, {"namespaced[0].rules[1].resources[0]", ""}, {"namespaced[0].rules[2].resources[0]", ""},
			},
			fits: scopeOf(inOne("a", may("get", "", "pods/status"), may("get", "batch", "jobs/status"))),
		},
		"every namespace by way of the cluster": {
			scope: scopeOf(cluster(may("list", "", "pods"), may("get", ownGroup, "delegationpaths"))),
			want:  []verdict{{"cluster[0].resources[0]", ""}, {"cluster[1].resources[0]", ""}},
			fits:  scopeOf(inAll([]string{"a", "b"}, may("list", "", "pods")), cluster(may("list", "example.com", "widgets"))),
		},

		"the API server's own URLs": {
			scope: scopeOf(urls("get", "/logs", "/logs/audit.log", "/debug/pprof/heap"), urls("put", "/debug/flags/v")),
			want:  []verdict{{"cluster[0].nonResourceURLs[0]", ""}, {"cluster[0].nonResourceURLs[2]", ""}, {"cluster[1].nonResourceURLs[0]", ""}},
			fits:  scopeOf(urls("get", "/metrics", "/logship", "/openapi/v3"), urls("post", "/api/v2/silences")),
		},
		"URLs that mean another URL": {
			scope: scopeOf(urls("get", "//logs/audit.log"), urls("get", "/metrics/../debug"), urls("get", "/%6cogs"), urls("get", "logs")),
			want: []verdict{
				{"cluster[0].nonResourceURLs[0]", ""}, {"cluster[1].nonResourceURLs[0]", ""}, {"cluster[2].nonResourceURLs[0]", ""},
				{"cluster[3].nonResourceURLs[0]", ""},
			},
			fits: scopeOf(urls("get", "/", "/metrics/", "/.well-known/openid-configuration")),
		},
		"methods that do not exist": {
			scope: scopeOf(urls("GET", "/metrics")),
			want:  []verdict{{"cluster[0].verbs[0]", ""}},
			fits:  scopeOf(urls("head", "/metrics")),
		},

		"into a pod": {
			scope: scopeOf(inOne("a", may("get", "", "pods/exec"), may("create", "", "pods/attach"), may("get", "", "pods/portforward"),
				may("patch", "", "pods/ephemeralcontainers"))),
			want: []verdict{
				{"namespaced[0].rules[0].resources[0]", exec}, {"namespaced[0].rules[1].resources[0]", exec},
				{"namespaced[0].rules[2].resources[0]", exec}, {"namespaced[0].rules[3].resources[0]", exec},
			},
			fits: scopeOf(inOne("a", may("get", "", "pods"), may("get", "", "pods/status"))),
		},
		"pods and templates": {
			scope: scopeOf(inOne("a", may("patch", "", "pods"), may("patch", "apps", "deployments"), may("update", "batch", "cronjobs"),
				may("create", "apps", "controllerrevisions"), may("patch", "", "replicationcontrollers"))),
			want: []verdict{
				{"namespaced[0].rules[0].resources[0]", workloads}, {"namespaced[0].rules[1].resources[0]", workloads},
				{"namespaced[0].rules[2].resources[0]", workloads}, {"namespaced[0].rules[3].resources[0]", workloads},
				{"namespaced[0].rules[4].resources[0]", workloads},
			},
			fits: scopeOf(inOne("a", may("delete", "", "pods"), may("deletecollection", "", "pods"), may("delete", "apps", "deployments"),
				may("patch", "apps", "deployments/scale"), may("update", "", "replicationcontrollers/scale"), may("delete", "batch", "jobs"),
				// What declares no hop is refused by the floor.
				may("create", "", "pods"), may("create", "batch", "jobs"), may("create", "batch", "cronjobs"))),
		},
		"a rollout restart": {
			scope: scopeOf(inOne("a", may("patch", "apps", "deployments"))),
			want:  []verdict{{"namespaced[0].rules[0].resources[0]", workloads}},
			fits:  scopeOf(inOne("a", may("delete", "", "pods"), may("patch", "apps", "deployments/scale"))),
		},
		"kinds that act for others": {
			scope: scopeOf(inOne("a", may("create", "autoscaling", "horizontalpodautoscalers"), may("patch", "networking.k8s.io", "ingresses"))),
			want: []verdict{
				{"namespaced[0].rules[0].resources[0]", customResources}, {"namespaced[0].rules[1].resources[0]", customResources},
			},
			fits: scopeOf(inOne("a", may("delete", "autoscaling", "horizontalpodautoscalers"), may("list", "networking.k8s.io", "ingresses"),
				may("create", "networking.k8s.io", "networkpolicies"))),
		},
		"finalizers": {
			scope: scopeOf(inOne("a", may("create", "apps", "deployments/finalizers"), may("update", "", "serviceaccounts/finalizers"))),
			want:  []verdict{{"namespaced[0].rules[0].resources[0]", ""}, {"namespaced[0].rules[1].resources[0]", ""}},
			fits:  scopeOf(inOne("a", may("update", "apps", "deployments/finalizers"), may("patch", "", "pods/finalizers"))),
		},
		"kinds that are not built in": {
			scope: scopeOf(inOne("a", may("create", "argoproj.io", "workflows"), may("patch", "example.com", "widgets/scale"),
				may("delete", "example.com", "widgets/data"), may("get", "subresources.kubevirt.io", "virtualmachineinstances/console"))),
			want: []verdict{
				{"namespaced[0].rules[0].resources[0]", customResources}, {"namespaced[0].rules[1].resources[0]", customResources},
				{"namespaced[0].rules[2].resources[0]", customResources}, {"namespaced[0].rules[3].resources[0]", customResources},
			},
			fits: scopeOf(inOne("a", may("list", "argoproj.io", "workflows"), may("delete", "argoproj.io", "workflows"),
				may("get", "example.com", "widgets/scale"),
				may("get", "example.com", "widgets/status"), may("list", "metrics.k8s.io", "pods"))),
		},
		"deleting kinds that are not built in, in the whole cluster": {
			scope: scopeOf(cluster(may("delete", "argoproj.io", "applications"), may("deletecollection", "kyverno.io", "clusterpolicies"))),
			want:  []verdict{{"cluster[0].resources[0]", customResources}, {"cluster[1].resources[0]", customResources}},
			fits:  scopeOf(inOne("a", may("delete", "argoproj.io", "applications"))),
		},
		"unreviewed kinds of built-in groups": {
			scope: scopeOf(inOne("a", may("create", "lifecycle.k8s.io", "evictionrequests"), may("patch", "apps", "services"))),
			want:  []verdict{{"namespaced[0].rules[0].resources[0]", ""}, {"namespaced[0].rules[1].resources[0]", ""}},
			fits:  scopeOf(inOne("a", may("list", "lifecycle.k8s.io", "evictionrequests"), may("create", "policy", "poddisruptionbudgets"))),
		},

		"streams with a token in a Secret": {
			scope: scopeOf(inOne("a", may("watch", "", "pods"), may("get", "", "pods/log"), may("get", "", "pods/exec"),
				may("create", "", "pods/portforward"), may("watch", ownGroup, "delegationhops"))),
			bearer: Bearer{Token: true},
			want: []verdict{
				{"namespaced[0].rules[0].verbs[0]", ""}, {"namespaced[0].rules[1].resources[0]", ""}, {"namespaced[0].rules[2].resources[0]", ""},
				{"namespaced[0].rules[3].resources[0]", ""}, {"namespaced[0].rules[4].verbs[0]", ""},
			},
			fits: scopeOf(inOne("a", may("list", "", "pods"), may("delete", "", "pods")), urls("get", "/metrics"), forAudiences("vault")),
		},
		"streams with a token, though the path accepts them": {
			scope:  scopeOf(inOne("a", may("watch", "", "pods"), may("get", "", "pods/log"))),
			bearer: Bearer{Token: true, Accepted: []Risk{v1alpha1.RiskStreams}},
			want:   []verdict{{"namespaced[0].rules[0].verbs[0]", ""}, {"namespaced[0].rules[1].resources[0]", ""}},
			fits:   scopeOf(inOne("a", may("list", "", "pods"))),
		},
		"streams without one": {
			scope: scopeOf(inOne("a", may("watch", "", "pods"), may("get", "", "pods/log"), may("watch", ownGroup, "delegationhops")),
				cluster(may("watch", "", "nodes"))),
			want: []verdict{
				{"namespaced[0].rules[0].verbs[0]", v1alpha1.RiskStreams}, {"namespaced[0].rules[1].resources[0]", v1alpha1.RiskStreams},
				{"namespaced[0].rules[2].verbs[0]", v1alpha1.RiskStreams}, {"cluster[0].verbs[0]", v1alpha1.RiskStreams},
			},
			fits: scopeOf(inOne("a", may("list", "", "pods"), may("get", "", "pods"))),
		},
		"streams that the path accepts": {
			// It accepts no other risk with them, and nothing that never fits.
			scope:  scopeOf(inOne("a", may("watch", "", "secrets"), may("delete", "", "pods/log"), may("get", "", "pods/exec"))),
			bearer: Bearer{Accepted: []Risk{v1alpha1.RiskStreams}},
			want: []verdict{
				{"namespaced[0].rules[0].resources[0]", ""}, {"namespaced[0].rules[1].resources[0]", ""},
				{"namespaced[0].rules[2].resources[0]", exec},
			},
			fits: scopeOf(inOne("a", may("watch", "", "pods"), may("get", "", "pods/log"), may("watch", "", "secrets", "db"),
				may("watch", ownGroup, "delegationhops")), cluster(may("watch", "", "nodes"))),
		},
		"no risk at all is accepted by an empty name": {
			scope: scopeOf(inOne("a", may("get", "", "secrets"))), bearer: Bearer{Accepted: []Risk{""}},
			want: []verdict{{"namespaced[0].rules[0].resources[0]", ""}},
		},

		"one fault in a rule is reported once": {
			scope: scopeOf(inAll([]string{"a", "b"}, v1alpha1.ResourceRule{
				APIGroups: []string{""}, Resources: []string{"configmaps", "secrets", "pods"}, Verbs: []string{"get", "list", "create", "patch"},
			})),
			want: []verdict{
				{"namespaced[0].rules[0].resources[1]", ""}, {"namespaced[0].rules[0].verbs[2]", ""},
				{"namespaced[0].rules[0].resources[2]", workloads},
			},
		},
		"a malformed scope is not inspected": {
			scope: scopeOf(inOne("a", may("get", "", "secrets", ""))),
			want:  []verdict{{"namespaced[0].rules[0].resourceNames[0]", ""}},
		},
	} {
		problems := EscalationRisks(tc.scope, tc.bearer)
		for _, p := range problems {
			_, why, _ := strings.Cut(p.Message, " does not fit in a scope: ")
			reported[why] = true
		}
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, verdicts(problems)); diff != "" {
				t.Errorf("EscalationRisks() (-want +got):\n%s", diff)
			}
			if problems := EscalationRisks(tc.fits, tc.bearer); len(problems) > 0 {
				t.Errorf("the allow twin does not fit: %v", problems)
			}
		})
	}
	for i, row := range escalationRisks {
		if !reported[row.attack+"; "+row.remedy] {
			t.Errorf("no case meets row %d: %s", i, row.attack)
		}
	}
}

func TestEscalationRisksNameAttackAndRemedy(t *testing.T) {
	got := EscalationRisks(scopeOf(inOne("a", may("create", "", "secrets"))), Bearer{})
	want := []Problem{{
		Field: "namespaced[0].rules[0].verbs[0]",
		Message: "create secrets does not fit in a scope: a new Secret may ask the control plane for a token without expiry of " +
			"any account in the namespace; create it beforehand, and let the hop update it by name",
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("EscalationRisks() (-want +got):\n%s", diff)
	}
	for i, row := range escalationRisks {
		if row.blame == "" || row.meets == nil || row.attack == "" || row.remedy == "" || strings.HasSuffix(row.attack, ".") {
			t.Errorf("row %d is incomplete: %+v", i, row.attack)
		}
	}
}

// TestEveryWriteIsChecked tries every write on every kind of the built-in groups that is not listed as harmless, and on
// kinds that do not exist.
func TestEveryWriteIsChecked(t *testing.T) {
	for group := range builtinGroups {
		resources := []string{"unheardof", "pods/unheardof"}
		for _, known := range []kinds{clusterScoped, podTemplates} {
			for resource := range known[group] {
				resources = append(resources, resource, resource+"/status", resource+"/unheardof")
			}
		}
		for _, resource := range resources {
			if harmless.has(group, resource) {
				continue
			}
			for _, verb := range []string{"create", "update", "patch", "delete", "deletecollection", "unheardof"} {
				for place, s := range map[string]v1alpha1.Scope{
					"namespaced": scopeOf(inOne("a", may(verb, group, resource, "x"))),
					"cluster":    scopeOf(cluster(may(verb, group, resource, "x"))),
				} {
					if len(EscalationRisks(s, Bearer{})) == 0 {
						t.Errorf("%s %s fits in a %s rule", verb, kindOf(group, resource), place)
					}
				}
			}
		}
	}
}
