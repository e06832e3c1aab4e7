package grants

import (
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// hopRef is what an observation has to know of a hop: which labels and owner its objects have.
type hopRef struct {
	uid types.UID
	// account is the name of the present identity, and labels those of what has it; empty while there is none.
	account string
	labels  map[string]string
}

func refTo(path *v1alpha1.DelegationPath, hop *v1alpha1.DelegationHop) hopRef {
	ref := hopRef{uid: hop.UID, account: hop.Status.ServiceAccountName}
	if path != nil {
		ref.labels = delegation.Labels(path, hop, hop.Status.Incarnation)
	}
	return ref
}

// Observe returns what exists for a hop. Account, Roles and bindings are read from the cache, except for an account that
// the cache does not hold; Secrets are read from the API server.
func (m *Manager) Observe(ctx context.Context, path *v1alpha1.DelegationPath, hop *v1alpha1.DelegationHop) ([]delegation.Object, error) {
	ref := refTo(path, hop)
	objects, err := m.observeCached(ctx, delegation.HopKey(hop), ref, listed())
	if err != nil {
		return nil, err
	}
	account, err := m.observeAccount(ctx, hop, ref, objects)
	if err != nil {
		return nil, err
	}
	secrets, err := m.observeSecrets(ctx, hop)
	return slices.Concat(objects, account, secrets), err
}

// observeAccount returns the account of the present identity if it is not among the objects: the cache may not hold it
// yet, or it may have lost the label by which the cache selects.
func (m *Manager) observeAccount(
	ctx context.Context, hop *v1alpha1.DelegationHop, ref hopRef, objects []delegation.Object,
) ([]delegation.Object, error) {
	key := types.NamespacedName{Namespace: hop.Namespace, Name: hop.Status.ServiceAccountName}
	if key.Name == "" || slices.ContainsFunc(objects, func(o delegation.Object) bool {
		return o.Kind == delegation.ServiceAccount && o.Key == key
	}) {
		return nil, nil
	}
	account := &corev1.ServiceAccount{}
	if err := m.Live.Get(ctx, key, account); apierrors.IsNotFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("reading ServiceAccount %s: %w", key, err)
	}
	return []delegation.Object{kindOf(delegation.ServiceAccount).observed(account, ref)}, nil
}

// Accounts are the names of the accounts that the cache knows of a hop. Roles and bindings have the same names, but a tenant
// can create one for any hop, in a namespace of their own.
func (m *Manager) Accounts(ctx context.Context, hop types.NamespacedName) ([]string, error) {
	objects, err := m.observeCached(ctx, hop, hopRef{}, []kind{kindOf(delegation.ServiceAccount)})
	names := make([]string, len(objects))
	for i, o := range objects {
		names[i] = o.Key.Name
	}
	return names, err
}

// observeCached returns what the cache holds for a hop.
func (m *Manager) observeCached(ctx context.Context, hop types.NamespacedName, ref hopRef, of []kind) ([]delegation.Object, error) {
	return observe(ctx, m.Client, of, ref, keepAll, client.MatchingFields{HopIndex: hop.String()}, client.UnsafeDisableDeepCopy)
}

// observeLive returns what the API server has for a hop: what has its labels, and what has the name of its identity, since
// labels can be removed and the name is used for nothing else.
func (m *Manager) observeLive(ctx context.Context, hop *v1alpha1.DelegationHop) ([]delegation.Object, error) {
	objects, err := m.observeIdentity(ctx, hop)
	if err != nil {
		return nil, err
	}
	secrets, err := m.observeSecrets(ctx, hop)
	return slices.Concat(objects, secrets), err
}

// observeIdentity is observeLive without Secrets, which have names of their own.
func (m *Manager) observeIdentity(ctx context.Context, hop *v1alpha1.DelegationHop) ([]delegation.Object, error) {
	ref := refTo(nil, hop)
	itsOwn := func(o client.Object) bool {
		key, ok := HopOf(o)
		return ok && key == delegation.HopKey(hop)
	}
	labelled, err := observe(ctx, m.Live, listed(), ref, itsOwn, client.MatchingLabels{v1alpha1.LabelHopUID: string(hop.UID)})
	if err != nil {
		return nil, err
	}
	// A binding of that name to anything but the Role of that name is a tenant's.
	inItsPlace := func(o client.Object) bool {
		switch o := o.(type) {
		case *corev1.ServiceAccount:
			return o.Namespace == hop.Namespace
		case *rbacv1.RoleBinding:
			return o.RoleRef.Name == o.Name
		case *rbacv1.ClusterRoleBinding:
			return o.RoleRef.Name == o.Name
		}
		return true
	}
	named, err := observe(ctx, m.Live, listed(), ref, inItsPlace, client.MatchingFields{"metadata.name": hop.Status.ServiceAccountName})
	if err != nil {
		return nil, err
	}
	return append(labelled, slices.DeleteFunc(named, func(o delegation.Object) bool {
		return slices.ContainsFunc(labelled, func(l delegation.Object) bool { return l.UID == o.UID })
	})...), nil
}

func keepAll(client.Object) bool { return true }

// observe lists objects of some kinds and returns those to keep, as a plan compares them.
func observe(
	ctx context.Context, from client.Reader, of []kind, ref hopRef, keep func(client.Object) bool, opts ...client.ListOption,
) ([]delegation.Object, error) {
	var objects []delegation.Object
	err := each(ctx, from, of, func(k kind, o client.Object) {
		if keep(o) {
			objects = append(objects, k.observed(o, ref))
		}
	}, opts...)
	return objects, err
}

// each lists objects of some kinds and visits each.
func each(ctx context.Context, from client.Reader, of []kind, visit func(kind, client.Object), opts ...client.ListOption) error {
	lists := make([]client.ObjectList, len(of))
	// At the same time, since a live list waits until the API server's own cache has caught up with its store.
	group, listing := errgroup.WithContext(ctx)
	for i, k := range of {
		lists[i] = k.list()
		group.Go(func() error { return from.List(listing, lists[i], opts...) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("listing the objects of grants: %w", err)
	}
	for i, k := range of {
		if err := meta.EachListItem(lists[i], func(item runtime.Object) error {
			object, ok := item.(client.Object)
			if !ok {
				return fmt.Errorf("a list of grants holds a %T", item)
			}
			visit(k, object)
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}

// observed is an object as a plan compares it.
func (k kind) observed(o client.Object, ref hopRef) delegation.Object {
	named := ref.account != "" && o.GetName() == ref.account
	return delegation.Object{
		Kind: k.kind, Key: client.ObjectKeyFromObject(o), Content: k.content(o, ref.uid), UID: o.GetUID(),
		Unlabelled: named && ref.labels != nil && len(delegation.DifferentLabels(o.GetLabels(), ref.labels)) > 0,
		Deleting:   !o.GetDeletionTimestamp().IsZero(),
	}
}
