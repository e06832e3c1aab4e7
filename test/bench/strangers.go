//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const (
	// foreign is a namespace that has nothing to do with Wayleave.
	foreign = "bench-foreign"
	// foreignNames are about as many as a Role can hold.
	foreignNames = 90_000
	// foreignBindings each give that Role to all ServiceAccounts, also to the tenant and to the controller.
	foreignBindings = 1000
)

// strangers measures how much RBAC in a foreign namespace, as its admin can write it, disturbs a tenant: the time from a
// revocation to the first 403, the admission of a path, and the memory of Wayleave. The floor is the same before. The
// tenant is a ServiceAccount, since all of them are in a group that the strangers bind.
func strangers(ctx context.Context, s *site, n sizes, found *[]memory) ([]row, error) {
	author, err := s.asTenant(ctx)
	if err != nil {
		return nil, err
	}
	quiet, err := author.observe(ctx, "quiet", n.strangers, func() error { return nil })
	if err != nil {
		return nil, err
	}
	strange, err := author.observe(ctx, "strange", n.strangers, func() error { return s.createForeign(ctx) })
	if err != nil {
		return nil, err
	}
	for i, name := range processes() {
		*found = append(*found, memory{process: name, quiet: quiet.memory[i], strange: strange.memory[i]})
	}
	return []row{
		{
			what:  fmt.Sprintf("revocation to the first 403 with strangers' RBAC, beside without (n=%d)", n.strangers),
			ours:  strange.revoked,
			floor: quiet.revoked,
		},
		{
			what:  fmt.Sprintf("deletion of a RoleBinding to the first 403 with strangers' RBAC, beside without (n=%d)", n.strangers),
			ours:  strange.deleted,
			floor: quiet.deleted,
		},
		{
			what:  fmt.Sprintf("admission of a path with strangers' RBAC, beside without (n=%d)", n.strangers),
			ours:  strange.admitted,
			floor: quiet.admitted,
		},
	}, s.deleteForeign(ctx)
}

// processes are those whose memory is measured.
func processes() []string { return []string{"controller", "webhook"} }

// asTenant returns the same site, where the tenant stands in for Alice.
func (s *site) asTenant(ctx context.Context) (*site, error) {
	token, err := s.token(ctx, agents, tenant)
	if err != nil {
		return nil, err
	}
	other := *s
	other.alice, err = connect(s.bearer(token))
	return &other, err
}

// observation is what was measured in one state of the cluster.
type observation struct {
	revoked, deleted, admitted series
	memory                     []usage // in the order of processes
}

// observe brings the cluster into a state and measures. The memory that this takes counts.
func (s *site) observe(ctx context.Context, what string, n int, enter func() error) (o observation, err error) {
	for _, name := range processes() {
		if err := resetPeak(s.operator.PID(name)); err != nil {
			return o, fmt.Errorf("memory of the %s: %w", name, err)
		}
	}
	if err := enter(); err != nil {
		return o, err
	}
	if o.revoked, o.deleted, err = s.revokeEach(ctx, what, n); err != nil {
		return o, err
	}
	if o.admitted, err = s.admitPaths(ctx, n); err != nil {
		return o, err
	}
	for _, name := range processes() {
		used, err := resident(s.operator.PID(name))
		if err != nil {
			return o, fmt.Errorf("memory of the %s: %w", name, err)
		}
		o.memory = append(o.memory, used)
	}
	return o, nil
}

// admitPaths creates paths, as dry runs: all of admission, and no write.
func (s *site) admitPaths(ctx context.Context, n int) (took series, err error) {
	for i := range n + warmUp {
		path := newPath(nth("admitted", i))
		began := time.Now()
		if err := s.alice.Create(ctx, path, client.DryRunAll); err != nil {
			return nil, fmt.Errorf("creating path %s as a dry run: %w", path.Name, err)
		}
		if i >= warmUp {
			took = append(took, time.Since(began))
		}
	}
	return took, nil
}

// createForeign creates the strangers' RBAC. An administrator of the cluster does it, for whom the API server skips the
// check of each binding against the Role's names.
func (s *site) createForeign(ctx context.Context) error {
	progress("strangers: creating a Role with %d names, and %d bindings", foreignNames, foreignBindings)
	names := make([]string, foreignNames)
	for i := range names {
		names[i] = strconv.Itoa(i)
	}
	named := metav1.ObjectMeta{Namespace: foreign, Name: "huge"}
	configMaps := rule("", "configmaps", "get")
	configMaps.ResourceNames = names
	for _, o := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: foreign}},
		&rbacv1.Role{ObjectMeta: named, Rules: []rbacv1.PolicyRule{configMaps}},
	} {
		if err := s.admin.Create(ctx, o); err != nil {
			return fmt.Errorf("creating the strangers' %T: %w", o, err)
		}
	}
	err := parallel(ctx, 8, foreignBindings, func(ctx context.Context, i int) error {
		return s.admin.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: foreign, Name: nth("huge", i)},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: named.Name},
			Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts"}},
		})
	})
	if err != nil {
		return fmt.Errorf("creating the strangers' bindings: %w", err)
	}
	time.Sleep(3 * time.Second) // for the informers of Wayleave
	return nil
}

// deleteForeign leaves the cluster to what is measured next.
func (s *site) deleteForeign(ctx context.Context) error {
	return errors.Join(
		s.admin.DeleteAllOf(ctx, &rbacv1.RoleBinding{}, client.InNamespace(foreign)),
		s.admin.DeleteAllOf(ctx, &rbacv1.Role{}, client.InNamespace(foreign)),
	)
}

// resetPeak makes the kernel count the peak of a process's resident memory from now on.
func resetPeak(pid int) error {
	const peak = "5" // see clear_refs in proc(5)
	return os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte(peak), 0)
}

// resident reads the resident memory of a process.
func resident(pid int) (usage, error) {
	path := fmt.Sprintf("/proc/%d/status", pid)
	status, err := os.ReadFile(path)
	if err != nil {
		return usage{}, err
	}
	var used usage
	for line := range strings.Lines(string(status)) {
		field, value, _ := strings.Cut(line, ":")
		into := map[string]*int64{"VmRSS": &used.now, "VmHWM": &used.peak}[field]
		if into == nil {
			continue
		}
		kibibytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			return usage{}, fmt.Errorf("reading %s: %w", field, err)
		}
		*into = kibibytes << 10
	}
	if used.now == 0 || used.peak == 0 {
		return usage{}, fmt.Errorf("%s does not tell it", path)
	}
	return used, nil
}
