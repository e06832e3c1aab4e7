//go:build unix

package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// hopsPerPath are the hops of each path of the load: two chains.
const hopsPerPath = 2 * chainLength

// loadLabel marks the objects of the load.
const loadLabel = "bench.wayleave.dev/load"

// load fills the cluster with hops, so that the caches of Wayleave hold them, unless it was filled before. The webhooks for
// Wayleave's kinds ignore them: they are not measured here.
func (s *site) load(ctx context.Context, n int) error {
	if n <= s.loaded {
		return nil
	}
	if err := s.passLoad(ctx); err != nil {
		return err
	}
	began, created := time.Now(), atomic.Int64{}
	first := s.loaded / hopsPerPath
	err := parallel(ctx, 24, n/hopsPerPath-first, func(ctx context.Context, i int) error {
		path := newPath(nth("load", first+i))
		path.Labels, path.Spec.Origin = map[string]string{loadLabel: ""}, &v1alpha1.Subject{User: alice}
		if err := s.admin.Create(ctx, path); err != nil {
			return fmt.Errorf("creating path %s: %w", path.Name, err)
		}
		parent := ""
		for j := range hopsPerPath {
			if j%chainLength == 0 {
				parent = ""
			}
			hop := newHop(nth(path.Name, j), path.Name, parent, false)
			hop.Labels, hop.Spec.Author = path.Labels, path.Spec.Origin
			if err := s.admin.Create(ctx, hop); err != nil {
				return fmt.Errorf("creating hop %s: %w", hop.Name, err)
			}
			parent = hop.Name
			if count := created.Add(1); count%2000 == 0 {
				progress("load: %d hops after %s", count, time.Since(began).Round(time.Second))
			}
		}
		return nil
	})
	s.loaded = n
	time.Sleep(3 * time.Second) // for the webhook's informers
	return err
}

// passLoad makes the webhooks for Wayleave's kinds ignore the load.
func (s *site) passLoad(ctx context.Context) error {
	others := &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{
		Key: loadLabel, Operator: metav1.LabelSelectorOpDoesNotExist,
	}}}
	mutating, validating := webhookConfigurations()
	if err := s.admin.Get(ctx, keyOf(mutating), mutating); err != nil {
		return fmt.Errorf("reading the webhook configuration: %w", err)
	}
	if err := s.admin.Get(ctx, keyOf(validating), validating); err != nil {
		return fmt.Errorf("reading the webhook configuration: %w", err)
	}
	for i := range mutating.Webhooks {
		mutating.Webhooks[i].ObjectSelector = others
	}
	for i := range validating.Webhooks {
		validating.Webhooks[i].ObjectSelector = others
	}
	if err := s.admin.Update(ctx, mutating); err != nil {
		return fmt.Errorf("excluding the load from the webhooks: %w", err)
	}
	if err := s.admin.Update(ctx, validating); err != nil {
		return fmt.Errorf("excluding the load from the webhooks: %w", err)
	}
	time.Sleep(time.Second) // for the API server to see it; until then the load is validated, and slower
	return nil
}

func webhookConfigurations() (
	*admissionregistrationv1.MutatingWebhookConfiguration, *admissionregistrationv1.ValidatingWebhookConfiguration,
) {
	const name = "wayleave"
	return &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}},
		&admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: name}}
}
