//go:build unix

package e2e

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestSecretsOfWorkloads: a hop lists Secrets that its path lists and its author may get, and its workloads read no others.
func TestSecretsOfWorkloads(t *testing.T) {
	f := setup(t)
	f.apply(f.by, f.path("contain", func(p *v1alpha1.DelegationPath) { p.Spec.Hops.Secrets = []string{"db", "cache"} }))
	lists := func(names ...string) *v1alpha1.DelegationHop {
		return f.hop("isolate", "contain", "", func(h *v1alpha1.DelegationHop) {
			h.Spec.Token = nil
			h.Spec.Workload = &v1alpha1.Workload{
				Kinds:  []v1alpha1.WorkloadKind{v1alpha1.WorkloadJob},
				Images: []string{f.work("x", "x").Spec.Template.Spec.Containers[0].Image}, Secrets: names,
			}
		})
	}
	f.wantDenied(f.as(f.by).Create(t.Context(), lists("db")), "SecretNotInScope: spec.workload.secrets", "may not get Secrets \"db\"")
	f.bind(f.ns, f.by, rule("", "secrets", "get", "db", "other"))
	f.eventually("the author to be known to get it", func() error { return f.as(f.by).Create(t.Context(), lists("db"), client.DryRunAll) })
	h := lists("db")
	f.apply(f.by, h)
	f.state(h, v1alpha1.ReasonIdle)
	reads := func(name string) *batchv1.Job {
		return f.work("reads-"+name, "isolate", func(j *batchv1.Job) {
			j.Spec.Template.Spec.Containers[0].EnvFrom = []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{
				LocalObjectReference: corev1.LocalObjectReference{Name: name},
			}}}
		})
	}
	f.eventually("the Job to be admitted", func() error { return f.as(f.by).Create(t.Context(), reads("db"), client.DryRunAll) })
	f.wantDenied(f.as(f.by).Create(t.Context(), reads("cache")), "SecretNotInScope", `the hop does not list Secret "cache"`)

	wider := lists("db", "other")
	wider.Name = "wider"
	f.apply(f.by, wider) // with a warning: the path may be changed to list it
	f.state(wider, v1alpha1.ReasonSecretNotInScope)
}
