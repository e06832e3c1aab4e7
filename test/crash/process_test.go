//go:build unix

package crash

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/wayleave/wayleave/controllers"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/facts"
	"github.com/wayleave/wayleave/internal/grants"
	"github.com/wayleave/wayleave/internal/rbac"
	"github.com/wayleave/wayleave/test/operator"
)

// fault is what happens to a process at one of its writes.
type fault int

const (
	// never: nothing happens.
	never fault = iota
	// diesBefore: the process dies between two writes.
	diesBefore
	// diesAfter: the write goes through, and the process dies before it gets the answer.
	diesAfter
	// answerLost: the write goes through, and the process gets an error instead. It goes on.
	answerLost
	// interrupted: something else happens in the cluster before the write, which then goes through.
	interrupted
)

func (m fault) String() string {
	return [...]string{
		"nothing", "death between two writes", "death before the answer to a write", "a lost answer to a write", "something else",
	}[m]
}

var (
	errDead = errors.New("the process is dead")
	errLost = errors.New("the answer was lost")
)

// gate counts the writes of one process and injects a fault into it at one of them.
type gate struct {
	kill context.CancelFunc

	mu    sync.Mutex
	fault fault
	left  int
	lost  string
	// interrupt is what else happens.
	interrupt func() error
	injected  bool
	dead      bool
	wrote     []string
	// opened is what is wrong with a gate that it opened.
	opened error
}

// arm injects a fault into the process at its n-th write from now on.
func (g *gate) arm(n int, m fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault, g.left, g.wrote = m, n, nil
}

// interruptAt has something happen in the cluster before the n-th write from now on.
func (g *gate) interruptAt(n int, interrupt func() error) {
	g.arm(n, interrupted)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.interrupt = interrupt
}

// lose has the writes of a verb and a kind be answered and never done, however often the process tries.
func (g *gate) lose(what string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.lost = what
}

// wasInjected says whether the fault was injected.
func (g *gate) wasInjected() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.injected
}

// written are the writes that went through since the gate was armed.
func (g *gate) written() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.wrote)
}

// do performs a write, or not.
func (g *gate) do(verb string, o any, write func() error) error {
	what := fmt.Sprintf("%s %T", verb, o)
	g.mu.Lock()
	if g.dead {
		g.mu.Unlock()
		return errDead
	}
	if what == g.lost {
		g.injected = true
		g.mu.Unlock()
		return nil
	}
	now := never
	if g.left == 0 {
		now = g.fault
	}
	g.left--
	g.injected = g.injected || now != never
	g.dead = now == diesBefore || now == diesAfter
	if now != diesBefore {
		g.wrote = append(g.wrote, what)
	}
	g.mu.Unlock()
	if now == diesBefore || now == diesAfter {
		defer g.kill() // not earlier: the end of its context would end a write that is to go through
	}
	if now == diesBefore {
		return errDead
	}
	if now == interrupted {
		return errors.Join(g.interrupt(), write())
	}
	if err := write(); err != nil || now == never {
		return err
	}
	return errLost
}

// open checks before a patch of a pod, which opens its gate, that its use is counted. A process of which writes are lost cannot
// know better.
func (g *gate) open(ctx context.Context, pod client.Object) {
	err := uncounted(ctx, client.ObjectKeyFromObject(pod))
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lost == "" {
		g.opened = errors.Join(g.opened, err)
	}
}

