package floor

import (
	"strings"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"sigs.k8s.io/yaml"

	"github.com/wayleave/wayleave/config/policy"
)

const controller = "system:serviceaccount:wayleave-system:wayleave-controller"

type (
	aPolicy  = *admissionregistrationv1.ValidatingAdmissionPolicy
	aBinding = *admissionregistrationv1.ValidatingAdmissionPolicyBinding
)

// installed is a policy with its binding as they are in a file.
func installed(t *testing.T, name string) (aPolicy, aBinding) {
	t.Helper()
	raw, err := policy.Files.ReadFile(name + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	first, second, _ := strings.Cut(string(raw), "\n---\n")
	p, b := &admissionregistrationv1.ValidatingAdmissionPolicy{}, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}
	for text, into := range map[string]any{first: p, second: b} {
		if err := yaml.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	return p, b
}

func load(t *testing.T, controller string, reportOnly bool) *Floor {
	t.Helper()
	f, err := Load(policy.Files, controller, reportOnly)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestGap(t *testing.T) {
	for name, test := range map[string]struct {
		policy string
		change func(aPolicy, aBinding)
		without, unbound,
		reportOnly bool
		controller, want string
	}{
		"as in the file": {change: func(aPolicy, aBinding) {}},
		"written anew by a tool": {change: func(p aPolicy, _ aBinding) {
			e := &p.Spec.Validations[1].Expression
			*e = strings.ReplaceAll(*e, " == ", " ==\n  ")
		}},
		"with labels of others": {change: func(p aPolicy, b aBinding) {
			p.Labels, b.Annotations = map[string]string{"team": "a"}, map[string]string{"a": "b"}
		}},
		"missing":   {without: true, want: "is not installed"},
		"not bound": {unbound: true, want: "is not bound"},
		"an older one": {
			change: func(p aPolicy, _ aBinding) { p.Spec.Validations = p.Spec.Validations[1:] }, want: "is not that of this release",
		},
		"another expression": {
			change: func(p aPolicy, _ aBinding) { p.Spec.Validations[0].Expression = "true" }, want: "is not that of this release",
		},
		"one that fails open": {
			change: func(p aPolicy, _ aBinding) { p.Spec.FailurePolicy = new(admissionregistrationv1.Ignore) }, want: "is not that of this release",
		},
		"one more condition": {change: func(p aPolicy, _ aBinding) {
			p.Spec.MatchConditions = append(p.Spec.MatchConditions, admissionregistrationv1.MatchCondition{Name: "never", Expression: "false"})
		}, want: "is not that of this release"},
		"not denying": {
			change: func(_ aPolicy, b aBinding) { b.Spec.ValidationActions = b.Spec.ValidationActions[1:] }, want: "is not bound as in this release",
		},
		"bound to some namespaces": {
			change: func(_ aPolicy, b aBinding) { b.Spec.MatchResources = &admissionregistrationv1.MatchResources{} },
			want:   "is not bound as in this release",
		},
		"denying where Wayleave only reports": {policy: "use-by-jobs", reportOnly: true, want: "is not bound as in this release"},
		"about another controller":            {policy: "gate", controller: "system:serviceaccount:x:y", want: "is not that of this release"},
		"what the API server does not know": {change: func(p aPolicy, _ aBinding) {
			p.Status.TypeChecking = &admissionregistrationv1.TypeChecking{ExpressionWarnings: []admissionregistrationv1.ExpressionWarning{
				{FieldRef: "spec.validations[0].expression", Warning: "undefined field\n 'x'"},
			}}
		}, want: "does not fit this API server: spec.validations[0].expression: undefined field 'x'"},
		"a warning about an earlier text": {change: func(p aPolicy, _ aBinding) {
			p.Generation = 2
			p.Status.TypeChecking = &admissionregistrationv1.TypeChecking{ExpressionWarnings: []admissionregistrationv1.ExpressionWarning{{}}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if test.policy == "" {
				test.policy = "hop-pods"
			}
			if test.controller == "" {
				test.controller = controller
			}
			p, b := installed(t, test.policy)
			if test.change != nil {
				test.change(p, b)
			}
			full := p.Name
			if test.without {
				p = nil
			}
			if test.unbound {
				b = nil
			}
			if got := load(t, test.controller, test.reportOnly).Gap(full, p, b); got != test.want {
				t.Errorf("the policy %q, want %q", got, test.want)
			}
		})
	}
}

// TestPolicies: each policy has what all of them promise.
func TestPolicies(t *testing.T) {
	for _, full := range load(t, controller, false).Names() {
		name, ours := strings.CutSuffix(full, ".delegation.wayleave.dev")
		if !ours {
			t.Errorf("%s is not named after our group", full)
			continue
		}
		p, b := installed(t, name) // the file is named after it
		if p.Name != full {
			t.Errorf("the file of %s has %s", name, p.Name)
		}
		if p.Labels[Label] == "" || b.Labels[Label] == "" {
			t.Errorf("%s: the label %s is missing, by which it is found", name, Label)
		}
		if p.Spec.ParamKind != nil || p.Spec.FailurePolicy == nil || *p.Spec.FailurePolicy != admissionregistrationv1.Fail {
			t.Errorf("%s has parameters, or fails open", name)
		}
		if a := b.Spec.ValidationActions; len(a) != 2 || a[0] != admissionregistrationv1.Deny || a[1] != admissionregistrationv1.Audit {
			t.Errorf("%s: the actions are %v", name, a)
		}
		about := ""
		if len(p.Spec.MatchConditions) > 0 {
			about = p.Spec.MatchConditions[0].Expression
		}
		for _, rule := range p.Spec.MatchConstraints.ResourceRules {
			if strings.Join(rule.APIGroups, "") != "delegation.wayleave.dev" &&
				!strings.Contains(about, "dhop-") && !strings.Contains(about, "delegation.wayleave.dev") &&
				!strings.Contains(about, "'"+controller+"'") &&
				!strings.Contains(about, "'system:serviceaccount:wayleave-system:wayleave-certs'") {
				t.Errorf("%s: a fault in it reaches what is not ours, since its first condition is %q", name, about)
			}
		}
	}
}
