//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// revocations measures from the revocation of a path until a request of its hop is denied for the first time. The floor
// is the deletion of a RoleBinding.
func revocations(ctx context.Context, s *site, n sizes) ([]row, error) {
	ours, floor, err := s.revokeEach(ctx, "revoke", n.revocations)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("revocation to the first 403, beside deletion of a RoleBinding (n=%d)", n.revocations)
	return []row{{what: what, ours: ours, floor: floor}}, nil
}

// revokeEach creates paths with a hop and as many bare accounts, and takes their rights in turns.
func (s *site) revokeEach(ctx context.Context, what string, n int) (revoked, deleted series, err error) {
	ours, floor, err := s.delegates(ctx, what, n)
	if err != nil {
		return nil, nil, err
	}
	var answered series
	for i := range n {
		name := nth(what, i)
		took, err := s.denied(ctx, ours[i], http.StatusForbidden, 0, func() error {
			began := time.Now()
			defer func() { answered = append(answered, time.Since(began)) }()
			return s.revoke(ctx, name)
		})
		if err != nil {
			return nil, nil, fmt.Errorf("hop %s: %w", name, err)
		}
		revoked = append(revoked, took)
		if _, _, err := s.inState(ctx, name, v1alpha1.ReasonRevoked); err != nil { // nothing else may run during the floor's turn
			return nil, nil, err
		}
		took, err = s.denied(ctx, floor[i], http.StatusForbidden, 0, func() error {
			return s.alice.Delete(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: payments, Name: "bare-" + name}})
		})
		if err != nil {
			return nil, nil, fmt.Errorf("bare account %s: %w", name, err)
		}
		deleted = append(deleted, took)
	}
	progress("%s: the patch took p50 %s, p99 %s of it", what, short(answered.p50()), short(answered.p99()))
	return revoked, deleted, nil
}

// tokens measures from the revocation of a path until its hop's token is rejected. The floor is the deletion of a
// ServiceAccount. It takes seconds, since the API server caches a valid token for ten, so all are measured at the same
// time, with a pause between requests.
func tokens(ctx context.Context, s *site, n sizes) ([]row, error) {
	ours, floor, err := s.delegates(ctx, "token", n.tokens)
	if err != nil {
		return nil, err
	}
	r := row{
		what: fmt.Sprintf("revocation to the first 401, beside deletion of a ServiceAccount (n=%d)", n.tokens),
		ours: make(series, n.tokens), floor: make(series, n.tokens),
	}
	const pause = 20 * time.Millisecond
	group, ctx := errgroup.WithContext(ctx)
	for i := range n.tokens {
		name := nth("token", i)
		group.Go(func() (err error) {
			r.ours[i], err = s.denied(ctx, ours[i], http.StatusUnauthorized, pause, func() error { return s.revoke(ctx, name) })
			return err
		})
		group.Go(func() (err error) {
			r.floor[i], err = s.denied(ctx, floor[i], http.StatusUnauthorized, pause, func() error {
				return s.alice.Delete(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: agents, Name: "bare-" + name}})
			})
			return err
		})
	}
	return []row{r}, group.Wait()
}

func nth(what string, i int) string { return fmt.Sprintf("%s-%04d", what, i) }

// delegates creates hops with tokens, each on its own path, and bare accounts with the same rights.
func (s *site) delegates(ctx context.Context, what string, n int) (ours, floor []string, err error) {
	progress("%s: creating %d paths with a hop, and as many bare accounts", what, n)
	ours, floor = make([]string, n), make([]string, n)
	err = parallel(ctx, 8, n, func(ctx context.Context, i int) (err error) {
		if ours[i], err = s.createHop(ctx, nth(what, i)); err != nil {
			return err
		}
		floor[i], err = s.createBare(ctx, "bare-"+nth(what, i))
		return err
	})
	time.Sleep(time.Second) // the paths count their hops half a second later
	return ours, floor, err
}

// denied repeats a request with a token, calls take, which removes the right, and measures until the answer has a code.
func (s *site) denied(ctx context.Context, token string, code int, pause time.Duration, take func() error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	ask, err := s.asker(token)
	if err != nil {
		return 0, err
	}
	for range 5 {
		if got, err := ask(ctx); err != nil || got != http.StatusOK {
			return 0, fmt.Errorf("the first answer is %d: %w", got, err)
		}
	}
	end := make(chan time.Time, 1)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		for {
			got, err := ask(ctx)
			if err != nil {
				return err
			}
			if got == code {
				end <- time.Now()
				return nil
			}
			time.Sleep(pause)
		}
	})
	time.Sleep(5 * time.Millisecond)
	began := time.Now()
	if err := take(); err != nil {
		return 0, err
	}
	if err := group.Wait(); err != nil {
		return 0, fmt.Errorf("waiting for the answer %d: %w", code, err)
	}
	return (<-end).Sub(began), nil
}

// asker returns a function that reads a ConfigMap with a token, without the overhead of a client.
func (s *site) asker(token string) (func(context.Context) (int, error), error) {
	config := s.bearer(token)
	web, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("connecting with a token: %w", err)
	}
	url := config.Host + "/api/v1/namespaces/" + payments + "/configmaps/settings"
	return func(ctx context.Context) (int, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return 0, err
		}
		response, err := web.Do(request)
		if err != nil {
			return 0, err
		}
		defer response.Body.Close()
		_, err = io.Copy(io.Discard, response.Body)
		return response.StatusCode, err
	}, nil
}
