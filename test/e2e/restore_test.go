//go:build unix

package e2e

import (
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestRestoredWithoutStatus: a backup that brings a path and a hop back without their status brings back neither time nor uses.
func TestRestoredWithoutStatus(t *testing.T) {
	f := hopSetup(t)
	path, hop := f.path("contain"), f.hop("look", "contain", "", usedBy(v1alpha1.WorkloadJob, v1alpha1.WorkloadPod), maxUses(1))
	f.apply(f.by, path, hop)
	f.state(hop, v1alpha1.ReasonIdle)
	f.usable(hop.Name)
	job := f.work("look", "look")
	f.apply(f.by, job)
	f.finish(&f.opened(job, 1)[0], corev1.PodSucceeded)
	f.uses(hop, "1/1", 0)
	f.state(path, v1alpha1.ReasonActive)
	since := path.Status.ActiveSince
	for _, o := range []client.Object{hop, path} {
		f.eventually("the record of "+o.GetName(), func() error {
			if err := suite.admin.Get(t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
				return err
			}
			if o.GetLabels()[v1alpha1.LabelRecord] == "" {
				return fmt.Errorf("there is none")
			}
			return nil
		})
		f.remove(f.by, o)
		f.isGone(o)
	}

	again, hopAgain := f.path("contain"), f.hop("look", "contain", "", usedBy(v1alpha1.WorkloadJob, v1alpha1.WorkloadPod), maxUses(1))
	copied, hopCopied := f.path("copied"), f.hop("copied", "copied", "", usedBy(v1alpha1.WorkloadJob, v1alpha1.WorkloadPod), maxUses(1))
	for o, from := range map[client.Object]client.Object{again: path, copied: path, hopAgain: hop, hopCopied: hop} {
		o.SetLabels(from.GetLabels())
	}
	f.apply(f.by, again, hopAgain, copied, hopCopied)
	for _, h := range []*v1alpha1.DelegationHop{hopAgain, hopCopied} {
		f.state(h, v1alpha1.ReasonIdle)
	}
	f.uses(hopAgain, "1/1", 0)
	f.uses(hopCopied, "0/1", 0) // the record of another object means nothing
	f.state(again, v1alpha1.ReasonActive)
	f.state(copied, v1alpha1.ReasonActive)
	if !again.Status.ActiveSince.Equal(since) || copied.Status.ActiveSince.Before(since) {
		t.Errorf("restored, it is active since %v, and was since %v", again.Status.ActiveSince, since)
	}
	f.usable(hopCopied.Name)
	f.wantDenied(f.as(f.by).Create(t.Context(), f.work("second", "look")), "UsesExhausted") // a dry run is told in a warning
	f.wantAllowed(f.creates(f.by, f.work("second", "copied")))
}
