//go:build unix

package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

const (
	// width is how many chains of three hops a path has: enough that a cascade is not over when its first deletion is seen.
	width = 12
	// takeover bounds how long a path that was revoked may last after its leader was killed: the Lease, and some work.
	takeover = leaseDuration + 25*time.Second
)

// TestLeaderDiesInACascade: a replica that does not lead finishes a revocation in the middle of which the leader was killed,
// while the Lease of the dead is still good, and reports it when it leads. It stops the controller, so nothing runs beside it.
func TestLeaderDiesInACascade(t *testing.T) {
	f := setup(t)
	p := f.path("contain")
	f.apply(f.by, p)
	var hops []*v1alpha1.DelegationHop
	for i := range width {
		parent := ""
		for _, level := range []string{"triage", "isolate", "report"} {
			h := f.hop(fmt.Sprintf("%s-%d", level, i), p.Name, parent)
			f.apply(f.by, h)
			hops, parent = append(hops, h), h.Name
		}
	}
	for _, h := range hops {
		f.granted(h)
	}
	leader := f.leader()
	f.standby()
	all := f.made(p)
	if want := 4 * len(hops); all != want { // an account, a Role, a binding and a Secret each
		t.Fatalf("%d objects were made for the path, want %d", all, want)
	}

	deleted := f.firstDeletion(p)
	f.change(f.by, p, revoke)
	<-deleted
	suite.operator.Kill(operator.Controller)
	killed := time.Now()
	left := f.made(p)
	t.Logf("the leader was killed when %d of %d objects were left", left, all)
	if left == 0 || left == all {
		t.Fatalf("%d of %d objects are left: the leader was not killed in the middle of the cascade", left, all)
	}

	f.renewLease() // as if the leader only hung
	for left > 0 {
		if time.Since(killed) > takeover {
			t.Fatalf("%d of %d objects still exist %s after the leader was killed", left, all, takeover)
		}
		time.Sleep(50 * time.Millisecond)
		f.renewLease()
		left = f.made(p)
	}
	f.measured("a cascade was finished %s after its leader was killed, by a replica that did not lead",
		time.Since(killed).Round(time.Millisecond))
	if now := f.leader(); now != leader {
		t.Errorf("%s leads in place of %s, whose Lease was good", now, leader)
	}
	for _, h := range hops {
		f.state(h, v1alpha1.ReasonRevoked)
		granted := meta.FindStatusCondition(h.Status.Conditions, v1alpha1.ConditionGranted)
		if granted.Status != metav1.ConditionFalse || h.Status.ServiceAccountName != "" {
			t.Errorf("hop %s has the account %q and %+v", h.Name, h.Status.ServiceAccountName, granted)
		}
	}
	f.state(p, v1alpha1.ReasonRevoked)
}

// standby starts a second replica. At the end of the test it hands over to a new first one, which the next test expects.
func (f *fixture) standby() {
	f.Helper()
	f.Cleanup(func() {
		if err := suite.operator.StartController(context.Background()); err != nil {
			f.Error(err)
		}
		suite.operator.Shutdown(operator.Standby)
	})
	if err := suite.operator.StartStandby(f.Context()); err != nil {
		f.Fatal(err)
	}
}

// leader is the replica that holds the Lease.
func (f *fixture) leader() string {
	f.Helper()
	var lease coordinationv1.Lease
	key := client.ObjectKey{Namespace: operator.Namespace, Name: "wayleave-controller"}
	if err := suite.admin.Get(f.Context(), key, &lease); err != nil {
		f.Fatal(err)
	}
	if lease.Spec.HolderIdentity == nil || *lease.Spec.HolderIdentity == "" {
		f.Fatal("no replica is the leader")
	}
	return *lease.Spec.HolderIdentity
}

// renewLease renews the Lease in place of its holder.
func (f *fixture) renewLease() {
	f.Helper()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: "wayleave-controller"}}
	patch := fmt.Sprintf(`{"spec":{"renewTime":%q}}`, time.Now().UTC().Format(metav1.RFC3339Micro))
	if err := suite.admin.Patch(f.Context(), lease, client.RawPatch(types.MergePatchType, []byte(patch))); err != nil {
		f.Fatal(err)
	}
}

// made counts what exists in the cluster that was made for a path.
func (f *fixture) made(p *v1alpha1.DelegationPath) int {
	f.Helper()
	n := 0
	for _, list := range []client.ObjectList{
		&rbacv1.RoleBindingList{}, &rbacv1.ClusterRoleBindingList{}, &rbacv1.RoleList{}, &rbacv1.ClusterRoleList{},
		&corev1.ServiceAccountList{}, &corev1.SecretList{},
	} {
		if err := suite.admin.List(f.Context(), list, client.MatchingLabels{v1alpha1.LabelPathUID: string(p.UID)}); err != nil {
			f.Fatal(err)
		}
		n += meta.LenList(list)
	}
	return n
}

// firstDeletion is closed when the first binding of a path has been deleted.
func (f *fixture) firstDeletion(p *v1alpha1.DelegationPath) <-chan struct{} {
	f.Helper()
	c, err := client.NewWithWatch(suite.cluster.Config(), client.Options{Scheme: operator.Scheme()})
	if err != nil {
		f.Fatal(err)
	}
	bindings, err := c.Watch(f.Context(), &rbacv1.RoleBindingList{},
		client.InNamespace(f.on), client.MatchingLabels{v1alpha1.LabelPathUID: string(p.UID)})
	if err != nil {
		f.Fatal(err)
	}
	deleted := make(chan struct{})
	go func() {
		defer close(deleted)
		defer bindings.Stop()
		deadline := time.After(patience)
		for {
			select {
			case event, ok := <-bindings.ResultChan():
				if !ok {
					f.Error("the watch of the bindings has ended")
					return
				}
				if event.Type == watch.Deleted {
					return
				}
			case <-deadline:
				f.Errorf("waited %s for the first binding to be deleted", patience)
				return
			}
		}
	}()
	return deleted
}
