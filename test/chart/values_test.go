package chart

import (
	"strings"
	"testing"

	"github.com/wayleave/wayleave/test/operator"
)

// TestValues: each value changes what it says, and nothing is left of what it turns off.
func TestValues(t *testing.T) {
	for name, test := range map[string]struct {
		values string
		// has are texts that the objects of these keys have, and hasNot those that they have not.
		has, hasNot map[string][]string
		// without are keys of which no object begins with them.
		without []string
	}{
		"image by digest": {
			values: "image: {repository: registry.example.com/wayleave, tag: v1, digest: sha256:" + strings.Repeat("0", 64) + "}",
			has:    map[string][]string{deployment("webhook"): {`"image":"registry.example.com/wayleave@sha256:` + strings.Repeat("0", 64) + `"`}},
		},
		"image by tag": {
			values: "image: {repository: registry.example.com/wayleave, tag: v1, pullPolicy: Always}\nimagePullSecrets: [{name: registry}]",
			has: map[string][]string{deployment("certs"): {
				`"image":"registry.example.com/wayleave:v1"`, `"imagePullPolicy":"Always"`, `"imagePullSecrets":[{"name":"registry"}]`,
			}},
		},
		"what origins and approvers are held to": {
			values: "{origins: {maxUserLifetime: 24h, refuseUnbounded: true}, approvals: {credential: require}}",
			has: map[string][]string{
				deployment("controller"): {`"--max-user-lifetime=24h"`, `"--refuse-unbounded-origin"`, `"--approver-credential=require"`},
				deployment("webhook"):    {`"--max-user-lifetime=24h"`, `"--refuse-unbounded-origin"`, `"--approver-credential=require"`},
			},
		},
		"frozen": {
			values: "frozen: true",
			has:    map[string][]string{deployment("controller"): {`"--frozen"`}, deployment("webhook"): {`"--frozen"`}},
			hasNot: map[string][]string{deployment("certs"): {`"--frozen"`}},
		},
		"report only": {
			values: "enforce: warn",
			has: map[string][]string{
				deployment("controller"): {`"--enforce=warn"`}, deployment("webhook"): {`"--enforce=warn"`},
				policy("use-by-jobs"): {`"validationActions":["Warn","Audit"]`},
				policy("hop-pods"):    {`"validationActions":["Deny","Audit"]`}, // it refuses nothing that a cluster had before
			},
			hasNot: map[string][]string{deployment("certs"): {"--enforce"}},
		},
		"deny": {
			hasNot:  map[string][]string{deployment("webhook"): {"--enforce"}, policy("use-by-jobs"): {"Warn"}},
			without: []string{"ClusterRole/wayleave-webhook-warn"},
		},
		"without kinds": {values: "crds: {install: false}", without: []string{"CustomResourceDefinition"}},
		"kinds go":      {values: "crds: {keep: false}", hasNot: map[string][]string{kind("delegationpaths"): {"resource-policy"}}},
		"kinds stay":    {has: map[string][]string{kind("delegationpaths"): {`"helm.sh/resource-policy":"keep"`}}},
		"without policies": {
			values:  "policies: {install: false, require: false}",
			has:     map[string][]string{deployment("controller"): {`"--require-floor=false"`}},
			hasNot:  map[string][]string{deployment("webhook"): {"--require-floor"}},
			without: []string{"ValidatingAdmissionPolicy"},
		},
		"a given certificate": {
			values: "certificate: {from: secret, secretName: given, caBundle: BEGIN CERTIFICATE}",
			has: map[string][]string{
				deployment("webhook"): {`"secretName":"given"`}, "ValidatingWebhookConfiguration/wayleave": {`"caBundle":"QkVHSU4gQ0VSVElGSUNBVEU="`},
			},
			without: []string{deployment("certs"), "Secret", "ServiceAccount wayleave-system/wayleave-certs", "ClusterRole/wayleave-certs"},
		},
		"a certificate by cert-manager": {
			values: "certificate: {from: certManager, issuerRef: {name: corporate, kind: ClusterIssuer}}",
			has: map[string][]string{
				"Certificate wayleave-system/wayleave-webhook": {`"issuerRef":{"kind":"ClusterIssuer","name":"corporate"}`},
				"MutatingWebhookConfiguration/wayleave":        {`"cert-manager.io/inject-ca-from":"wayleave-system/wayleave-webhook"`},
			},
			without: []string{deployment("certs"), "Secret", "Issuer"},
		},
		"an issuer of the chart": {
			values: "certificate: {from: certManager}",
			has: map[string][]string{
				"Certificate wayleave-system/wayleave-webhook": {`"name":"wayleave-selfsigned"`},
				"Issuer wayleave-system/wayleave-selfsigned":   {"selfSigned"},
			},
		},
		"the API server's client certificate": {
			values: "webhook: {clientCA: {secretName: front}, strict: true}",
			has: map[string][]string{deployment("webhook"): {
				`"--client-ca-file=/client-ca/ca.crt"`, `"secretName":"front"`, `"--strict-admission"`,
			}},
		},
		"what pods need on some nodes": {
			values: "nodeSelector: {pool: system}\ntolerations: [{key: system, operator: Exists}]\npriorityClassName: high\nlogLevel: debug\n" +
				"controller: {replicas: 3, nodeSelector: {pool: own}, podLabels: {team: a}, podAnnotations: {mesh: 'no'}, " +
				"extraArgs: [--concurrency=4], affinity: {nodeAffinity: {}}, resources: {limits: {memory: 2Gi}}}",
			has: map[string][]string{
				deployment("webhook"): {`"nodeSelector":{"pool":"system"}`, `"priorityClassName":"high"`, `"--zap-log-level=debug"`, `"key":"system"`},
				deployment("controller"): {
					`"replicas":3`, `"nodeSelector":{"pool":"own"}`, `"team":"a"`, `"mesh":"no"`, `"--concurrency=4"`, `"nodeAffinity":{}`,
					`"memory":"2Gi"`,
				},
			},
		},
		"without budgets": {values: "podDisruptionBudget: {enabled: false}", without: []string{"PodDisruptionBudget"}},
		"network policies with peers": {
			values: "networkPolicy: {webhookFrom: [{ipBlock: {cidr: 192.0.2.0/24}}], " +
				"metricsFrom: [{podSelector: {matchLabels: {app: prometheus}}}]}",
			has: map[string][]string{
				"NetworkPolicy wayleave-system/wayleave-webhook":    {`"cidr":"192.0.2.0/24"`, `"app":"prometheus"`},
				"NetworkPolicy wayleave-system/wayleave-controller": {`"app":"prometheus"`},
			},
		},
		"an argument that is YAML": {
			values: "webhook: {extraArgs: ['--x=a: b # c']}", has: map[string][]string{deployment("webhook"): {`"--x=a: b # c"`}},
		},
		"without network policies": {values: "networkPolicy: {enabled: false}", without: []string{"NetworkPolicy"}},
		"without metrics": {
			values: "metrics: {enabled: false}", without: []string{"Service wayleave-system/wayleave-metrics", "ServiceMonitor"},
			hasNot: map[string][]string{deployment("controller"): {"8443"}, "NetworkPolicy wayleave-system/wayleave-controller": {"metrics"}},
		},
		"a ServiceMonitor": {
			values: "metrics: {serviceMonitor: {enabled: true, labels: {release: prometheus}}}",
			has:    map[string][]string{"ServiceMonitor wayleave-system/wayleave": {`"release":"prometheus"`}},
		},
		"what a team gives once": {
			values: "hopNamespaces: [agents]\n" +
				"ceilings: [{name: respond, namespaces: [payments], rules: [{apiGroups: [''], resources: [pods], verbs: [get]}]}]\n" +
				"starters: [{namespace: agents, subjects: [{kind: Group, name: on-call, apiGroup: rbac.authorization.k8s.io}]}]",
			has: map[string][]string{
				"RoleBinding agents/wayleave-hops":              {`"name":"wayleave-hop-namespace"`, `"name":"wayleave-controller"`},
				"ClusterRole/wayleave-ceiling-respond":          {`"delegation.wayleave.dev/ceiling":"true"`, `"verbs":["get"]`},
				"RoleBinding payments/wayleave-ceiling-respond": {`"name":"wayleave-controller"`},
				"RoleBinding agents/wayleave-start":             {`"name":"wayleave-starter"`, `"name":"on-call"`},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects, err := render(t, "v4", test.values)
			if err != nil {
				t.Fatal(err)
			}
			all := byKey(objects)
			for key, texts := range test.has {
				for _, text := range texts {
					if all[key] == nil || !strings.Contains(encode(t, all[key]), text) {
						t.Errorf("%s does not have %s", key, text)
					}
				}
			}
			for key, texts := range test.hasNot {
				for _, text := range texts {
					if all[key] == nil || strings.Contains(encode(t, all[key]), text) {
						t.Errorf("%s is not there, or has %s", key, text)
					}
				}
			}
			for _, prefix := range test.without {
				for key := range all {
					if strings.HasPrefix(key, prefix) {
						t.Errorf("there is %s", key)
					}
				}
			}
		})
	}
}

