package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/facts"
)

// supersededJobs finds at the start the Jobs that an earlier process suspended since their pod was superseded, and did not live to
// resume, and has their hops reconciled.
type supersededJobs struct {
	hops  facts.Hops
	live  client.Reader
	waits waits
	found chan event.GenericEvent
}

func newSupersededJobs(hops facts.Hops, live client.Reader, waits waits) *supersededJobs {
	return &supersededJobs{hops: hops, live: live, waits: waits, found: make(chan event.GenericEvent)}
}

// supersededRetry is how long a failed search waits for the next one.
const supersededRetry = 10 * time.Second

// Start searches until it has read all Jobs once. It runs on the leader alone.
func (s *supersededJobs) Start(ctx context.Context) error {
	_ = wait.PollUntilContextCancel(ctx, supersededRetry, true, func(ctx context.Context) (bool, error) {
		err := s.search(ctx)
		if err != nil && ctx.Err() == nil {
			ctrl.LoggerFrom(ctx).Error(err, "cannot find the Jobs that are to be resumed, trying again", "after", supersededRetry)
		}
		return err == nil, nil
	}) // it fails only when the process ends
	return nil
}

func (s *supersededJobs) search(ctx context.Context) error {
	hops, err := s.hops.All(ctx)
	if err != nil {
		return err
	}
	byNamespace := map[string]map[string]*v1alpha1.DelegationHop{}
	for _, hop := range hops {
		if byNamespace[hop.Namespace] == nil {
			byNamespace[hop.Namespace] = map[string]*v1alpha1.DelegationHop{}
		}
		byNamespace[hop.Namespace][string(hop.UID)] = hop
	}
	var errs []error
	for namespace, byUID := range byNamespace {
		errs = append(errs, s.searchIn(ctx, namespace, byUID))
	}
	return errors.Join(errs...)
}

func (s *supersededJobs) searchIn(ctx context.Context, namespace string, hops map[string]*v1alpha1.DelegationHop) error {
	for page := (metav1.PartialObjectMetadataList{}); ; {
		some := []client.ListOption{client.InNamespace(namespace), client.Limit(jobsAtOnce), client.Continue(page.Continue)}
		page = metav1.PartialObjectMetadataList{}
		page.SetGroupVersionKind(batchv1.SchemeGroupVersion.WithKind("JobList"))
		if err := s.live.List(ctx, &page, some...); apierrors.IsForbidden(err) { // its hops say so, and nothing goes on there
			return nil
		} else if err != nil {
			return fmt.Errorf("listing the Jobs in namespace %s: %w", namespace, err)
		}
		for _, job := range page.Items {
			hop := hops[job.Annotations[v1alpha1.AnnotationSuspendedHop]]
			if hop == nil || job.Annotations[v1alpha1.AnnotationSuspendedFor] != string(superseded.Reason) {
				continue
			}
			s.waits.resumeLater(hop.UID)
			select {
			case s.found <- event.GenericEvent{Object: hop.DeepCopy()}:
			case <-ctx.Done():
				return nil
			}
		}
		if page.Continue == "" {
			return nil
		}
	}
}
