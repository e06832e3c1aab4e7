//go:build unix

package random

import (
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

// TestCheckerCanFail breaks each law on purpose, past the policies that would refuse it: the checker has to say so. It has nothing to
// say before. No controller runs that would put things right, but the checker is told that one does, and is given no time.
func TestCheckerCanFail(t *testing.T) {
	w := newWorld(t.Fatalf)
	defer w.remove()
	w.broken = func(violations []string) { t.Fatal(w.tell(violations)) }
	for _, s := range []step{
		{Do: "make a path", Scope: 1<<atoms - 1}, {Do: "make a hop", Parent: -1, Scope: 1},
		{Do: "make a hop", Hop: 1, Parent: -1, Scope: 1, Kind: 1}, {Do: "make a hop", Hop: 2, Parent: -1, Scope: 1, Kind: 1},
		{Do: "wait for accounts"}, {Do: "create a pod", Hop: 2},
	} {
		w.do(s)
	}
	for deadline := time.Now().Add(30 * time.Second); w.checker.opened == 0 && time.Now().Before(deadline); w.settle() {
		time.Sleep(100 * time.Millisecond)
	}
	if w.checker.counts.accounts != 3 || w.checker.opened != 1 || w.checker.allowed == 0 {
		t.Fatalf("the checker does not see what there is: %s", w.checker.counts)
	}
	w.kill(operator.Controller)
	defer func() { w.start(operator.Controller) }()
	w.checker.grace, w.checker.slack = 0, 0
	w.do(step{Do: "create a pod", Hop: 2}) // which waits at the gate
	w.says(t, "the chain is valid")
	extra := extraBinding(w.on[1], w.home(0), w.account(0))
	w.unbound(t, "bindings", func() error { return suite.admin.Create(t.Context(), extra) })
	w.says(t, "an extra binding", "law 2: account", "delete pods in namespace")
	w.must(suite.admin.Delete(t.Context(), extra))
	w.says(t, "the extra binding is gone")

	w.revoke(t, 0)
	w.says(t, "a revoked hop keeps what it has", "law 1: account", "it is revoked", "law 2: account")
	w.withdraw(t, 0)
	w.says(t, "it is withdrawn")
	again := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.home(0), Name: "dhop-hop-0.again.4102444800"}}
	w.unbound(t, "identities", func() error { return suite.admin.Create(t.Context(), again) })
	w.says(t, "an account for a revoked hop", "began although hop", "law 1: account")
	w.must(suite.admin.Delete(t.Context(), again))

	w.revoke(t, 2)
	w.says(t, "a pod of a revoked hop runs", "law 3: pod", "dhop-pod-1 runs", "it is revoked")
	late := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.home(2), Name: "dhop-pod-2"}}
	w.unbound(t, "gate", func() error {
		return suite.admin.Patch(t.Context(), late, client.RawPatch(types.JSONPatchType, []byte(noGates)))
	})
	w.says(t, "a gate is opened too late", "dhop-pod-2 began although hop", "dhop-pod-2 runs")
}

func (w *world) revoke(t *testing.T, hop int) {
	t.Helper()
	w.must(w.users[0].Patch(t.Context(), w.hop(hop), client.RawPatch(types.MergePatchType, []byte(revoke))))
}

// withdraw does what the controller would.
func (w *world) withdraw(t *testing.T, hop int) {
	t.Helper()
	of := client.MatchingLabels{v1alpha1.LabelHopName: hopName(hop)}
	for _, ns := range w.on {
		w.must(suite.admin.DeleteAllOf(t.Context(), &rbacv1.RoleBinding{}, client.InNamespace(ns), of))
	}
	w.must(suite.admin.DeleteAllOf(t.Context(), &corev1.ServiceAccount{}, client.InNamespace(w.home(hop)), of))
}

// unbound does what a policy refuses: without the binding of the policy, which is made again.
func (w *world) unbound(t *testing.T, policy string, do func() error) {
	t.Helper()
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}
	w.must(suite.admin.Get(t.Context(), client.ObjectKey{Name: policy + ".delegation.wayleave.dev"}, binding))
	w.must(suite.admin.Delete(t.Context(), binding))
	defer func() {
		binding.ResourceVersion, binding.UID = "", ""
		w.must(suite.admin.Create(t.Context(), binding))
	}()
	err := do()
	for deadline := time.Now().Add(30 * time.Second); apierrors.IsForbidden(err) && time.Now().Before(deadline); err = do() {
		time.Sleep(50 * time.Millisecond)
	}
	w.must(err)
}

// says demands that the checker finds what has some words, or nothing if none are given.
func (w *world) says(t *testing.T, when string, words ...string) {
	t.Helper()
	found, err := w.checker.look(t.Context(), controller{}, true)
	w.must(err)
	text := strings.Join(found, "\n")
	if len(words) == 0 && text != "" {
		t.Errorf("%s: it says %s", when, text)
	}
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("%s: it says %q, without %q", when, text, word)
		}
	}
}
