package controllers

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/grants"
)

// Sweeper removes what was created for hops that no longer exist: Roles and bindings in other namespaces, which the
// garbage collector does not know of, of hops that were deleted while no controller ran. It sweeps at the start and at
// an interval.
type Sweeper struct {
	cache, live client.Reader
	grants      *grants.Manager
	every       time.Duration
}

// Start sweeps until the context ends. It runs on the leader alone.
func (s *Sweeper) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if err := s.sweep(ctx); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "sweep failed, trying again", "after", s.every)
		}
	}, s.every)
	return nil
}

func (s *Sweeper) sweep(ctx context.Context) error {
	return s.grants.RemoveOrphans(ctx, func(o client.Object) (bool, error) { return s.isOrphan(ctx, o) })
}

// isOrphan says whether the hop that an object was created for is gone. The API server is asked last: a cache that lags
// must not take anything from a hop that exists.
func (s *Sweeper) isOrphan(ctx context.Context, o client.Object) (bool, error) {
	key, ok := grants.HopOf(o)
	if !ok {
		return false, nil
	}
	for _, reader := range []client.Reader{s.cache, s.live} {
		hop := &v1alpha1.DelegationHop{}
		err := reader.Get(ctx, key, hop)
		if err != nil && !apierrors.IsNotFound(err) {
			return false, fmt.Errorf("looking up hop %s: %w", key, err)
		}
		if err == nil && string(hop.UID) == o.GetLabels()[v1alpha1.LabelHopUID] {
			return false, nil
		}
	}
	return true, nil
}
