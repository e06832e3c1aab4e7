//go:build unix

package floor

import (
	"fmt"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/workload"
)

// pod is a pod as admission makes it.
func (f *fixture) pod(name string, change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: name, Labels: map[string]string{v1alpha1.LabelHop: hop}},
		Spec: corev1.PodSpec{
			ServiceAccountName: f.account, AutomountServiceAccountToken: new(false), TerminationGracePeriodSeconds: new(int64(30)),
			SchedulingGates: []corev1.PodSchedulingGate{{Name: v1alpha1.GateGrant}},
			Volumes:         []corev1.Volume{workload.TokenVolume()},
			Containers: []corev1.Container{{
				Name: "main", Image: "example.com/main", VolumeMounts: []corev1.VolumeMount{workload.TokenMount()},
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2m")}},
			}},
		},
	}
	for _, c := range change {
		c(p)
	}
	return p
}

// TestPodsAreCreatedAsAdmissionMakesThem: a pod with the account of a hop is otherwise refused.
func TestPodsAreCreatedAsAdmissionMakesThem(t *testing.T) {
	f := setup(t)
	ended := accountUntil(time.Now().Add(-time.Minute))
	f.makeAccount(ended)
	f.makeAccount("dhop-plain")
	lives := func(seconds *int64) func(*corev1.Pod) {
		return func(p *corev1.Pod) {
			p.Spec.Volumes[0].Projected.Sources[0].ServiceAccountToken.ExpirationSeconds = seconds
		}
	}
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		says   string // empty: it passes
	}{
		"as admission makes it": {change: func(*corev1.Pod) {}},
		"without a token":       {change: func(p *corev1.Pod) { p.Spec.Volumes, p.Spec.Containers[0].VolumeMounts = nil, nil }},
		"by a generated name": {change: func(p *corev1.Pod) {
			p.Name, p.GenerateName = "", "dhop-x-"
		}},
		"with an account of its own": {change: func(p *corev1.Pod) {
			p.Name, p.Labels, p.Spec = "own", nil, corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: "example.com/main"}}}
		}},
		"without the label":      {func(p *corev1.Pod) { p.Labels = nil }, "the ServiceAccount belongs to a hop"},
		"with another hop":       {func(p *corev1.Pod) { p.Labels[v1alpha1.LabelHop] = "other" }, "the ServiceAccount belongs to a hop"},
		"with another name":      {func(p *corev1.Pod) { p.Name = "x" }, "begins with dhop-"},
		"without the gate":       {func(p *corev1.Pod) { p.Spec.SchedulingGates = nil }, "waits at the scheduling gate"},
		"at another gate":        {func(p *corev1.Pod) { p.Spec.SchedulingGates[0].Name = "example.com/x" }, "waits at the scheduling gate"},
		"on a node":              {func(p *corev1.Pod) { p.Spec.SchedulingGates, p.Spec.NodeName = nil, "n1" }, "waits at the scheduling gate"},
		"with a token of 3607 s": {lives(new(int64(3607))), "live 600 seconds"},
		"with one by default":    {lives(nil), "live 600 seconds"},
		"with the injected one": {func(p *corev1.Pod) {
			p.Spec.AutomountServiceAccountToken, p.Spec.Volumes, p.Spec.Containers[0].VolumeMounts = nil, nil, nil
		}, "live 600 seconds"},
		"with a second token": {func(p *corev1.Pod) {
			p.Spec.Volumes = append(p.Spec.Volumes, *p.Spec.Volumes[0].DeepCopy())
			p.Spec.Volumes[1].Name = "second"
			p.Spec.Volumes[1].Projected.Sources[0].ServiceAccountToken.ExpirationSeconds = new(int64(7200))
		}, "live 600 seconds"},
		"with a certificate": {func(p *corev1.Pod) {
			p.Spec.Volumes[0].Projected.Sources = append(p.Spec.Volumes[0].Projected.Sources, corev1.VolumeProjection{
				PodCertificate: &corev1.PodCertificateProjection{SignerName: "example.com/s", KeyType: "ED25519", CredentialBundlePath: "c"},
			})
		}, "has no certificate"},
		"with an hour to end":  {func(p *corev1.Pod) { p.Spec.TerminationGracePeriodSeconds = new(int64(3600)) }, "30 seconds to end"},
		"after its end":        {func(p *corev1.Pod) { p.Spec.ServiceAccountName = ended }, "the account of the hop has ended"},
		"with a reserved name": {func(p *corev1.Pod) { p.Spec.ServiceAccountName = "dhop-plain" }, "those of the accounts of hops"},
	} {
		t.Run(name, func(t *testing.T) {
			f := *f
			f.T = t
			for _, user := range []string{admin, editor} {
				err := f.users[user].Create(t.Context(), f.pod("dhop-x", test.change), client.DryRunAll)
				if test.says == "" {
					f.allowed(err)
				} else {
					f.denied(err, "hop-pods", test.says)
				}
			}
		})
	}
}

