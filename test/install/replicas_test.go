//go:build unix

package install

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

// clients is how many clients create pods at the same time.
const clients = 200

// tally is what became of the pods of many clients.
type tally struct {
	all, bystanders, wrong, refused atomic.Int64
	first                           atomic.Pointer[string] // why the first one was refused that declares a valid hop
}

// underLoad has many clients create pods, as a dry run, while something happens: pods of nobody's business are never refused, and pods
// of a revoked hop always. How many of a valid hop were refused is printed.
func (s *site) underLoad(what string, valid, revoked *v1alpha1.DelegationHop, happens func()) {
	s.Helper()
	ctx, stop := context.WithCancel(s.Context())
	defer stop()
	var t tally
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			for ctx.Err() == nil {
				s.createThree(ctx, &t, valid, revoked)
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	began := time.Now()
	happens()
	took := time.Since(began)
	time.Sleep(2 * time.Second)
	stop()
	group.Wait()
	why := ""
	if first := t.first.Load(); first != nil {
		why = ", the first since " + *first
	}
	s.Logf("%s, which took %s, under %d clients: of %d pods, %d of a valid hop were refused%s",
		what, took.Round(100*time.Millisecond), clients, t.all.Load(), t.refused.Load(), why)
	if t.all.Load() < clients {
		s.Errorf("%s: only %d pods were created", what, t.all.Load())
	}
	if n := t.bystanders.Load(); n > 0 {
		s.Errorf("%s: %d pods that declare no hop were refused", what, n)
	}
	if n := t.wrong.Load(); n > 0 {
		s.Errorf("%s: %d pods of a revoked hop were admitted", what, n)
	}
}

// createThree creates a pod that declares nothing, one of a valid hop, and one of a revoked hop. What is cut off by the end counts as
// nothing.
func (s *site) createThree(ctx context.Context, t *tally, valid, revoked *v1alpha1.DelegationHop) {
	create := func(hop string) error {
		pod := &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, GenerateName: v1alpha1.AccountPrefix + "load-"},
			Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "agent", Image: agent}}},
		}
		if hop != "" {
			pod.Labels = map[string]string{v1alpha1.LabelHop: hop}
		} else {
			pod.GenerateName = "load-"
		}
		err := s.loader.Create(ctx, pod, client.DryRunAll)
		if ctx.Err() == nil {
			t.all.Add(1)
		}
		return err
	}
	if err := create(""); err != nil && ctx.Err() == nil {
		t.bystanders.Add(1)
	}
	if err := create(revoked.Name); err == nil {
		t.wrong.Add(1)
	}
	if err := create(valid.Name); err != nil && ctx.Err() == nil {
		t.refused.Add(1)
		t.first.CompareAndSwap(nil, new(err.Error()))
	}
}

// kill ends a pod of a process as a crash of its node would.
func (s *site) kill(name string) {
	s.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: name}}
	s.must(s.admin.Delete(s.Context(), pod, client.GracePeriodSeconds(0)))
}

// replica is the name of a pod of a process.
func (s *site) replica(process string) string {
	s.Helper()
	var pods corev1.PodList
	s.must(s.admin.List(s.Context(), &pods, client.InNamespace(operator.Namespace),
		client.MatchingLabels{"app.kubernetes.io/component": process}))
	for _, pod := range pods.Items {
		if pod.DeletionTimestamp.IsZero() {
			return pod.Name
		}
	}
	s.Fatalf("there is no pod of %s", process)
	return ""
}

// leader is the name of the pod of the controller that leads.
func (s *site) leader() string {
	s.Helper()
	lease := &coordinationv1.Lease{}
	s.must(s.admin.Get(s.Context(), client.ObjectKey{Namespace: operator.Namespace, Name: "wayleave-controller"}, lease))
	holder, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_") // and a UUID
	return holder
}

// losesLeader kills the leader in the middle of a cascade: no binding is left, and it says after what time.
func (s *site) losesLeader() {
	s.Helper()
	top := s.delegate("cascade")
	for i := range 8 {
		below := &v1alpha1.DelegationHop{
			ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprintf("below-%d", i)},
			Spec: v1alpha1.DelegationHopSpec{
				PathRef: v1alpha1.ObjectRef{Name: top.Spec.PathRef.Name}, ParentRef: &v1alpha1.ObjectRef{Name: top.Name}, InheritScope: new(true),
				Token: &v1alpha1.Token{SecretName: fmt.Sprintf("below-%d-token", i)},
			},
		}
		s.create(below)
		s.reads(below, v1alpha1.ReasonGranted)
	}
	leader := s.leader()
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"revoked":{"reason":"false alarm"}}}`))
	began := time.Now()
	s.must(s.author.Patch(s.Context(), top, patch))
	s.kill(leader)
	s.eventually("the bindings below the revoked hop to be gone", func() error {
		var bindings rbacv1.RoleBindingList
		err := s.admin.List(s.Context(), &bindings, client.MatchingLabels{v1alpha1.LabelHopNamespace: ns})
		if n := len(bindings.Items); err == nil && n > 0 {
			return fmt.Errorf("there are %d", n)
		}
		return err
	})
	s.Logf("the leader was killed in the middle of a cascade: no binding was left after %s", time.Since(began).Round(10*time.Millisecond))
	s.eventually("another leader", func() error {
		if now := s.leader(); now == leader {
			return fmt.Errorf("it is %s", now)
		}
		return nil
	})
	s.reads(top, v1alpha1.ReasonRevoked)
}

// drains drains the only node there is: the budgets keep one replica of each process on it, since no other node takes the rest.
func (s *site) drains() {
	s.Helper()
	var nodes corev1.NodeList
	s.must(s.admin.List(s.Context(), &nodes))
	node := nodes.Items[0].Name
	drain := exec.CommandContext(s.Context(), s.cluster.Kubectl(), "--kubeconfig", s.cluster.Kubeconfig(),
		"drain", node, "--pod-selector=app.kubernetes.io/name=wayleave", "--timeout=15s")
	out, err := drain.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "evicted") || !strings.Contains(string(out), "would violate the pod's disruption budget") {
		s.Errorf("kubectl drain: %v\n%s", err, out)
	}
	s.kubectl("uncordon", node)
	s.kubectl("rollout", "status", "-n", operator.Namespace, "deployment", "--timeout=2m")
}
