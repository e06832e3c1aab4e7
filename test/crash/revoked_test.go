//go:build unix

package crash

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/workload"
)

// TestRevokedBetweenWrites revokes the path before each of the writes by which a use begins, one run for each. The gate is not
// opened by a later write, and nothing stays.
func TestRevokedBetweenWrites(t *testing.T) {
	s := scenarios["a use that begins"]
	for n := 0; !t.Failed() && revokedAt(t, s, n); n++ {
		if n > 200 {
			t.Fatal("there is no end to the writes")
		}
	}
}

// revokedAt says whether the controller did that write at all.
func revokedAt(t *testing.T, s scenario, n int) bool {
	t.Helper()
	r := begin(t, s)
	defer r.end(t)
	r.process.interruptAt(n, func() error {
		return patch(context.Background(), r.path(), `{"spec":{"revoked":{"reason":"false alarm"}}}`)
	})
	r.must(t, s.change(t.Context(), r))
	if _, rests := r.atRest(t, time.Second, patience, func() bool { return true }); !rests {
		t.Fatal("it does not come to rest")
	}
	if !r.process.wasInjected() {
		return false
	}
	r.must(t, r.isWithdrawn(t.Context(), r.idle("isolate")))
	wrote := r.process.written()
	t.Logf("revoked before write %d, %s", n, wrote[n])
	// The path's own reconcile writes at the same time as that of the hop.
	if beside := strings.Contains(wrote[n], "DelegationPath"); !beside && slices.Contains(wrote[n+1:], "patch *v1.Pod") {
		t.Errorf("the gate was opened after the path was revoked: %s", strings.Join(wrote[n:], ", "))
	}
	r.must(t, r.left(t.Context()))
	return true
}

// left fails if anything holds rights or runs.
func (r *run) left(ctx context.Context) error {
	var bindings rbacv1.RoleBindingList
	var pods corev1.PodList
	jobs := &batchv1.JobList{}
	in := client.InNamespace(r.namespaces()[0])
	if err := errors.Join(
		suite.admin.List(ctx, &bindings, client.MatchingLabels{v1alpha1.LabelHopNamespace: r.namespaces()[0]}),
		suite.admin.List(ctx, &pods, in), suite.admin.List(ctx, jobs, in),
	); err != nil {
		return err
	}
	if n := len(bindings.Items); n > 0 {
		return fmt.Errorf("%d bindings are left", n)
	}
	for i := range pods.Items {
		if !workload.HasEnded(&pods.Items[i]) {
			return fmt.Errorf("pod %s goes on", pods.Items[i].Name)
		}
	}
	for _, job := range jobs.Items {
		if job.Spec.Suspend == nil || !*job.Spec.Suspend {
			return fmt.Errorf("the Job %s is not suspended", job.Name)
		}
	}
	return nil
}