// intercept has all writes of a client go through the gate. Questions in the form of a write are none, and neither is
// a dry run.
func (g *gate) intercept(c client.WithWatch) client.Client {
	return interceptor.NewClient(c, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if _, question := o.(*authorizationv1.SubjectAccessReview); question {
				return c.Create(ctx, o, opts...)
			}
			return g.do("create", o, func() error { return c.Create(ctx, o, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return g.do("delete", o, func() error { return c.Delete(ctx, o, opts...) })
		},
		DeleteAllOf: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteAllOfOption) error {
			return g.do("delete all", o, func() error { return c.DeleteAllOf(ctx, o, opts...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			return g.do("update", o, func() error { return c.Update(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
			if patched := (&client.PatchOptions{}); len(patched.ApplyOptions(opts).DryRun) > 0 {
				return c.Patch(ctx, o, patch, opts...)
			}
			return g.do("patch", o, func() error {
				if _, pod := o.(*corev1.Pod); pod {
					g.open(ctx, o)
				}
				return c.Patch(ctx, o, patch, opts...)
			})
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return g.do("apply", o, func() error { return c.Apply(ctx, o, opts...) })
		},
		SubResourceCreate: func(
			ctx context.Context, c client.Client, name string, o, sub client.Object,
			opts ...client.SubResourceCreateOption,
		) error {
			return g.do("create "+name+" of", o, func() error { return c.SubResource(name).Create(ctx, o, sub, opts...) })
		},
		SubResourceUpdate: func(
			ctx context.Context, c client.Client, name string, o client.Object,
			opts ...client.SubResourceUpdateOption,
		) error {
			return g.do("update "+name+" of", o, func() error { return c.SubResource(name).Update(ctx, o, opts...) })
		},
		SubResourcePatch: func(
			ctx context.Context, c client.Client, name string, o client.Object, patch client.Patch,
			opts ...client.SubResourcePatchOption,
		) error {
			return g.do("patch "+name+" of", o, func() error { return c.SubResource(name).Patch(ctx, o, patch, opts...) })
		},
		SubResourceApply: func(
			ctx context.Context, c client.Client, name string, o runtime.ApplyConfiguration,
			opts ...client.SubResourceApplyOption,
		) error {
			return g.do("apply "+name+" of", o, func() error { return c.SubResource(name).Apply(ctx, o, opts...) })
		},
	})
}

// process is a controller, run inside the test under the ServiceAccount of the real one.
type process struct {
	gate
	cancel context.CancelFunc
	ended  chan error
}

// startProcess starts a controller. It never dies by itself unless its gate is armed.
func startProcess(t *testing.T, cfg *rest.Config) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p := &process{gate: gate{kill: cancel}, cancel: cancel, ended: make(chan error, 1)}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:                 operator.Scheme(),
		Cache:                  controllers.CacheOptions(operator.Namespace, false),
		Metrics:                metricsserver.Options{BindAddress: "0"},
		HealthProbeBindAddress: "0",
		Controller:             config.Controller{SkipNameValidation: new(true)},
		NewClient: func(cfg *rest.Config, o client.Options) (client.Client, error) {
			c, err := client.NewWithWatch(cfg, o)
			if err != nil {
				return nil, fmt.Errorf("connecting: %w", err)
			}
			return p.intercept(c), nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	accounts, err := facts.NewAccounts(mgr)
	if err != nil {
		t.Fatal(err)
	}
	gatherer := &facts.Gatherer{
		Accounts: accounts, Digests: facts.NewDigests(mgr.GetAPIReader()),
		Cache: mgr.GetCache(), Live: mgr.GetAPIReader(), Access: mgr.GetClient(),
		Controller: rbac.ServiceAccountUser(operator.Namespace, "wayleave-controller"), OperatorNamespace: operator.Namespace,
	}
	if err := controllers.Setup(ctx, mgr, controllers.Options{
		Gather: gatherer, Audit: audit.New(io.Discard), Kubeconfig: grants.Kubeconfig{Server: cfg.Host, CA: cfg.CAData},
		// It sweeps when it starts and not again: a sweep would do what a controller that goes on has lost.
		MaxFactAge: 10 * time.Minute, SweepEvery: time.Hour, Concurrency: 16,
	}); err != nil {
		t.Fatal(err)
	}
	go func() { p.ended <- mgr.Start(ctx) }()
	return p
}

// stop ends the process, if it has not died, and waits until it does nothing more.
func (p *process) stop(t *testing.T) {
	t.Helper()
	p.cancel()
	select {
	case err := <-p.ended:
		p.ended <- nil // it may be stopped again
		if err := errors.Join(err, p.opened); err != nil {
			t.Fatalf("the controller ended with: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the controller does not end")
	}
}
