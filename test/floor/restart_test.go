//go:build unix

package floor

import (
	"fmt"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestAPIServerStarts: no policy keeps an API server from binding its own groups when it starts on a cluster that has lost its RBAC.
func TestAPIServerStarts(t *testing.T) {
	f := setup(t)
	defaults := client.MatchingLabels{"kubernetes.io/bootstrapping": "rbac-defaults"}
	count := func() (n int) {
		t.Helper()
		var roles rbacv1.ClusterRoleList
		f.must(suite.admin.List(t.Context(), &roles, defaults))
		var bindings rbacv1.ClusterRoleBindingList
		f.must(suite.admin.List(t.Context(), &bindings, defaults))
		return len(roles.Items) + len(bindings.Items)
	}
	before := count()
	f.must(suite.admin.DeleteAllOf(t.Context(), &rbacv1.ClusterRole{}, defaults))
	f.must(suite.admin.DeleteAllOf(t.Context(), &rbacv1.ClusterRoleBinding{}, defaults))
	if left := count(); before == 0 || left > 0 {
		t.Fatalf("of %d objects of the default RBAC, %d are left", before, left)
	}
	f.must(suite.cluster.RestartAPIServer(t.Context()))
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		now := count()
		if now == before {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal(fmt.Errorf("of %d objects of the default RBAC, the API server has made %d", before, now))
		}
	}
	f.must(untilInEffect(t.Context()))
}
