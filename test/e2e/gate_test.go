//go:build unix

package e2e

import (
	"errors"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestUse: a hop has permissions only while a use lives. Its pods start once they are in effect, and its next use runs as
// another identity.
func TestUse(t *testing.T) {
	f := hopSetup(t)
	path, hop := f.path("contain"), f.hop("look", "contain", "", usedBy(v1alpha1.WorkloadJob), maxUses(2))
	f.apply(f.by, path, hop)
	f.state(hop, v1alpha1.ReasonIdle)
	f.holds(hop, nil)
	f.uses(hop, "0/2", 0)
	before := hop.Status.ServiceAccountName

	job := f.work("look", "look")
	f.apply(f.by, job)
	pod := f.opened(job, 1)[0]
	if d := pod.Spec.ActiveDeadlineSeconds; d == nil || *d > 3600 || *d < 3000 {
		t.Errorf("its deadline is %v", d)
	}
	f.state(hop, v1alpha1.ReasonGranted)
	f.uses(hop, "1/2", 1)
	f.holds(hop, map[string][]rbacv1.PolicyRule{f.on: {rule("", "configmaps", "get,list")}})
	if pod.Spec.ServiceAccountName != before {
		t.Errorf("it runs as %s, not as %s", pod.Spec.ServiceAccountName, before)
	}
	f.finish(&pod, corev1.PodSucceeded)
	f.uses(hop, "1/2", 0)
	f.state(hop, v1alpha1.ReasonIdle)
	f.holds(hop, nil)
	f.eventually("another account", func() error { return f.isAccount(hop, before) })

	// Two at once, of which one may begin.
	first, second := f.work("first", "look", asSuspended), f.work("second", "look", asSuspended)
	f.apply(f.by, first, second)
	for _, job := range []*batchv1.Job{first, second} {
		f.change(f.by, job, `{"spec":{"suspend":false}}`)
	}
	f.uses(hop, "2/2", 1)
	runs, refused := first, second
	if hop.Status.Uses.Live[0].Name == second.Name {
		runs, refused = second, first
	}
	f.opened(runs, 1)
	f.refused(refused, v1alpha1.ReasonUsesExhausted)
	f.wantDenied(f.as(f.by).Create(t.Context(), f.work("third", "look")), "UsesExhausted", "workload.maxUses")
}

var errNotReplaced = errors.New("the account was not replaced, or another one is left")

// isAccount fails unless the one account of a hop is another one than before.
func (f *fixture) isAccount(h *v1alpha1.DelegationHop, before string) error {
	var accounts corev1.ServiceAccountList
	if err := suite.admin.List(f.Context(), &accounts, client.InNamespace(h.Namespace),
		client.MatchingLabels{v1alpha1.LabelHopUID: string(h.UID)}); err != nil {
		return err
	}
	if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(h), h); err != nil {
		return err
	}
	if len(accounts.Items) != 1 || accounts.Items[0].Name == before || accounts.Items[0].Name != h.Status.ServiceAccountName {
		return errNotReplaced
	}
	return nil
}
