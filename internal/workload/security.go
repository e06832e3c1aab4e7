package workload

import (
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// evaluator judges pods as the API server's own admission does.
var evaluator = mustEvaluate()

func mustEvaluate() policy.Evaluator {
	e, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil { // the checks are part of the program
		panic(err)
	}
	return e
}

// violates says, for each Pod Security level that a pod of the workload does not keep, what is against it, in the words of Kubernetes.
func (w *Workload) violates() map[v1alpha1.PodSecurityLevel]string {
	violations := map[v1alpha1.PodSecurityLevel]string{}
	for level, as := range map[v1alpha1.PodSecurityLevel]api.Level{
		v1alpha1.PodSecurityBaseline: api.LevelBaseline, v1alpha1.PodSecurityRestricted: api.LevelRestricted,
	} {
		result := policy.AggregateCheckResults(
			evaluator.EvaluatePod(api.LevelVersion{Level: as, Version: api.LatestVersion()}, &w.Meta, &w.Spec))
		if !result.Allowed {
			violations[level] = result.ForbiddenDetail()
		}
	}
	return violations
}
