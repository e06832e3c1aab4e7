//go:build unix

package crash

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/cluster"
)

const (
	// chains is how many chains of two hops the killed controller has to grant and to withdraw.
	chains = 8
	// kills is how often it is killed in each of the two.
	kills = 4
	// killedWithin bounds the random time that it works before it is killed.
	killedWithin = 400 * time.Millisecond
)

// TestKill kills the shipped controller at random moments, with SIGKILL: while it grants many hops, and in the middle of the
// cascade when their path is revoked. A controller that is left alone afterwards brings both to their end.
func TestKill(t *testing.T) {
	r := prepare(t)
	defer r.end(t)
	binary := filepath.Join(t.TempDir(), "wayleave")
	r.must(t, cluster.BuildProgram(t.Context(), "github.com/wayleave/wayleave/cmd/wayleave", binary))
	start := func() *cluster.Program {
		// Without an election there is no Lease of the dead to wait for. Two never run at the same time.
		p, err := suite.cluster.StartProgram("wayleave-controller", binary, "controller", "--kubeconfig="+kubeconfig(t),
			"--leader-elect=false", "--health-probe-bind-address=0", "--sweep-interval=24h", "--require-floor=false")
		r.must(t, err)
		return p
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	r.must(t, suite.admin.Create(t.Context(), r.path()))
	var hops []*v1alpha1.DelegationHop
	for i := range chains {
		first := r.hop(fmt.Sprintf("first-%d", i), "")
		hops = append(hops, first, r.hop(fmt.Sprintf("second-%d", i), first.Name))
	}
	for _, h := range hops {
		r.must(t, suite.admin.Create(t.Context(), h))
	}
	all := len(hops)*4 + chains*(2+2) // an account, a Secret, a Role and a binding each; a first one has another pair, and one for the cluster
	r.killAtRandom(t, random, start, func(left int) bool { return left < all })
	r.awaitKilled(t, start, hops, v1alpha1.ReasonGranted, all)

	r.must(t, patch(t.Context(), r.path(), `{"spec":{"revoked":{"reason":"false alarm"}}}`))
	r.killAtRandom(t, random, start, func(left int) bool { return left > 0 })
	r.awaitKilled(t, start, hops, v1alpha1.ReasonRevoked, 0)
}

// killAtRandom starts controllers and kills each a random moment after its first write.
func (r *run) killAtRandom(t *testing.T, random *rand.Rand, start func() *cluster.Program, unfinished func(int) bool) {
	t.Helper()
	for n := range kills {
		before := r.made(t)
		if !unfinished(before) {
			t.Logf("finished before kill %d", n)
			return
		}
		p := start()
		for deadline := time.Now().Add(patience); r.made(t) == before; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				p.Kill()
				t.Fatalf("the controller does nothing; see %s", p.Log())
			}
		}
		time.Sleep(time.Duration(random.Int64N(int64(killedWithin))))
		p.Kill()
		t.Logf("kill %d with %d objects, %d when it began", n, r.made(t), before)
	}
}

// awaitKilled lets a controller work until all hops have a reason and exactly so many objects exist, and still do when it has
// ended.
func (r *run) awaitKilled(t *testing.T, start func() *cluster.Program, hops []*v1alpha1.DelegationHop, want v1alpha1.Reason, objects int) {
	t.Helper()
	p := start()
	var err error
	for deadline := time.Now().Add(2 * patience); ; time.Sleep(50 * time.Millisecond) {
		if err = r.settled(t, hops, want, objects); err == nil || time.Now().After(deadline) {
			break
		}
	}
	p.Stop()
	if err == nil {
		err = r.settled(t, hops, want, objects)
	}
	r.must(t, err)
}

func (r *run) settled(t *testing.T, hops []*v1alpha1.DelegationHop, want v1alpha1.Reason, objects int) error {
	t.Helper()
	for _, h := range hops {
		r.must(t, suite.admin.Get(t.Context(), client.ObjectKeyFromObject(h), h))
		ready := meta.FindStatusCondition(h.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || ready.Reason != string(want) {
			return fmt.Errorf("hop %s is %+v, not %s", h.Name, ready, want)
		}
		if holds := h.Status.ServiceAccountName != ""; holds != (objects > 0) {
			return fmt.Errorf("hop %s has the account %q", h.Name, h.Status.ServiceAccountName)
		}
	}
	if made := r.made(t); made != objects {
		return fmt.Errorf("%d objects exist, want %d", made, objects)
	}
	return nil
}

// made counts the objects that were created for the hops of a run, by label.
func (r *run) made(t *testing.T) int {
	t.Helper()
	n := 0
	for _, list := range []client.ObjectList{
		&corev1.ServiceAccountList{}, &corev1.SecretList{}, &rbacv1.RoleList{}, &rbacv1.RoleBindingList{},
		&rbacv1.ClusterRoleList{}, &rbacv1.ClusterRoleBindingList{},
	} {
		r.must(t, suite.admin.List(t.Context(), list, client.MatchingLabels{v1alpha1.LabelHopNamespace: r.namespaces()[0]}))
		n += meta.LenList(list)
	}
	return n
}

// kubeconfig is that of the controller's ServiceAccount.
func kubeconfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := cluster.WriteKubeconfig(path, "controller", suite.controller); err != nil {
		t.Fatal(err)
	}
	return path
}
