// Package floor tells whether the policies that hold while no process of Wayleave runs are in effect, as this release has them.
package floor

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/wayleave/wayleave/internal/rbac"
	"github.com/wayleave/wayleave/internal/scope"
)

// Label is on each policy and binding, so that nobody else's have to be read.
const Label = "delegation.wayleave.dev/floor"

// Floor is all policies of a release.
type Floor struct {
	rules map[string]rule // by the name of policy and binding
}

// rule is a policy and its binding, as text that does not depend on how they were written.
type rule struct{ policy, binding string }

// Load reads policies from files with a policy and its binding each. They name the controller by its user name. Where Wayleave only
// reports what runs under hops, so do those that ask for the use of one.
func Load(files fs.FS, controller string, reportOnly bool) (*Floor, error) {
	paths, err := fs.Glob(files, "*.yaml")
	if err != nil {
		return nil, fmt.Errorf("finding the policies: %w", err)
	}
	f := &Floor{rules: map[string]rule{}}
	for _, path := range paths {
		if path == "kustomization.yaml" {
			continue
		}
		raw, err := fs.ReadFile(files, path)
		if err != nil {
			return nil, fmt.Errorf("reading a policy: %w", err)
		}
		text := strings.ReplaceAll(string(raw), rbac.ServiceAccountUser(scope.DefaultOperatorNamespace, "wayleave-controller"), controller)
		if err := f.add(text, reportOnly); err != nil {
			return nil, fmt.Errorf("reading policy %s: %w", path, err)
		}
	}
	return f, nil
}

func (f *Floor) add(text string, reportOnly bool) error {
	first, second, _ := strings.Cut(text, "\n---\n")
	policy, binding := &admissionregistrationv1.ValidatingAdmissionPolicy{}, &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}
	if err := yaml.UnmarshalStrict([]byte(first), policy); err != nil {
		return err
	}
	if err := yaml.UnmarshalStrict([]byte(second), binding); err != nil {
		return err
	}
	if policy.Name == "" || policy.Name != binding.Name || policy.Name != binding.Spec.PolicyName {
		return fmt.Errorf("policy %q and binding %q of %q are not of one name", policy.Name, binding.Name, binding.Spec.PolicyName)
	}
	if reportOnly && strings.HasPrefix(policy.Name, "use-by-") {
		binding.Spec.ValidationActions = []admissionregistrationv1.ValidationAction{
			admissionregistrationv1.Warn, admissionregistrationv1.Audit,
		}
	}
	f.rules[policy.Name] = rule{policy: policyText(policy), binding: bindingText(binding)}
	return nil
}

// Names are the names of the policies, in order.
func (f *Floor) Names() []string { return slices.Sorted(maps.Keys(f.rules)) }

// Has says whether a policy of a name is part of it.
func (f *Floor) Has(name string) bool { return f.rules[name] != rule{} }

// Gap says why a policy is not in effect as this release has it, from what is installed under its name, or nil where nothing is;
// empty where it is.
func (f *Floor) Gap(
	name string, policy *admissionregistrationv1.ValidatingAdmissionPolicy, binding *admissionregistrationv1.ValidatingAdmissionPolicyBinding,
) string {
	want := f.rules[name]
	switch {
	case policy == nil:
		return "is not installed"
	case binding == nil:
		return "is not bound"
	case policyText(policy) != want.policy:
		return "is not that of this release"
	case bindingText(binding) != want.binding:
		return "is not bound as in this release"
	}
	checked := policy.Status.TypeChecking
	if checked != nil && policy.Status.ObservedGeneration == policy.Generation && len(checked.ExpressionWarnings) > 0 {
		w := checked.ExpressionWarnings[0]
		return fmt.Sprintf("does not fit this API server: %s: %s", w.FieldRef, strings.Join(strings.Fields(w.Warning), " "))
	}
	return ""
}

// policyText is the same for a policy in a file and for what the API server makes of it, which has its defaults.
func policyText(policy *admissionregistrationv1.ValidatingAdmissionPolicy) string {
	spec := policy.Spec.DeepCopy()
	spec.FailurePolicy = orDefault(spec.FailurePolicy, admissionregistrationv1.Fail)
	if match := spec.MatchConstraints; match != nil {
		match.MatchPolicy = orDefault(match.MatchPolicy, admissionregistrationv1.Equivalent)
		match.NamespaceSelector = orDefault(match.NamespaceSelector, metav1.LabelSelector{})
		match.ObjectSelector = orDefault(match.ObjectSelector, metav1.LabelSelector{})
		for i := range match.ResourceRules {
			match.ResourceRules[i].Scope = orDefault(match.ResourceRules[i].Scope, admissionregistrationv1.AllScopes)
		}
	}
	return text(spec)
}

func bindingText(binding *admissionregistrationv1.ValidatingAdmissionPolicyBinding) string {
	return text(binding.Spec)
}

// orDefault is a pointer, or one to its default where it is nil.
func orDefault[T any](value *T, byDefault T) *T {
	if value == nil {
		return new(byDefault)
	}
	return value
}

// text is an object as JSON, without how its expressions are broken into lines: tools that write YAML break them anew.
func text(o any) string {
	raw, err := json.Marshal(o)
	if err != nil { // types of the API can always be written
		panic(err)
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(string(raw), `\n`, " ")), " ")
}
