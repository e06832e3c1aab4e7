//go:build unix

package e2e

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/test/operator"
)

// TestHopDeletedWhileItsPodWaits: a pod that waits for a queue when its hop is deleted never starts.
func TestHopDeletedWhileItsPodWaits(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain()
	f.usable(hop.Name)
	job := f.work("queued", hop.Name, queued)
	bare := f.queuedPod("dhop-queued", hop.Name)
	f.apply(f.by, job)
	f.madeBy(job.Name)
	f.remove(f.by, hop)
	f.refused(job, v1alpha1.ReasonHopNotFound)
	f.eventually("the bare pod to be gone", func() error {
		if f.find(bare) != nil {
			return errAllowed
		}
		return f.wantEvent(bare, "HopNotFound", "ended")
	})
}

// TestAnotherLifetimeCostsNoRetry: a hop whose end is changed gets another identity, and a Job that runs goes on as the same
// use, although it may not fail once.
func TestAnotherLifetimeCostsNoRetry(t *testing.T) {
	f := hopSetup(t)
	_, hop := f.chain(maxUses(1))
	job := f.work("goes-on", hop.Name)
	f.apply(f.by, job)
	before := f.opened(job, 1)[0]
	f.change(f.by, hop, `{"spec":{"lifetime":{"duration":"30m"}}}`)
	var now corev1.Pod
	f.eventually("a pod with the next identity", func() error {
		now = f.opened(job, 1)[0]
		if now.Spec.ServiceAccountName == before.Spec.ServiceAccountName {
			return errAllowed
		}
		return nil
	})
	if d := now.Spec.ActiveDeadlineSeconds; d == nil || *d > 1800 {
		t.Errorf("its deadline is %v", d)
	}
	f.eventually("Events of the Job", func() error { return f.wantEvent(job, "Granted", "resumed") })
	f.uses(hop, "1/1", 1)
	f.completed(job, 1)
	f.uses(hop, "1/1", 0)
}

// TestFreeze: what a freeze names stands still, and goes on when it is thawed. It never names what other tests have.
func TestFreeze(t *testing.T) {
	f := hopSetup(t)
	path, hop := f.chain()
	for key, c := range map[string]struct {
		name string
		path v1alpha1.Reason
	}{
		"origins":    {name: f.by, path: v1alpha1.ReasonFrozen},
		"authors":    {name: f.by, path: v1alpha1.ReasonActive},
		"namespaces": {name: f.ns, path: v1alpha1.ReasonActive},
	} {
		job := f.work(key, hop.Name)
		f.apply(f.by, job)
		f.opened(job, 1)
		frozen := &corev1.ConfigMap{
			ObjectMeta: meta1(operator.Namespace, delegation.FreezeName),
			Data:       map[string]string{key: "nobody@example.com\n" + c.name + "\n", "reason": "we look into " + f.ns},
		}
		if err := suite.admin.Create(t.Context(), frozen); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = suite.admin.Delete(context.Background(), frozen) })
		message := f.state(hop, v1alpha1.ReasonFrozen)
		for _, text := range []string{c.name, "frozen", delegation.FreezeName, "we look into " + f.ns} {
			if !strings.Contains(message, text) {
				t.Errorf("the message does not say %q: %s", text, message)
			}
		}
		f.state(path, c.path)
		f.holds(hop, nil)
		f.refused(job, v1alpha1.ReasonFrozen)
		later, below := f.path("later-"+key), f.hop("below-"+key, "later-"+key, "", runs)
		f.apply(f.by, later, below)
		f.state(later, c.path)
		f.state(below, v1alpha1.ReasonFrozen)

		if err := suite.admin.Delete(t.Context(), frozen); err != nil {
			t.Fatal(err)
		}
		f.state(later, v1alpha1.ReasonActive)
		f.valid(below)
		f.completed(job, 1) // with another pod: the first one was ended, and is no failure
	}
}

// TestJobThatComesWhilePodsEnd: a Job that is created while the pods of an earlier identity end is not suspended with theirs, and
// starts under the next one.
func TestJobThatComesWhilePodsEnd(t *testing.T) {
	f := hopSetup(t)
	path, hop := f.path("contain"), f.hop("look", "contain", "", usedBy(v1alpha1.WorkloadJob, v1alpha1.WorkloadPod))
	f.apply(f.by, path, hop)
	f.state(hop, v1alpha1.ReasonIdle)
	f.usable(hop.Name)
	before := f.work("before", "look")
	f.apply(f.by, before)
	pod := f.opened(before, 1)[0]
	// There is no node, so a pod that is bound to one goes on ending until it is deleted without a grace.
	binding := &corev1.Binding{Target: corev1.ObjectReference{Kind: "Node", Name: "gone"}}
	if err := suite.admin.SubResource("binding").Create(t.Context(), &pod, binding); err != nil {
		t.Fatal(err)
	}
	f.change(f.by, path, `{"spec":{"suspend":true}}`)
	f.state(hop, v1alpha1.ReasonSuspended)
	meanwhile := f.work("meanwhile", "look")
	f.apply(f.by, meanwhile)
	f.change(f.by, path, `{"spec":{"suspend":false}}`)
	f.state(hop, v1alpha1.ReasonNotYetValid)
	if err := suite.admin.Get(t.Context(), client.ObjectKeyFromObject(meanwhile), meanwhile); err != nil || *meanwhile.Spec.Suspend {
		t.Errorf("the Job that came meanwhile is suspended, or cannot be read: %v", err)
	}
	if err := suite.admin.Delete(t.Context(), &pod, client.GracePeriodSeconds(0)); err != nil {
		t.Fatal(err)
	}
	f.opened(before, 1)
	f.opened(meanwhile, 1)
	f.uses(hop, "2", 2)
}
