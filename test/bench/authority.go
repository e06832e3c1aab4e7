//go:build unix

package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/rbac"
	"github.com/wayleave/wayleave/test/operator"
)

// pathsOfOrigin is how many paths each origin has in the measurement of what one change of RBAC leads to.
const pathsOfOrigin = 10

// lostRights measures from the deletion of the RoleBinding that gives an origin its rights until a request of its hop is denied for the
// first time, beside the revocation of a path of another one, in turns.
func lostRights(ctx context.Context, s *site, n sizes, notes *[]string) ([]row, error) {
	const what = "authority"
	lost, revoked, err := s.ofOrigins(ctx, what, n.revocations)
	if err != nil {
		return nil, err
	}
	r := row{what: fmt.Sprintf("loss of the origin's right to the first 403, beside revocation (n=%d)", n.revocations)}
	for i := range n.revocations {
		took, err := s.denied(ctx, lost[i], http.StatusForbidden, 0, func() error {
			return s.admin.Delete(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: payments, Name: nth(what, i)}})
		})
		if err != nil {
			return nil, fmt.Errorf("origin %s: %w", nth(what, i), err)
		}
		r.ours = append(r.ours, took)
		if _, _, err := s.inState(ctx, nth(what, i), v1alpha1.ReasonScopeExceedsOrigin); err != nil {
			return nil, err
		}
		other := nth(what+"-not", i)
		if took, err = s.denied(ctx, revoked[i], http.StatusForbidden, 0, func() error { return s.revoke(ctx, other) }); err != nil {
			return nil, fmt.Errorf("hop %s: %w", other, err)
		}
		r.floor = append(r.floor, took)
		if _, _, err := s.inState(ctx, other, v1alpha1.ReasonRevoked); err != nil {
			return nil, err
		}
	}
	note, err := s.leadsTo(ctx, n.paths)
	*notes = append(*notes, note)
	return []row{r}, err
}

// ofOrigins creates hops of paths whose origins have rights of their own, and as many of Alice, and returns their tokens.
func (s *site) ofOrigins(ctx context.Context, what string, n int) (lost, revoked []string, err error) {
	progress("%s: creating %d paths with a hop, of as many origins, and as many of one", what, n)
	lost, revoked = make([]string, n), make([]string, n)
	if err := parallel(ctx, 8, n, func(ctx context.Context, i int) error { return s.rights(ctx, nth(what, i)) }); err != nil {
		return nil, nil, err
	}
	time.Sleep(time.Second) // for the authorizers to know them
	err = parallel(ctx, 8, n, func(ctx context.Context, i int) (err error) {
		name := nth(what, i)
		if lost[i], err = s.createHopOf(ctx, name, &v1alpha1.Subject{User: name}); err != nil {
			return err
		}
		revoked[i], err = s.createHop(ctx, nth(what+"-not", i))
		return err
	})
	time.Sleep(time.Second) // the paths count their hops half a second later
	return lost, revoked, err
}

// rights lets an origin do what its path says.
func (s *site) rights(ctx context.Context, origin string) error {
	who := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: origin}
	for _, o := range roleFor(origin, payments, who, rule("", "configmaps", "get,list,delete")) {
		if err := s.admin.Create(ctx, o); err != nil {
			return fmt.Errorf("giving %s its rights: %w", origin, err)
		}
	}
	return nil
}

// leadsTo says to how many paths a change of the RBAC of one origin leads, among many of other origins.
func (s *site) leadsTo(ctx context.Context, paths int) (string, error) {
	progress("authority: creating %d paths of %d origins", paths, paths/pathsOfOrigin)
	if err := s.passLoad(ctx); err != nil {
		return "", err
	}
	err := parallel(ctx, 24, paths, func(ctx context.Context, i int) error {
		p := newPath(nth("of-origin", i))
		p.Spec.Origin = &v1alpha1.Subject{User: nth("origin", i/pathsOfOrigin), Groups: []string{"team"}}
		p.Labels = map[string]string{loadLabel: ""}
		if err := s.admin.Create(ctx, p); err != nil {
			return fmt.Errorf("creating path %s: %w", p.Name, err)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	all, err := cache.New(s.cluster.Config(), cache.Options{Scheme: operator.Scheme()})
	if err != nil {
		return "", fmt.Errorf("setting up a cache: %w", err)
	}
	if err := facts.Index(ctx, all); err != nil {
		return "", err
	}
	if _, err := all.GetInformer(ctx, &v1alpha1.DelegationPath{}, cache.BlockUntilSynced(false)); err != nil {
		return "", fmt.Errorf("setting up a cache: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() { _ = all.Start(ctx) }() // fails only if started twice
	all.WaitForCacheSync(ctx)
	hops := facts.Hops{Reader: all}
	var took series
	found := 0
	for range 100 {
		began := time.Now()
		led, err := hops.PathsOn(ctx, rbac.Touch{Namespace: payments, Subject: rbac.UserKey(nth("origin", 0))})
		if err != nil {
			return "", err
		}
		took, found = append(took, time.Since(began)), len(led)
	}
	return fmt.Sprintf("One change of the RBAC of one origin, with %d paths of %d origins, leads to %d paths, found in %s.",
		paths, paths/pathsOfOrigin, found, short(took.p50())), nil
}
