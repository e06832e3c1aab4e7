package scope

import (
	"testing"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestAcceptedRisks: what a path accepts fits, and nothing else does for it.
func TestAcceptedRisks(t *testing.T) {
	scopes := map[Risk]v1alpha1.Scope{
		v1alpha1.RiskStreams: scopeOf(inOne("a", may("watch", "", "pods"), may("get", "", "pods/log"))),
		exec: scopeOf(inOne("a", may("create", "", "pods/exec"), may("get", "", "pods/attach"), may("create", "", "pods/portforward"),
			may("patch", "", "pods/ephemeralcontainers"))),
		workloads: scopeOf(inOne("a", may("patch", "", "pods"), may("create", "apps", "deployments"), may("patch", "apps", "deployments"),
			may("update", "batch", "cronjobs"), may("create", "", "podtemplates"))),
		customResources: scopeOf(inOne("a", may("create", "argoproj.io", "workflows"), may("patch", "networking.k8s.io", "ingresses"),
			may("create", "autoscaling", "horizontalpodautoscalers"))),
	}
	for _, risk := range AcceptableRisks {
		for of, scope := range scopes {
			problems := EscalationRisks(scope, Bearer{Accepted: []Risk{risk}})
			if fits := len(problems) == 0; fits != (risk == of) {
				t.Errorf("of a path that accepts %s, what takes %s fits: %t: %v", risk, of, fits, problems)
			}
		}
	}
	for _, never := range []v1alpha1.Scope{
		scopeOf(inOne("a", may("create", "", "serviceaccounts/token"))), scopeOf(inOne("kube-system", may("create", "", "pods"))),
		scopeOf(inOne("a", may("create", "", "pods/binding"))), scopeOf(inOne("a", may("get", "", "pods/proxy"))),
		scopeOf(inOne("a", may("create", ownGroup, "delegationhops"))),
	} {
		if len(EscalationRisks(never, Bearer{Accepted: AcceptableRisks})) == 0 {
			t.Errorf("of a path that accepts all risks, %v fits", never)
		}
	}
	for _, of := range []Risk{v1alpha1.RiskStreams, exec} {
		if of == exec {
			scopes[of] = scopeOf(inOne("a", may("patch", "", "pods/ephemeralcontainers")))
		}
		if len(EscalationRisks(scopes[of], Bearer{Token: true, Accepted: AcceptableRisks})) == 0 {
			t.Errorf("for a hop with a token, what takes %s fits", of)
		}
	}
}
