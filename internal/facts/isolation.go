package facts

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
)

// Isolation knows who can act as the accounts of a namespace. It looks once at each namespace, and again when its RBAC changes, or that of
// the cluster.
type Isolation struct {
	cache      cache.Cache
	controller string
	// changed gets an object of each namespace of which something else is known now.
	changed chan event.GenericEvent

	mu sync.Mutex
	of map[string]actors
	// dirty are the namespaces to look at again.
	dirty map[string]bool
}

// actors is what is known of a namespace.
type actors struct {
	looked   bool
	found    []rbac.Actor
	complete bool
	err      error
}

func (a actors) same(b actors) bool {
	return a.complete == b.complete && (a.err == nil) == (b.err == nil) && slices.EqualFunc(a.found, b.found, func(x, y rbac.Actor) bool {
		return x.String() == y.String() && slices.Equal(x.Names, y.Names)
	})
}

// NewIsolation reads from a cache. The controller, a user name, acts as each hop, and is not told of.
func NewIsolation(c cache.Cache, controller string) *Isolation {
	return &Isolation{
		cache: c, controller: controller, changed: make(chan event.GenericEvent, 1024), of: map[string]actors{}, dirty: map[string]bool{},
	}
}

// Changed has an object of each namespace of which something else is known than before.
func (i *Isolation) Changed() <-chan event.GenericEvent { return i.changed }

// NeedLeaderElection says that each replica looks.
func (i *Isolation) NeedLeaderElection() bool { return false }

// lookEvery bounds how often a namespace is looked at, however fast somebody changes its RBAC.
const lookEvery = 200 * time.Millisecond

// Start looks again at what has changed.
func (i *Isolation) Start(ctx context.Context) error {
	for _, o := range []client.Object{&rbacv1.Role{}, &rbacv1.RoleBinding{}, &rbacv1.ClusterRole{}, &rbacv1.ClusterRoleBinding{}} {
		informer, err := i.cache.GetInformer(ctx, o)
		if err != nil {
			return fmt.Errorf("watching RBAC: %w", err)
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{
			AddFunc: i.mark, DeleteFunc: i.mark, UpdateFunc: i.markUpdate,
		}); err != nil {
			return fmt.Errorf("watching RBAC: %w", err)
		}
	}
	wait.UntilWithContext(ctx, i.lookAgain, lookEvery)
	return nil
}

func (i *Isolation) markUpdate(before, after any) {
	old, ok := before.(client.Object)
	if changed, also := after.(client.Object); !ok || !also || !rbac.SameRights(old, changed) {
		i.mark(after)
	}
}

// mark remembers that the RBAC of a namespace has changed, or that of the cluster.
func (i *Isolation) mark(o any) {
	if gone, ok := o.(toolscache.DeletedFinalStateUnknown); ok {
		o = gone.Obj
	}
	changed, ok := o.(client.Object)
	if !ok || rbac.IsGrant(changed) {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	for namespace := range i.of {
		if ns := changed.GetNamespace(); ns == "" || ns == namespace {
			i.dirty[namespace] = true
		}
	}
}

// lookAgain looks at the namespaces whose RBAC has changed, and that somebody has asked about.
func (i *Isolation) lookAgain(ctx context.Context) {
	i.mu.Lock()
	dirty := i.dirty
	i.dirty = map[string]bool{}
	i.mu.Unlock()
	for namespace := range dirty {
		now := i.look(ctx, namespace)
		i.mu.Lock()
		before := i.of[namespace]
		if i.of[namespace] = now; now.err != nil {
			delete(i.of, namespace) // whoever asks looks again
		}
		i.mu.Unlock()
		if before.same(now) {
			continue
		}
		select {
		case i.changed <- event.GenericEvent{Object: &v1alpha1.DelegationHop{ObjectMeta: inNamespace(namespace)}}:
		default: // a replica that does not lead
		}
	}
}

func (i *Isolation) look(ctx context.Context, namespace string) actors {
	found, complete, err := rbac.Reader{Cache: i.cache}.Actors(ctx, namespace, i.controller)
	return actors{true, found, complete, err}
}

// Of says who can act as a hop.
func (i *Isolation) Of(ctx context.Context, hop *v1alpha1.DelegationHop) delegation.Isolation {
	i.mu.Lock()
	known, ok := i.of[hop.Namespace]
	if !ok {
		i.of[hop.Namespace] = actors{} // so that what changes from now on is looked at again
	}
	i.mu.Unlock()
	if !ok || !known.looked {
		known = i.look(ctx, hop.Namespace)
		i.mu.Lock()
		i.of[hop.Namespace], i.dirty[hop.Namespace] = known, true // somebody may have looked later, and been first
		if known.err != nil {
			delete(i.of, hop.Namespace)
		}
		i.mu.Unlock()
	}
	if known.err != nil {
		return delegation.Isolation{Asked: true, Unknown: delegation.APIMessage(known.err, "there was no answer")}
	}
	return isolationOf(hop, known)
}

// isolationOf is what is known of a namespace, as it concerns a hop: who reads Secrets concerns one that keeps a token, and who is given
// some objects by name concerns one whose account or Secret has that name.
func isolationOf(hop *v1alpha1.DelegationHop, known actors) delegation.Isolation {
	isolation := delegation.Isolation{Asked: true}
	if !known.complete {
		isolation.Unknown = "there are too many bindings in its namespace to read all"
	}
	for _, a := range known.found {
		name := hop.Status.ServiceAccountName
		if a.Secrets && hop.Spec.Token == nil {
			continue
		} else if a.Secrets {
			name = hop.Spec.Token.SecretName
		}
		if len(a.Names) == 0 || slices.Contains(a.Names, name) {
			isolation.Actors = append(isolation.Actors, a.String())
		}
	}
	return isolation
}

func inNamespace(namespace string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: namespace} }