// TestPodsStayAsTheyAre: nobody changes what a pod runs, what it declares, or its gate.
func TestPodsStayAsTheyAre(t *testing.T) {
	f := setup(t)
	pod, other := f.pod("dhop-x"), f.pod("other", func(p *corev1.Pod) {
		p.Labels, p.Spec.ServiceAccountName = map[string]string{"delegation.wayleave.dev/x": "y"}, "default"
		p.Spec.SchedulingGates[0].Name = "example.com/x"
	})
	f.must(suite.admin.Create(t.Context(), pod))
	f.must(suite.admin.Create(t.Context(), other))
	const (
		image = `[{"op":"replace","path":"/spec/containers/0/image","value":"example.com/evil"}]`
		label = `{"metadata":{"labels":{"delegation.wayleave.dev/hop":"other"}}}`
		stays = "stay as they are"
	)
	note := func(key, value string) string {
		return fmt.Sprintf(`{"metadata":{"annotations":{"delegation.wayleave.dev/%s":%q}}}`, key, value)
	}
	for name, test := range map[string]struct {
		patch       string
		subresource string
		policy      string
		says        string
	}{
		"a label":                {patch: label, policy: "gate", says: stays},
		"a label by its status":  {patch: label, subresource: "status", policy: "gate", says: stays},
		"no label":               {patch: `{"metadata":{"labels":null}}`, policy: "gate", says: stays},
		"one more label of ours": {patch: `{"metadata":{"labels":{"delegation.wayleave.dev/x":"z"}}}`, policy: "gate", says: stays},
		"what it requires":       {patch: note("requires", "[]"), policy: "gate", says: stays},
		"a stamp":                {patch: note("declared-by", "eve"), policy: "gate", says: "stamped"},
		"an image":               {patch: image, policy: "gate", says: "the images"},
		"the gate":               {patch: `{"spec":{"schedulingGates":null}}`, policy: "gate", says: "opened by the controller"},
		"an ephemeral container": {
			patch:       `{"spec":{"ephemeralContainers":[{"name":"d","image":"example.com/d"}]}}`,
			subresource: "ephemeralcontainers", policy: "hop-pod-parts", says: "no ephemeral container",
		},
		"its size": {
			patch:       `[{"op":"replace","path":"/spec/containers/0/resources/requests/cpu","value":"1m"}]`,
			subresource: "resize", policy: "hop-pod-parts", says: "is not resized",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := *f
			f.T = t
			for _, user := range []string{admin, editor} {
				f.denied(f.patch(user, pod, test.subresource, test.patch), test.policy, test.says)
				if name != "the gate" { // the other pod has another one
					f.allowed(f.patch(user, other, test.subresource, test.patch))
				}
			}
		})
	}
	for _, user := range []string{admin, editor} {
		f.allowed(f.patch(user, pod, "", `{"metadata":{"labels":{"team":"a"},"annotations":{"note":"b"}}}`))
	}
	f.allowed(f.patch(ours, pod, "", `{"spec":{"schedulingGates":null,"activeDeadlineSeconds":60}}`))
	f.denied(f.patch(ours, pod, "", image), "gate|controller-pods", "")
}

// patch patches a pod or a subresource of it, as a dry run.
func (f *fixture) patch(user string, pod *corev1.Pod, subresource, patch string) error {
	f.Helper()
	raw, target := client.RawPatch(types.MergePatchType, []byte(patch)), pod.DeepCopy()
	switch {
	case patch[0] == '[':
		raw = client.RawPatch(types.JSONPatchType, []byte(patch))
	case subresource == "ephemeralcontainers":
		raw = client.RawPatch(types.StrategicMergePatchType, []byte(patch))
	}
	if subresource == "" {
		return f.users[user].Patch(f.Context(), target, raw, client.DryRunAll)
	}
	return f.users[user].SubResource(subresource).Patch(f.Context(), target, raw, client.DryRunAll)
}

// TestBindingsBringNothing: what binds a pod to a node brings no label and no annotation of ours.
func TestBindingsBringNothing(t *testing.T) {
	f := setup(t)
	pod := f.pod("dhop-x")
	f.must(suite.admin.Create(t.Context(), pod))
	open := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"schedulingGates":null}}`))
	f.must(f.users[ours].Patch(t.Context(), pod.DeepCopy(), open))
	binding := func(annotations map[string]string) error {
		b := &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: pod.Name, Annotations: annotations},
			Target:     corev1.ObjectReference{Kind: "Node", Name: "n1"},
		}
		return suite.admin.SubResource("binding").Create(t.Context(), pod, b)
	}
	f.denied(binding(map[string]string{v1alpha1.AnnotationDeclaredBy: "eve"}), "hop-pod-parts", "a binding brings no labels")
	f.allowed(binding(map[string]string{"note": "x"}))
}

// TestNobodyEnters: by none of the ways into a pod.
func TestNobodyEnters(t *testing.T) {
	f := setup(t)
	f.must(suite.admin.Create(t.Context(), f.pod("dhop-x")))
	f.must(suite.admin.Create(t.Context(), f.pod("other", func(p *corev1.Pod) { p.Labels, p.Spec.ServiceAccountName = nil, "default" })))
	for _, user := range []string{admin, editor} {
		c := f.clientset(user).CoreV1().RESTClient()
		for _, way := range []string{"exec", "attach", "portforward", "proxy"} {
			enter := func(pod string) error {
				return c.Post().Namespace(f.ns).Resource("pods").Name(pod).SubResource(way).Param("command", "sh").Param("stdout", "true").
					Do(t.Context()).Error()
			}
			f.denied(enter("dhop-x"), "connect", "nobody enters a pod")
			if err := enter("other"); apierrors.IsForbidden(err) || apierrors.IsInvalid(err) { // it has no node to be entered on
				t.Errorf("%s of another pod: %v", way, err)
			}
		}
	}
}
