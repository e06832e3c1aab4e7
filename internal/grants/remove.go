package grants

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// Withdraw removes all that exists for a hop, which is nil if it was deleted. The cache may not hold what was created a
// moment ago, so for a hop that has an identity the API server is asked before and after: it fails while anything exists.
func (m *Manager) Withdraw(ctx context.Context, key types.NamespacedName, hop *v1alpha1.DelegationHop) error {
	if hop == nil || hop.Status.ServiceAccountName == "" {
		cached, err := m.observeCached(ctx, key, hopRef{}, listed())
		if err != nil {
			return err
		}
		return m.removeInOrder(ctx, cached)
	}
	// What was created for an earlier hop of the name; the rest is asked for live.
	isEarlier := func(o client.Object) bool { return o.GetLabels()[v1alpha1.LabelHopUID] != string(hop.UID) }
	earlier, err := observe(ctx, m.Client, listed(), hopRef{}, isEarlier,
		client.MatchingFields{HopIndex: key.String()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return err
	}
	// What could be read is removed also if the rest could not: in a namespace that is bound no more, Secrets cannot be read.
	live, unread := m.observeLive(ctx, hop)
	if len(earlier)+len(live) == 0 {
		return unread
	}
	if err := errors.Join(unread, m.removeInOrder(ctx, append(earlier, live...))); err != nil {
		return err
	}
	after, err := m.observeLive(ctx, hop)
	if err != nil {
		return err
	}
	return stillExists(live, after)
}

// WithdrawDeleted removes what exists for a hop that was deleted, as it last was: also what has lost its labels, by its name.
func (m *Manager) WithdrawDeleted(ctx context.Context, deleted *v1alpha1.DelegationHop) error {
	if deleted.Status.ServiceAccountName == "" {
		return m.RemoveSecrets(ctx, deleted)
	}
	objects, err := m.observeIdentity(ctx, deleted)
	return errors.Join(err, m.removeInOrder(ctx, objects), m.RemoveSecrets(ctx, deleted))
}

// stillExists fails if an object that was removed still exists and counts. A Role or binding that is being deleted and
// held by a finalizer does not: any tenant can create one with our labels, and it gives nothing to an account that no
// longer exists. The account itself counts, and so does the Secret.
func stillExists(removed, after []delegation.Object) error {
	for _, step := range delegation.RemovalOf(after) {
		for _, o := range step {
			planned := slices.ContainsFunc(removed, func(r delegation.Object) bool { return r.UID == o.UID })
			authenticates := o.Kind == delegation.ServiceAccount || o.Kind == delegation.Secret && o.Ownership == delegation.OwnedByHop
			if planned && (authenticates || !o.Deleting) {
				return delegation.LeftoverError{Object: o}
			}
		}
	}
	return nil
}

// Unbind removes the bindings of the present identities of hops, all at the same time. It returns the others that have their labels,
// which are to be removed afterwards: any tenant can create those, as many as they like.
func (m *Manager) Unbind(ctx context.Context, hops []types.NamespacedName) (others []delegation.Object, err error) {
	var present []delegation.Object
	var errs []error
	for _, key := range hops {
		hop := &v1alpha1.DelegationHop{}
		if err := client.IgnoreNotFound(m.Client.Get(ctx, key, hop)); err != nil {
			errs = append(errs, fmt.Errorf("reading hop %s: %w", key, err))
		}
		of, err := m.observeCached(ctx, key, hopRef{}, bindings())
		errs = append(errs, err)
		for _, o := range of {
			if o.Key.Name == hop.Status.ServiceAccountName {
				present = append(present, o)
			} else {
				others = append(others, o)
			}
		}
	}
	return others, errors.Join(append(errs, m.Remove(ctx, present))...)
}

// RemoveOrphans removes what was created for hops that no longer exist.
func (m *Manager) RemoveOrphans(ctx context.Context, isOrphan func(client.Object) (bool, error)) error {
	var orphans []delegation.Object
	var errs []error
	if err := each(ctx, m.Client, listed(), func(k kind, o client.Object) {
		orphan, err := isOrphan(o)
		if errs = append(errs, err); orphan {
			orphans = append(orphans, k.observed(o, hopRef{}))
		}
	}, client.HasLabels{CacheLabel}, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	return errors.Join(append(errs, m.removeInOrder(ctx, orphans))...)
}

// removeInOrder removes objects, those first whose absence takes effect first. A step that fails does not keep the later
// ones from being done: a policy that denies the deletion of a binding must not thereby keep the account.
func (m *Manager) removeInOrder(ctx context.Context, objects []delegation.Object) error {
	var errs []error
	for _, step := range delegation.RemovalOf(objects) {
		errs = append(errs, m.Remove(ctx, step))
	}
	return errors.Join(errs...)
}

// Remove deletes objects, at the same time. One that is gone, or was recreated, is no error. All are tried.
func (m *Manager) Remove(ctx context.Context, objects []delegation.Object) error {
	errs := make([]error, len(objects))
	var group errgroup.Group
	group.SetLimit(writesAtOnce)
	for i, o := range objects {
		group.Go(func() error {
			errs[i] = m.removeOne(ctx, o)
			return nil
		})
	}
	_ = group.Wait() // each object has its own error
	return errors.Join(errs...)
}

func (m *Manager) removeOne(ctx context.Context, o delegation.Object) error {
	if o.Deleting { // a finalizer holds it, and whoever set that would set the pace of our writes
		return nil
	}
	object := kindOf(o.Kind).empty(metav1.ObjectMeta{Namespace: o.Key.Namespace, Name: o.Key.Name})
	err := m.Client.Delete(ctx, object, client.Preconditions{UID: &o.UID}, client.PropagationPolicy(metav1.DeletePropagationBackground))
	if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return fmt.Errorf("deleting %s %s: %w", o.Kind, o.Key, err)
}
