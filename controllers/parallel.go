package controllers

import (
	"errors"

	"golang.org/x/sync/errgroup"
)

// podsAtOnce bounds how many pods one pass writes at the same time.
const podsAtOnce = 16

// atOnce does some things at the same time. All are tried.
func atOnce(some ...func() error) error {
	return inParallel(some, func(do func() error) error { return do() })
}

// inParallel does something with each of some, a bounded number at the same time. All are tried.
func inParallel[T any](some []T, do func(T) error) error {
	errs := make([]error, len(some))
	var group errgroup.Group
	group.SetLimit(podsAtOnce)
	for i, one := range some {
		group.Go(func() error {
			errs[i] = do(one)
			return nil
		})
	}
	_ = group.Wait() // each has its own error
	return errors.Join(errs...)
}
