// Package inprocess judges requests by the policies of config/policy alone, with the API server's own CEL, in milliseconds. Whether a real
// API server hands them such requests is shown in test/floor.
package inprocess

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	celconfig "k8s.io/apiserver/pkg/apis/cel"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// tried is what is tried of a policy.
type tried struct {
	// idle has nothing to do with us: the policy leaves it alone at its first match condition.
	idle request
	rows map[string]row
	// worst are at the bounds of what is legal, where an expression could cost more than the API server lets it.
	worst map[string]row
}

// row is a request that a policy refuses, and its twin, the nearest one that passes all policies.
type row struct {
	says            string
	refused, passes request
}

// policies are all that are tried, each named after its file.
var policies = func() map[string]tried {
	all := map[string]tried{}
	for _, some := range []map[string]tried{
		approvalRules, controllerRules, delegationRules, hopRules, identityRules, kindRules, podRules, workloadRules,
	} {
		maps.Copy(all, some)
	}
	for policy, some := range fieldRows {
		for _, rows := range some {
			maps.Copy(all[policy].rows, rows)
		}
	}
	return all
}()

// TestRules: each policy refuses what it is for, with its own message, lets the twin pass, and leaves alone what is not ours.
func TestRules(t *testing.T) {
	for name, release := range releases {
		all := compiled(t, release)
		for policy := range policies {
			if all[policy] == nil {
				t.Errorf("there is no policy %s", policy)
			}
		}
		for policy, rule := range all {
			t.Run(name+"/"+policy, func(t *testing.T) {
				tried := policies[policy]
				if len(tried.rows) == 0 {
					t.Fatal("nothing is tried of it")
				}
				rule.leavesAlone(t, tried.idle, release)
				refusing := map[int]bool{}
				for what, row := range tried.rows {
					t.Run(what, func(t *testing.T) { maps.Copy(refusing, row.try(t, all, policy, release).refusing) })
				}
				for i, v := range rule.Spec.Validations {
					if !refusing[i] {
						t.Errorf("nothing is tried that it refuses by %s", v.Expression)
					}
				}
			})
		}
	}
}

// iterates finds an expression whose cost depends on how much there is in a request, or which asks about rights.
var iterates = regexp.MustCompile(`[.](all|exists|map|filter|matches|split|replace|check)\(`)

// TestCosts: at the bounds of what is legal, each policy is still judged, and by its own rules.
func TestCosts(t *testing.T) {
	for name, release := range releases {
		all := compiled(t, release)
		for policy, rule := range all {
			t.Run(name+"/"+policy, func(t *testing.T) {
				worst := policies[policy].worst
				if len(worst) == 0 && iterates.MatchString(rule.Spec.String()) {
					t.Fatal("its cost is not tried")
				}
				for what, row := range worst {
					t.Run(what, func(t *testing.T) {
						for how, c := range row.try(t, all, policy, release).costs {
							t.Logf("%s: the dearest expression %s, the match conditions %s, the rest %s", how, share(c.dearest, celconfig.PerCallLimit),
								share(c.conditions, celconfig.RuntimeCELCostBudgetMatchConditions), share(c.rest, celconfig.RuntimeCELCostBudget))
						}
					})
				}
			})
		}
	}
}

func share(cost, of uint64) string {
	return fmt.Sprintf("%d (%.1f %%)", cost, 100*float64(cost)/float64(of))
}

// leavesAlone demands that a policy ends at its first match condition; or, where it is about our kinds alone, at its resource rules.
func (r *rule) leavesAlone(t *testing.T, idle request, release release) {
	t.Helper()
	want := atRules
	for _, named := range r.Spec.MatchConstraints.ResourceRules {
		if !slices.Equal(named.APIGroups, []string{v1alpha1.GroupName}) {
			want = r.Spec.MatchConditions[0].Name
		}
	}
	v := r.judge(t, idle.asks(t, release.objectsAsMaps))
	if v.endedAt != want || len(v.refused)+len(v.errors) > 0 {
		t.Errorf("of what is not ours: ended at %q, want %q; refused %v, errors %q", v.endedAt, want, v.refused, v.errors)
	}
}

// outcome is by which of its validations, with the words of the row, a policy refused; and what it cost, by how it ended.
type outcome struct {
	refusing map[int]bool
	costs    map[string]cost
}

// try demands that a policy refuses one request, and that all let its twin pass.
func (r row) try(t *testing.T, all map[string]*rule, policy string, release release) outcome {
	t.Helper()
	o := outcome{refusing: map[int]bool{}}
	attack, passes := r.refused.asks(t, release.objectsAsMaps), r.passes.asks(t, release.objectsAsMaps)
	for _, name := range slices.Sorted(maps.Keys(all)) {
		refused, twin := all[name].judge(t, attack), all[name].judge(t, passes)
		if len(refused.errors) > 0 {
			t.Errorf("%s could not judge: %q", name, refused.errors)
		}
		if name == policy {
			o.costs = map[string]cost{"refused": refused.cost, "passed": twin.cost}
			for i, message := range refused.refused {
				if strings.Contains(message, r.says) {
					o.refusing[i] = true
				}
			}
			if len(o.refusing) == 0 {
				t.Errorf("it refused with %v, want %q", refused.refused, r.says)
			}
		}
		if len(twin.refused)+len(twin.errors) > 0 {
			t.Errorf("%s does not let the twin pass: refused %v, errors %q", name, twin.refused, twin.errors)
		}
	}
	return o
}

// TestCompiles: each expression is one that the oldest release that we support takes.
func TestCompiles(t *testing.T) {
	for name, release := range releases {
		for policy, rule := range compiled(t, release) {
			for _, failed := range slices.Concat(rule.conditions.failed, rule.rest.failed) {
				t.Errorf("%s: %s: %s", name, policy, failed)
			}
		}
	}
}
