package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/rbac"
)

// authority has the paths and hops be looked at again that rest on what somebody may do, when that changes: a right that an origin, an
// author or a declarer lost is to be acted on within a second. A change leads to those alone that it bears on, and a burst of changes is
// gathered.
type authority struct {
	cache cache.Cache
	// accounts are the ServiceAccounts of the cluster; nil where nobody watches them.
	accounts cache.Informers
	hops     facts.Hops
	// controller are the names by which RBAC can name the controller: a path uses the ceilings that are bound to it.
	controller []string
	// toPaths and toHops get what is to be looked at.
	toPaths, toHops chan event.GenericEvent

	mu sync.Mutex
	// touched are the subjects that a binding that changed names, or named.
	touched map[rbac.Touch]bool
	// roles are those that have changed, by kind and key.
	roles map[objectKey]client.Object
	wake  chan struct{}
}

func newAuthority(c cache.Cache, accounts cache.Informers, controller string) *authority {
	return &authority{
		cache: c, accounts: accounts, hops: facts.Hops{Reader: c}, controller: rbac.Keys(v1alpha1.Subject{User: controller}),
		wake:    make(chan struct{}, 1),
		toPaths: make(chan event.GenericEvent), toHops: make(chan event.GenericEvent),
		touched: map[rbac.Touch]bool{}, roles: map[objectKey]client.Object{},
	}
}

// gatherFor is how long changes are gathered after some were acted on. The first of a burst is acted on at once.
const gatherFor = 100 * time.Millisecond

// Start watches RBAC until the context ends.
func (a *authority) Start(ctx context.Context) error {
	for _, o := range []client.Object{&rbacv1.Role{}, &rbacv1.RoleBinding{}, &rbacv1.ClusterRole{}, &rbacv1.ClusterRoleBinding{}} {
		if err := a.watch(ctx, a.cache, o); err != nil {
			return fmt.Errorf("watching RBAC: %w", err)
		}
	}
	if a.accounts != nil {
		if err := a.watch(ctx, a.accounts, facts.AccountMetadata()); err != nil {
			return fmt.Errorf("watching ServiceAccounts: %w", err)
		}
	}
	wait.UntilWithContext(ctx, func(ctx context.Context) {
		select {
		case <-ctx.Done():
		case <-a.wake:
			a.act(ctx)
		}
	}, gatherFor)
	return nil
}

func (a *authority) watch(ctx context.Context, from cache.Informers, o client.Object) error {
	informer, err := from.GetInformer(ctx, o)
	if err != nil {
		return err
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(o any, initial bool) {
			if !initial { // everything is looked at when the controllers start
				a.changed(o)
			}
		},
		UpdateFunc: func(before, after any) { a.updated(before, after) },
		DeleteFunc: func(o any) { a.changed(o) },
	})
	return err
}

func (a *authority) updated(before, after any) {
	old, ok := before.(client.Object)
	changed, also := after.(client.Object)
	if ok && also && (rbac.SameRights(old, changed) && rbac.SameTerms(old, changed) || sameAccount(old, changed)) {
		return
	}
	a.changed(before)
	a.changed(after)
}

// sameAccount says whether two versions are of a ServiceAccount that exists as before.
func sameAccount(before, after client.Object) bool {
	_, ok := after.(*metav1.PartialObjectMetadata)
	return ok && before.GetUID() == after.GetUID() && before.GetDeletionTimestamp().IsZero() == after.GetDeletionTimestamp().IsZero()
}

