package inprocess

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"testing"

	celgo "github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types/ref"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/util/version"
	"k8s.io/apiserver/pkg/admission"
	plugincel "k8s.io/apiserver/pkg/admission/plugin/cel"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/matchconditions"
	"k8s.io/apiserver/pkg/admission/plugin/webhook/predicates/rules"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"sigs.k8s.io/yaml"

	"github.com/wayleave/wayleave/config/policy"
)

// releases are the ways in which the API servers that we support compile the text of a policy and hand objects to it. An API server takes
// a new policy only if the release before its own would compile it.
var releases = map[string]release{
	"1.35": {knows: version.MajorMinor(1, 34), mode: environment.NewExpressions, objectsAsMaps: true},
	"1.37": {knows: version.MajorMinor(1, 36), mode: environment.StoredExpressions},
}

type release struct {
	knows         *version.Version
	mode          environment.Type
	objectsAsMaps bool
}

// rule is a policy, compiled.
type rule struct {
	*admissionregistrationv1.ValidatingAdmissionPolicy
	matcher   matchconditions.Matcher
	validator validating.Validator
	// conditions and rest are the meters of the match conditions, which have a budget of their own, and of all else.
	conditions, rest *meter
}

// compiled has all policies by name, as a release compiles them.
func compiled(t *testing.T, r release) map[string]*rule {
	t.Helper()
	paths, err := fs.Glob(policy.Files, "*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]*rule{}
	for _, path := range paths {
		if path == "kustomization.yaml" {
			continue
		}
		raw, err := policy.Files.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(raw), "\n---\n")
		p := &admissionregistrationv1.ValidatingAdmissionPolicy{}
		if err := yaml.UnmarshalStrict([]byte(first), p); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if all[strings.TrimSuffix(path, ".yaml")], err = r.compile(p); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
	return all
}

// compile is compilePolicy of the API server, which it does not export, with a meter in each expression.
func (r release) compile(p *admissionregistrationv1.ValidatingAdmissionPolicy) (*rule, error) {
	compiler, err := plugincel.NewCompositedCompiler(environment.MustBaseEnvSet(r.knows))
	if err != nil {
		return nil, fmt.Errorf("making a compiler: %w", err)
	}
	var variables []plugincel.NamedExpressionAccessor
	for _, v := range p.Spec.Variables {
		variables = append(variables, &validating.Variable{Name: v.Name, Expression: v.Expression})
	}
	conditions := make([]plugincel.ExpressionAccessor, len(p.Spec.MatchConditions))
	for i := range p.Spec.MatchConditions {
		conditions[i] = (*matchconditions.MatchCondition)(&p.Spec.MatchConditions[i])
	}
	validations := make([]plugincel.ExpressionAccessor, len(p.Spec.Validations))
	messages := make([]plugincel.ExpressionAccessor, len(p.Spec.Validations)) // nil where the message is no expression
	for i, v := range p.Spec.Validations {
		validations[i] = &validating.ValidationCondition{Expression: v.Expression, Message: v.Message, Reason: v.Reason}
		if v.MessageExpression != "" {
			messages[i] = &validating.MessageExpressionCondition{MessageExpression: v.MessageExpression}
		}
	}
	compiled := &rule{
		ValidatingAdmissionPolicy: p, conditions: &meter{Compiler: compiler.Compiler}, rest: &meter{Compiler: compiler.Compiler},
	}
	withAuthorizer := plugincel.OptionalVariableDeclarations{HasAuthorizer: true}
	compiler.Compiler, compiler.ConditionCompiler = compiled.rest, compiled.conditions
	compiler.CompileAndStoreVariables(variables, withAuthorizer, r.mode)
	if len(conditions) > 0 {
		filter := compiler.CompileCondition(conditions, withAuthorizer, r.mode)
		compiled.matcher = matchconditions.NewMatcher(filter, p.Spec.FailurePolicy, "policy", "validate", p.Name)
	}
	compiler.ConditionCompiler = compiled.rest
	compiled.validator = validating.NewValidator(
		compiler.CompileCondition(validations, withAuthorizer, r.mode), compiled.matcher, compiler.CompileCondition(nil, withAuthorizer, r.mode),
		compiler.CompileCondition(messages, plugincel.OptionalVariableDeclarations{}, r.mode), p.Spec.FailurePolicy, nil,
	)
	return compiled, nil
}

// meter compiles expressions so that they tell what they cost.
type meter struct {
	plugincel.Compiler
	failed         []string
	total, dearest uint64 // of the evaluations since they were reset
}

func (m *meter) CompileCELExpression(
	e plugincel.ExpressionAccessor, options plugincel.OptionalVariableDeclarations, mode environment.Type,
) plugincel.CompilationResult {
	result := m.Compiler.CompileCELExpression(e, options, mode)
	if result.Error != nil {
		m.failed = append(m.failed, fmt.Sprintf("%s: %v", e.GetExpression(), result.Error))
		return result
	}
	result.Program = metered{result.Program, m}
	return result
}

func (m *meter) CompileCondition(
	expressions []plugincel.ExpressionAccessor, options plugincel.OptionalVariableDeclarations, mode environment.Type,
) plugincel.ConditionEvaluator {
	results := make([]plugincel.CompilationResult, len(expressions))
	for i, e := range expressions {
		if e != nil {
			results[i] = m.CompileCELExpression(e, options, mode)
		}
	}
	return plugincel.NewCondition(results)
}

type metered struct {
	celgo.Program
	meter *meter
}

func (p metered) ContextEval(ctx context.Context, input any) (ref.Val, *celgo.EvalDetails, error) {
	value, details, err := p.Program.ContextEval(ctx, input)
	if details != nil && details.ActualCost() != nil {
		p.meter.total += *details.ActualCost()
		p.meter.dearest = max(p.meter.dearest, *details.ActualCost())
	}
	return value, details, err
}

// verdict is what a policy says about a request.
type verdict struct {
	// endedAt is where the policy left the request alone: at its resource rules, or at a match condition. Otherwise it is empty.
	endedAt string
	// refused has the message of each validation that refuses, by its place in the policy.
	refused map[int]string
	errors  []string
	cost    cost
}

// cost is in units of CEL: of the dearest of all expressions, of the match conditions, and of all else.
type cost struct{ dearest, conditions, rest uint64 }

const atRules = "the resource rules"

// judge asks a policy about a request.
func (r *rule) judge(t *testing.T, q question) verdict {
	t.Helper()
	v := verdict{refused: map[int]string{}}
	if !r.concerns(q.VersionedAttributes) {
		return verdict{endedAt: atRules}
	}
	if r.matcher != nil {
		v.endedAt = r.matcher.Match(t.Context(), q.VersionedAttributes, nil, q.request).FailedConditionName
	}
	for _, m := range []*meter{r.conditions, r.rest} {
		m.total, m.dearest = 0, 0
	}
	result := r.validator.Validate(t.Context(), q.GetResource(), q.VersionedAttributes, nil, nil, celconfig.RuntimeCELCostBudget, q.request)
	for i, d := range result.Decisions {
		switch d.Evaluation {
		case validating.EvalDeny:
			v.refused[i] = d.Message
		case validating.EvalError:
			v.errors = append(v.errors, d.Message)
		case validating.EvalAdmit:
		}
	}
	v.cost = cost{max(r.conditions.dearest, r.rest.dearest), r.conditions.total, r.rest.total}
	return v
}

// concerns says whether the resource rules select a request.
func (r *rule) concerns(a admission.Attributes) bool {
	for _, named := range r.Spec.MatchConstraints.ResourceRules {
		if matcher := (rules.Matcher{Rule: named.RuleWithOperations, Attr: a}); matcher.Matches() {
			return true
		}
	}
	return false
}
