//go:build unix

package main

import (
	"context"
	"fmt"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

const (
	// chainLength is how many hops follow one another in the paths here.
	chainLength = 5
	// parallelDeletes is how many bindings the controller deletes at the same time.
	parallelDeletes = 16
)

// cascades measures from the revocation of a path with many hops until a watch sees the last of their bindings deleted.
// The floor is the deletion of as many bare RoleBindings, as many at a time.
func cascades(ctx context.Context, s *site, n sizes) ([]row, error) {
	r := row{what: fmt.Sprintf("revocation of %d hops to the last binding deleted, beside %d deletions, %d at a time (n=%d)",
		n.cascadeHops, n.cascadeHops, parallelDeletes, n.cascades)}
	for i := range n.cascades {
		progress("cascade: round %d of %d", i+1, n.cascades)
		took, err := s.cascade(ctx, nth("cascade", i), n.cascadeHops)
		if err != nil {
			return nil, err
		}
		r.ours = append(r.ours, took)
		if took, err = s.deleteBare(ctx, nth("bare-cascade", i), n.cascadeHops); err != nil {
			return nil, err
		}
		r.floor = append(r.floor, took)
	}
	return []row{r}, nil
}

// cascade creates a path with chains of hops, which hold rights since they keep tokens, and revokes it.
func (s *site) cascade(ctx context.Context, path string, n int) (time.Duration, error) {
	if err := s.active(ctx, path); err != nil {
		return 0, err
	}
	name := func(i int) string { return nth(path, i) }
	began := time.Now()
	err := parallel(ctx, 8, n, func(ctx context.Context, i int) error {
		parent := ""
		if i%chainLength > 0 {
			parent = name(i - 1)
		}
		return s.alice.Create(ctx, newHop(name(i), path, parent, true))
	})
	if err != nil {
		return 0, fmt.Errorf("creating the hops of path %s: %w", path, err)
	}
	for i := range n {
		if _, _, err := s.inState(ctx, name(i), v1alpha1.ReasonGranted); err != nil {
			return 0, err
		}
	}
	progress("cascade: %d hops granted in %s", n, short(time.Since(began)))
	time.Sleep(2 * time.Second) // the path counts its hops half a second later, which reconciles them again
	p := &v1alpha1.DelegationPath{}
	if err := s.admin.Get(ctx, client.ObjectKey{Namespace: agents, Name: path}, p); err != nil {
		return 0, fmt.Errorf("reading path %s: %w", path, err)
	}
	took, err := s.untilUnbound(ctx, v1alpha1.LabelPathUID, string(p.UID), n, func() error { return s.revoke(ctx, path) })
	if err != nil {
		return 0, err
	}
	for i := range n { // nothing else may run during the floor's turn
		if _, _, err := s.inState(ctx, name(i), v1alpha1.ReasonRevoked); err != nil {
			return 0, err
		}
	}
	return took, nil
}

// deleteBare creates bindings and deletes them.
func (s *site) deleteBare(ctx context.Context, round string, n int) (time.Duration, error) {
	bindings := make([]*rbacv1.RoleBinding, n)
	err := parallel(ctx, parallelDeletes, n, func(ctx context.Context, i int) error {
		bindings[i] = bareBinding(nth(round, i), map[string]string{bareGroup + "/path-uid": round})
		return s.admin.Create(ctx, bindings[i])
	})
	if err != nil {
		return 0, fmt.Errorf("creating bare bindings: %w", err)
	}
	return s.untilUnbound(ctx, bareGroup+"/path-uid", round, n, func() error {
		return parallel(ctx, parallelDeletes, n, func(ctx context.Context, i int) error {
			return s.writer.Delete(ctx, bindings[i], client.Preconditions{UID: &bindings[i].UID},
				client.PropagationPolicy(metav1.DeletePropagationBackground))
		})
	})
}

// untilUnbound measures from an act until a watch sees that the n bindings with a label are deleted.
func (s *site) untilUnbound(ctx context.Context, label, value string, n int, act func() error) (time.Duration, error) {
	exist := func(count int) func(map[client.ObjectKey]*rbacv1.RoleBinding) bool {
		return func(all map[client.ObjectKey]*rbacv1.RoleBinding) bool {
			found := 0
			for _, b := range all {
				if b.Labels[label] == value {
					found++
				}
			}
			return found == count
		}
	}
	if _, err := s.bindings.until(ctx, fmt.Sprintf("%d bindings to exist", n), exist(n)); err != nil {
		return 0, err
	}
	began := time.Now()
	if err := act(); err != nil {
		return 0, err
	}
	at, err := s.bindings.until(ctx, "the last binding to be deleted", exist(0))
	return at.Sub(began), err
}