// changed remembers what has changed. Whom a binding named is known from the binding; to whom a role is bound is looked up later, once
// for all its changes. What hops are granted concerns nobody on whom anything rests.
func (a *authority) changed(o any) {
	if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	changed, ok := o.(client.Object)
	if !ok || rbac.IsGrant(changed) {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch o := changed.(type) {
	case *rbacv1.Role:
		a.roles[objectKey{"Role", client.ObjectKeyFromObject(o)}] = o
	case *rbacv1.ClusterRole:
		a.roles[objectKey{"ClusterRole", client.ObjectKeyFromObject(o)}] = o
	case *metav1.PartialObjectMetadata:
		a.touched[rbac.Touch{Subject: rbac.UserKey(rbac.ServiceAccountUser(o.Namespace, o.Name))}] = true
	default:
		for _, t := range rbac.Named(o) {
			a.touched[t] = true
		}
	}
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// act has all be looked at that the changes so far bear on.
func (a *authority) act(ctx context.Context) {
	a.mu.Lock()
	touched, roles := a.touched, a.roles
	a.touched, a.roles = map[rbac.Touch]bool{}, map[objectKey]client.Object{}
	a.mu.Unlock()
	paths, hops := map[types.NamespacedName]bool{}, map[types.NamespacedName]bool{}
	for _, role := range roles {
		touches, err := rbac.Reader{Cache: a.cache}.Touches(ctx, role)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "cannot find out whose rights a role changes", "role", client.ObjectKeyFromObject(role))
		}
		for _, t := range touches {
			touched[t] = true
		}
	}
	for t := range touched {
		if err := a.bearsOn(ctx, t, paths, hops); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "cannot find what rests on the rights of a subject", "subject", t.Subject)
		}
	}
	ofGroups, err := a.hops.InUse(ctx, whereGroups(touched))
	if err == nil {
		err = a.withBelow(ctx, ofGroups, paths, hops)
	}
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot find what rests on the rights of groups")
	}
	for key := range paths { // first: a path removes the bindings of all its hops at the same time
		send(ctx, a.toPaths, &v1alpha1.DelegationPath{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}})
	}
	for key := range hops {
		send(ctx, a.toHops, &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}})
	}
}

// bearsOn adds the paths and hops that rest on what a subject may do, and all that is below these.
func (a *authority) bearsOn(ctx context.Context, t rbac.Touch, paths, hops map[types.NamespacedName]bool) error {
	ofPaths, err := a.hops.PathsOn(ctx, t)
	if err == nil && slices.Contains(a.controller, t.Subject) {
		ofPaths, err = a.hops.PathsIn(ctx, t.Namespace)
	}
	if err != nil {
		return err
	}
	for _, path := range ofPaths {
		key := client.ObjectKeyFromObject(path)
		if paths[key] {
			continue
		}
		paths[key] = true
		below, err := a.hops.OfPath(ctx, key)
		if err != nil {
			return err
		}
		for _, hop := range below {
			hops[delegation.HopKey(hop)] = true
		}
	}
	ofHops, err := a.hops.HopsOn(ctx, t)
	if err != nil {
		return err
	}
	return a.withBelow(ctx, ofHops, paths, hops)
}

// whereGroups are the namespaces where the rights of groups may have changed. One binding can name thousands of groups, and what they lead
// to is looked up once for all.
func whereGroups(touched map[rbac.Touch]bool) []string {
	in := map[string]bool{}
	for t := range touched {
		if rbac.IsGroupKey(t.Subject) {
			in[t.Namespace] = true
		}
	}
	return slices.Collect(maps.Keys(in))
}

// withBelow adds some hops, and all that is below these.
func (a *authority) withBelow(ctx context.Context, some []*v1alpha1.DelegationHop, paths, hops map[types.NamespacedName]bool) error {
	for _, hop := range some {
		if hops[delegation.HopKey(hop)] && paths[delegation.PathKey(hop)] {
			continue
		}
		below, err := a.hops.WithDescendants(ctx, delegation.HopKey(hop))
		if err != nil {
			return err
		}
		for _, key := range below {
			hops[key] = true
		}
	}
	return nil
}

// lookAgainAfter is when what rests on a right that changed is looked at once more. What the cache does not answer is asked of an API
// server, which may learn of the change later than this process: it would say for the last time what was true before.
const lookAgainAfter = 2 * time.Second

// lookTwice has what an event is about be looked at now, and once more a little later.
func lookTwice() handler.EventHandler {
	return handler.Funcs{GenericFunc: func(
		_ context.Context, e event.GenericEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request],
	) {
		request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(e.Object)}
		q.Add(request)
		q.AddAfter(request, lookAgainAfter)
	}}
}

func send(ctx context.Context, to chan<- event.GenericEvent, o client.Object) {
	select {
	case to <- event.GenericEvent{Object: o}:
	case <-ctx.Done():
	}
}
