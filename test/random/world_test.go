//go:build unix

package random

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

const (
	paths = 3
	hops  = 5
	// atoms is how many things a scope may name: three verbs on two resources in two namespaces.
	atoms = 12
)

var (
	verbs     = []string{"get", "list", "delete"}
	resources = []string{"pods", "configmaps"}
)

// world is the corner of the cluster in which one run takes place.
type world struct {
	ctx   context.Context //nolint:containedctx // a run has no other one
	fatal func(format string, args ...any)
	// broken is called with what breaks a law, and does not return.
	broken func(violations []string)

	hops  []string // the namespaces of hops, the first one that of the paths, too
	on    []string // the namespaces in which hops work
	names []string // of the users: the first one has all rights, the second one few
	users []client.Client
	// masks and pathOf are what was last asked for, so that later choices mostly fit.
	masks  map[string]int
	pathOf map[int]int

	checker *checker
	story   []step
	words   []string
	began   time.Time
	made    int
	killed  int // the last step that left a process down
}

var worlds atomic.Int64

func newWorld(fatal func(string, ...any)) *world {
	n := worlds.Add(1)
	w := &world{
		ctx: context.Background(), fatal: fatal,
		hops: []string{fmt.Sprintf("agents-%d", n), fmt.Sprintf("others-%d", n)},
		on:   []string{fmt.Sprintf("payments-%d", n), fmt.Sprintf("stock-%d", n)},
		names: []string{
			fmt.Sprintf("alice-%d@example.com", n), fmt.Sprintf("bob-%d@example.com", n),
		},
		masks: map[string]int{}, pathOf: map[int]int{},
	}
	for _, name := range w.names {
		w.users = append(w.users, w.connect(suite.cluster.UserConfig(name)))
	}
	w.checker = newChecker(suite.admin, w.hops, w.on)
	for _, ns := range append(append([]string{}, w.hops...), w.on...) {
		w.must(suite.admin.Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}))
	}
	w.furnish()
	for _, name := range processes {
		w.start(name)
	}
	w.began = time.Now()
	return w
}

func (w *world) connect(config *rest.Config) client.Client {
	config.QPS = -1
	c, err := client.New(config, client.Options{Scheme: operator.Scheme()})
	w.must(err)
	return c
}

func (w *world) must(err error) {
	if err != nil {
		w.fatal("%v", err)
	}
}

// furnish gives the users their rights, and the controller the ceiling and the namespaces of hops.
func (w *world) furnish() {
	for _, ns := range w.hops {
		w.must(suite.admin.Create(w.ctx, operator.HopNamespace(ns)))
		both := []rbacv1.PolicyRule{
			rule(v1alpha1.GroupName, "delegationpaths,delegationhops", "get,list,watch,create,update,patch,delete"),
			rule("batch", "jobs", "get,list,create,update,patch,delete"), rule("", "pods", "get,list,create,update,patch,delete"),
		}
		w.give(ns, "work", w.names[1], both...)
		w.give(ns, "work-and-use", w.names[0], append(both, rule(v1alpha1.GroupName, "delegationhops", "use"))...)
	}
	for i, ns := range w.on {
		may := "get,list,create,update,delete"
		if i == 1 {
			may = "get,list" // some of what the origin may do is above the ceiling
		}
		w.must(suite.admin.Create(w.ctx, &rbacv1.ClusterRole{
			ObjectMeta: metav1.ObjectMeta{Name: "ceiling-" + ns, Labels: map[string]string{v1alpha1.LabelCeiling: "true"}},
			Rules:      []rbacv1.PolicyRule{rule("", "pods", may), rule("", "configmaps", "get,list,create,update,delete")},
		}))
		w.must(suite.admin.Create(w.ctx, w.ceiling(ns)))
		w.give(ns, "rights", w.names[0], rule("", "pods,configmaps", "get,list,create,update,delete"))
	}
	w.give(w.on[0], "few", w.names[1], rule("", "pods,configmaps", "get,list"))
}

func rule(group, resources, verbs string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: strings.Split(resources, ","), Verbs: strings.Split(verbs, ",")}
}

func (w *world) give(ns, name, user string, rules ...rbacv1.PolicyRule) {
	w.must(suite.admin.Create(w.ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}, Rules: rules}))
	w.must(suite.admin.Create(w.ctx, binding(ns, name, user)))
}

func binding(ns, name, user string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: name},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}
}

func (w *world) ceiling(ns string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "ceiling"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "ceiling-" + ns},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: operator.Namespace, Name: "wayleave-controller"}},
	}
}

// remove leaves the namespaces to Kubernetes.
func (w *world) remove() {
	for _, ns := range append(append([]string{}, w.hops...), w.on...) {
		_ = suite.admin.Delete(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
		_ = suite.admin.Delete(w.ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "ceiling-" + ns}})
	}
}

// The processes that are ended and started: since when each runs, and since when it does not.
var (
	processes = []string{operator.Controller, "webhook"}
	up        = map[string]time.Time{}
	down      = map[string]time.Time{}
)

func (w *world) start(name string) {
	if down[name].IsZero() {
		return
	}
	start := suite.operator.StartWebhook
	if name == operator.Controller {
		start = suite.operator.StartController
	}
	// A controller that starts may work before it says that it is ready.
	delete(down, name)
	w.must(start(w.ctx))
	up[name] = time.Now().Add(map[bool]time.Duration{true: leaseDuration}[name == operator.Controller])
}

func (w *world) kill(name string) {
	if !down[name].IsZero() {
		return
	}
	suite.operator.Kill(name)
	down[name] = time.Now()
}

// shutdown ends a process as a rollout does. A controller leaves its Lease to the next one.
func (w *world) shutdown(name string) {
	if down[name].IsZero() {
		suite.operator.Shutdown(name)
		down[name] = time.Now()
	}
}

// downFor is how many steps a process stays down, unless it is started earlier.
const downFor = 6

// do does one step, and has the checker look.
func (w *world) do(s step) {
	if w.killed > 0 && len(w.story) == w.killed+downFor {
		for _, name := range processes {
			w.start(name)
		}
	}
	s = w.aboutSomething(s)
	s.At = time.Since(w.began).Milliseconds()
	words, err := actions[s.Do](w, s)
	answer := "done"
	if err != nil {
		answer = "refused: " + strings.Join(strings.Fields(err.Error()), " ")
		w.checker.refused++
	}
	w.checker.steps++
	w.story = append(w.story, s)
	w.words = append(w.words, fmt.Sprintf("%6.2f s  %s: %s", float64(s.At)/1000, words, answer))
	w.look(false)
}

// aboutSomething turns a step that is about what nobody ever made into one about what was made first.
func (w *world) aboutSomething(s step) step {
	if _, made := w.masks[pathName(s.Path)]; !made && s.Do != "make a path" {
		s.Path %= 2
	}
	if _, made := w.pathOf[s.Hop]; !made && s.Do != "make a hop" {
		s.Hop %= 3
	}
	return s
}

func (w *world) look(all bool) {
	c := controller{up: up[operator.Controller], down: down[operator.Controller]}
	violations, err := w.checker.look(w.ctx, c, all)
	w.must(err)
	if len(violations) > 0 {
		w.broken(violations)
	}
}

// settle has all processes run, and waits until nothing is seen that may not last.
func (w *world) settle() {
	for _, name := range processes {
		w.start(name)
	}
	for w.look(true); !w.checker.quiet(); w.look(true) {
		time.Sleep(100 * time.Millisecond)
	}
}

// existing is nil where an object was not there.
func existing(err error) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
