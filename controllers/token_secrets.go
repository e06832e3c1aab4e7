package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/flowcontrol"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/grants"
)

const (
	// tokenCheckEvery is how often the Secret of each token is read.
	tokenCheckEvery = 2 * time.Second
	// tokenChecksPerSecond bounds these reads. With more hops than it allows for, a round takes longer.
	tokenChecksPerSecond = 50
)

// tokenChecker finds the token Secrets that were deleted or overwritten, and has their hops reconciled. To watch them takes
// the right to list Secrets, which is to be able to read all.
type tokenChecker struct {
	hops   facts.Hops
	grants *grants.Manager
	lost   chan event.GenericEvent
	limit  flowcontrol.RateLimiter
}

func newTokenChecker(hops facts.Hops, manager *grants.Manager) *tokenChecker {
	return &tokenChecker{
		hops: hops, grants: manager, lost: make(chan event.GenericEvent),
		limit: flowcontrol.NewTokenBucketRateLimiter(tokenChecksPerSecond, 1),
	}
}

// Start checks until the context ends. It runs on the leader alone.
func (c *tokenChecker) Start(ctx context.Context) error {
	wait.UntilWithContext(ctx, c.check, tokenCheckEvery)
	return nil
}

func (c *tokenChecker) check(ctx context.Context) {
	hops, err := c.hops.WithToken(ctx)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list the hops that keep a token")
	}
	for _, hop := range hops {
		if c.limit.Wait(ctx) != nil {
			return // the process ends
		}
		holds, err := c.grants.HoldsToken(ctx, hop)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "cannot check the token of a hop", "hop", delegation.HopKey(hop))
		}
		if holds || err != nil {
			continue
		}
		select {
		case c.lost <- event.GenericEvent{Object: hop.DeepCopy()}:
		case <-ctx.Done():
		}
	}
}