func deployment(name string) string { return "Deployment wayleave-system/wayleave-" + name }

func policy(name string) string {
	return "ValidatingAdmissionPolicyBinding/" + name + ".delegation.wayleave.dev"
}

func kind(name string) string { return "CustomResourceDefinition/" + name + ".delegation.wayleave.dev" }

// TestWrongValues: each is refused, and the message names the value.
func TestWrongValues(t *testing.T) {
	const rules = "[{apiGroups: [a], resources: [b], verbs: [c]}]"
	for name, test := range map[string]struct{ values, says string }{
		"a value that does not exist":       {"replicas: 3", "replicas"},
		"a misspelt value":                  {"webhook: {replica: 3}", "replica"},
		"no replicas":                       {"controller: {replicas: 0}", "replicas"},
		"a digest without its algorithm":    {"image: {digest: abc}", "digest"},
		"an unknown certificate":            {"certificate: {from: vault}", "from"},
		"a certificate that is none":        {"certificate: {from: secret, caBundle: mine}", "certificate.caBundle: it holds no PEM certificate"},
		"a rule with a misspelt field":      {"ceilings: [{name: a, namespaces: [b], rules: [{apiGroups: [a], verb: [c]}]}]", "verb"},
		"a mode that does not exist":        {"enforce: audit", "enforce"},
		"a given certificate without a CA":  {"certificate: {from: secret}", "certificate.caBundle: with certificate.from=secret"},
		"a monitor of nothing":              {"metrics: {enabled: false, serviceMonitor: {enabled: true}}", "metrics.serviceMonitor.enabled"},
		"a namespace that is no name":       {"hopNamespaces: ['*']", "hopNamespaces"},
		"a ceiling without rules":           {"ceilings: [{name: all, namespaces: [payments]}]", "rules"},
		"a ceiling for no namespace":        {"ceilings: [{name: all, namespaces: [], rules: " + rules + "}]", "namespaces"},
		"starters of no kind":               {"starters: [{namespace: agents, subjects: [{name: on-call}]}]", "kind"},
		"an argument that is no flag":       {"webhook: {extraArgs: [strict]}", "extraArgs"},
		"hops in a namespace of Kubernetes": {"hopNamespaces: [kube-system]", "hopNamespaces"},
		"hops in our own namespace":         {"hopNamespaces: [wayleave-system]", "hopNamespaces"},
		"a Secret that certs may not write": {"certificate: {secretName: mine}", "certificate.secretName: with certificate.from=rotation"},
		"two ceilings of one name": {
			"ceilings: [{name: a, namespaces: [dev], rules: " + rules + "}, {name: a, namespaces: [payments], rules: " + rules + "}]",
			"ceilings: there are two of the name a",
		},
		"starters of one namespace twice": {
			"starters: [{namespace: a, subjects: [{kind: User, name: alice}]}, {namespace: a, subjects: [{kind: User, name: bob}]}]",
			"starters: there are two of namespace a",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, version := range operator.HelmVersions {
				if _, err := render(t, version, test.values); err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("helm %s: %v, which does not name %q", version, err, test.says)
				}
			}
		})
	}
}

// TestWrongPlace: the chart says where it belongs, and for which clusters it is.
func TestWrongPlace(t *testing.T) {
	for _, version := range operator.HelmVersions {
		if _, err := helm(t, version, "template", "wayleave", chart, "--namespace", "default", "--kube-version", "1.37.0"); err == nil ||
			!strings.Contains(err.Error(), "--namespace wayleave-system") {
			t.Errorf("helm %s, in another namespace: %v", version, err)
		}
		if _, err := helm(t, version, "template", "wayleave", chart, "--namespace", ns, "--kube-version", "1.34.9"); err == nil ||
			!strings.Contains(err.Error(), "1.35") {
			t.Errorf("helm %s, on an old cluster: %v", version, err)
		}
	}
}
