//go:build unix

package e2e

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

// sample are the objects of a sample, in the namespaces of the test and not in its own.
func (f *fixture) sample(file string) []client.Object {
	f.Helper()
	objects, err := operator.Load(filepath.Join(root, "config", "samples", file))
	if err != nil {
		f.Fatal(err)
	}
	var all []client.Object
	for _, o := range objects {
		raw, err := o.MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		text := strings.NewReplacer(`"incident-response"`, `"`+f.ns+`"`, `"payments"`, `"`+f.on+`"`).Replace(string(raw))
		if err := o.UnmarshalJSON([]byte(text)); err != nil {
			f.Fatal(err)
		}
		all = append(all, o)
	}
	return all
}

// typed is a hop of a sample.
func (f *fixture) typed(o client.Object) *v1alpha1.DelegationHop {
	f.Helper()
	h := &v1alpha1.DelegationHop{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.(*unstructured.Unstructured).Object, h); err != nil {
		f.Fatal(err)
	}
	return h
}

// TestAgentSplitsItsWork plays split.yaml: an agent makes two narrower hops with the identity of its own, runs a Job under each, and can do
// nothing else with that right.
func TestAgentSplitsItsWork(t *testing.T) {
	f := setup(t)
	f.ceilingOf(f.ns, rule("batch", "jobs", "create"))
	f.bind(f.on, f.by, rule("", "pods", "delete"))
	objects := f.sample("split.yaml")
	agent := f.typed(objects[1])
	agent.Spec.Token = &v1alpha1.Token{SecretName: "agent-token"} // as if it ran elsewhere: this cluster runs no pods
	f.apply(f.by, objects[0], agent)
	f.granted(agent)
	identity := f.withToken(f.token(agent))

	work := f.sample("split-work.yaml")
	look, clean := f.typed(work[0]), f.typed(work[1])
	for _, h := range []*v1alpha1.DelegationHop{look, clean} {
		f.eventually("the agent to make hop "+h.Name, func() error { return identity.Create(f.Context(), h) })
		f.state(h, v1alpha1.ReasonIdle)
		if author := h.Spec.Author; author == nil || !strings.Contains(author.User, ":dhop-agent.") {
			t.Errorf("the author of hop %s is %+v", h.Name, author)
		}
	}
	for _, o := range work[2:] {
		f.eventually("the agent to create Job "+o.GetName(), func() error { return identity.Create(f.Context(), o) })
	}
	f.splitsNothingElse(identity, look)

	f.change(f.by, agent, `{"spec":{"revoked":{"reason":"enough"}}}`)
	for _, h := range []*v1alpha1.DelegationHop{agent, look, clean} {
		f.state(h, v1alpha1.ReasonRevoked)
	}
}

// splitsNothingElse tries what an agent may not do with its right to make hops.
func (f *fixture) splitsNothingElse(identity client.Client, look *v1alpha1.DelegationHop) {
	f.Helper()
	below := func(change func(*v1alpha1.DelegationHop)) *v1alpha1.DelegationHop {
		h := &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "more"}, Spec: *look.Spec.DeepCopy()}
		h.Spec.Author = nil
		change(h)
		return h
	}
	job := func(labels map[string]string) *batchv1.Job {
		j := f.work("more", "")
		j.Spec.Template.Labels = labels
		return j
	}
	for name, test := range map[string]struct {
		object client.Object
		says   string
	}{
		"a wider hop": {below(func(h *v1alpha1.DelegationHop) {
			h.Spec.Scope = new(f.scope(resources("", "configmaps", "get")))
		}), "ScopeExceedsParent"},
		"a hop that delegates itself": {below(func(h *v1alpha1.DelegationHop) {
			h.Spec.Delegation = &v1alpha1.Delegation{MaxDepth: 1}
		}), "DepthExceeded"},
		"a first hop":      {below(func(h *v1alpha1.DelegationHop) { h.Spec.ParentRef = nil }), "hops below itself alone"},
		"below its child":  {below(func(h *v1alpha1.DelegationHop) { h.Spec.ParentRef.Name = "look" }), "hops below itself alone"},
		"a Job of no hop":  {job(nil), "without declaring a hop"},
		"a Job of its own": {job(map[string]string{v1alpha1.LabelHop: "agent"}), "NotPermittedToUse"},
		"a Pod of no hop":  {&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "more"}}, "forbidden"},
		"somebody's hop":   {below(func(h *v1alpha1.DelegationHop) { h.Spec.Author = &v1alpha1.Subject{User: f.by} }), "impersonate"},
	} {
		if err := identity.Create(f.Context(), test.object); err == nil || !strings.Contains(err.Error(), test.says) {
			f.Errorf("%s: %v, want a denial that says %q", name, err, test.says)
		}
	}
	if err := identity.Delete(context.WithoutCancel(f.Context()), look.DeepCopy()); err == nil {
		f.Errorf("the agent deletes hop %s", look.Name)
	}
}

// TestRisksTakeApproval: what a path accepts beyond Streams has to be approved.
func TestRisksTakeApproval(t *testing.T) {
	f := setup(t)
	f.ceilingOf(f.on, rule("apps", "deployments", "create,patch"))
	f.bind(f.on, f.by, rule("apps", "deployments", "create,patch"))
	f.bind(f.ns, f.by, rule("delegation.wayleave.dev", "delegationpaths", "deploy"))
	p := f.path("deploy", func(p *v1alpha1.DelegationPath) {
		p.Spec.Scope = f.scope(resources("apps", "deployments", "create,patch"))
		p.Spec.Scope.AcceptedRisks = []v1alpha1.Risk{v1alpha1.RiskWorkloads}
	})
	h := f.hop("deploy", "deploy", "", func(h *v1alpha1.DelegationHop) { h.Spec.Scope, h.Spec.InheritScope = nil, new(true) })
	f.apply(f.by, p, h)
	f.state(h, v1alpha1.ReasonApprovalMissing, v1alpha1.ReasonNotYetValid)
	f.approve(p, f.approver("bob"))
	f.granted(h)
	identity := f.withToken(f.token(h))
	deployment := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: "shop"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "shop"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "shop"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "shop", Image: "registry.example.com/shop:2"}}},
			},
		},
	}
	f.eventually("the hop to deploy", func() error { return identity.Create(t.Context(), deployment.DeepCopy()) })
}
