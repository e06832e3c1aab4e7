package controllers

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Sweeper removes what lost its hop: Roles and bindings in other namespaces, which the garbage collector knows nothing
// of, of hops that were deleted while nobody watched. It looks at the start and from time to time.
type Sweeper struct {
	base
}

// Start sweeps until the context ends. It runs on the leader alone.
func (s *Sweeper) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		if err := s.sweep(ctx); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "sweep failed, trying again", "after", s.SweepEvery)
		}
	}, s.SweepEvery)
	return nil
}

func (s *Sweeper) sweep(ctx context.Context) error {
	isOrphan := func(o client.Object) (bool, error) { return s.isOrphan(ctx, o) }
	orphans, err := s.observeWith(ctx, s.Client, lists(), isOrphan, client.HasLabels{v1alpha1.LabelHopUID}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return err
	}
	return s.removeInOrder(ctx, orphans)
}

// isOrphan says whether the hop that an object was made for is gone. The API server has the last word: a cache that
// lags must not take from a living hop.
func (s *Sweeper) isOrphan(ctx context.Context, o client.Object) (bool, error) {
	key, ok := hopOf(o)
	if !ok {
		return false, nil
	}
	for _, reader := range []client.Reader{s.Client, s.live} {
		hop := &v1alpha1.DelegationHop{}
		err := reader.Get(ctx, key, hop)
		if err != nil && !apierrors.IsNotFound(err) {
			return false, fmt.Errorf("looking for hop %s: %w", key, err)
		}
		if err == nil && string(hop.UID) == o.GetLabels()[v1alpha1.LabelHopUID] {
			return false, nil
		}
	}
	return true, nil
}
