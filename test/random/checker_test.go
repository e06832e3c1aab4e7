//go:build unix

package random

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// The checker asks the API server and nobody else. It imports nothing of the operator but the types of its kinds, and decides by
// itself what is valid: valid_test.go.

const (
	// grace is how long what has become invalid may stand while the controller runs, on a machine that does much else.
	grace = 12 * time.Second
	// slack is how long after a hop has become invalid something may still begin under it that was decided before.
	slack = 4 * time.Second
	// landing is how long after the end of a process a request of it may still take effect.
	landing = time.Second
	// between is how often it is asked at most what accounts can do, but at the end of a run.
	between = 700 * time.Millisecond
)

// counts is what a checker has seen, so that laws that hold because nothing happens are noticed.
type counts struct {
	runs, steps, looks, questions, accounts, allowed, opened, withdrawn, refused int

	looked time.Duration
}

func (c *counts) add(o counts) {
	c.steps += o.steps
	c.looks += o.looks
	c.questions += o.questions
	c.accounts += o.accounts
	c.allowed += o.allowed
	c.opened += o.opened
	c.withdrawn += o.withdrawn
	c.refused += o.refused
	c.looked += o.looked
}

func (c counts) String() string {
	return fmt.Sprintf("%d runs, %d steps, %d looks of %.0f ms with %d access reviews; %d accounts, %d rights of hops, "+
		"%d pods that passed the gate, %d hops that became invalid, %d attempts refused", c.runs, c.steps, c.looks,
		float64(c.looked.Milliseconds())/float64(max(1, c.looks)), c.questions, c.accounts, c.allowed, c.opened, c.withdrawn, c.refused)
}

// checker keeps what it saw before, since the laws give the operator a bounded time.
type checker struct {
	admin client.Client
	hops  []string // the namespaces of hops
	on    []string // the namespaces in which they work
	grace time.Duration
	slack time.Duration

	counts

	// invalid is since when a hop is seen to be invalid, by namespace/name, also of hops that do not exist.
	invalid map[string]time.Time
	// accounts is when each account was first seen, by namespace/name, and to which hop it belongs. None is forgotten.
	accounts map[string]string
	gone     []string // accounts that no longer exist, the last one last
	// open are the pods that were seen to have passed the gate.
	open map[types.UID]bool
	// last is when the last look began.
	last time.Time
	// excess is what accounts could do that they may not when that was last asked.
	asked  time.Time
	excess map[string]string
	// suspect is since when something is seen that may not last.
	suspect map[string]time.Time
}

func newChecker(admin client.Client, hops, on []string) *checker {
	return &checker{
		admin: admin, hops: hops, on: on, grace: grace, slack: slack,
		invalid: map[string]time.Time{}, accounts: map[string]string{}, open: map[types.UID]bool{}, suspect: map[string]time.Time{},
	}
}

// controller is what the checker has to know of the process that withdraws: since when it runs, or does not.
type controller struct {
	up, down time.Time
}

func (c controller) runs() bool { return c.down.IsZero() }

// look asks the API server once, and returns what breaks a law: what has lasted for too long, and what began when it may not. With
// all, it also asks what each account can do that existed long ago.
func (c *checker) look(ctx context.Context, by controller, all bool) ([]string, error) {
	c.looks++
	began := time.Now()
	v, err := c.see(ctx)
	if err != nil {
		return nil, err
	}
	why, err := c.judge(ctx, v)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	c.noteInvalid(v, why, now)
	l := &sight{checker: c, by: by, now: now, why: why, view: v, lasting: map[string]string{}}
	l.checkAccounts()
	if err := l.checkRights(ctx, all); err != nil {
		return nil, err
	}
	l.checkPods()
	c.last = began
	c.looked += time.Since(began)
	return l.conclude(), nil
}

// noteInvalid keeps since when hops are invalid.
func (c *checker) noteInvalid(v *view, why map[string]string, now time.Time) {
	for key := range v.named() {
		if why[key] == "" && v.hops[key] != nil {
			delete(c.invalid, key)
		} else if c.invalid[key].IsZero() {
			c.invalid[key] = now
			if v.hops[key] != nil {
				c.withdrawn++
			}
		}
	}
}

// view is what the API server says at about one time.
type view struct {
	paths    map[string]*v1alpha1.DelegationPath
	hops     map[string]*v1alpha1.DelegationHop
	accounts []corev1.ServiceAccount
	pods     []corev1.Pod
	bindings []rbacv1.RoleBinding
	ceilings map[string]rbacv1.ClusterRole
}

// named are the hops that exist, and those that accounts and pods belong to.
func (v *view) named() map[string]bool {
	keys := map[string]bool{}
	for key := range v.hops {
		keys[key] = true
	}
	for _, a := range v.accounts {
		keys[a.Namespace+"/"+hopOf(a.Name)] = true
	}
	for _, p := range v.pods {
		keys[p.Namespace+"/"+p.Labels[v1alpha1.LabelHop]] = true
	}
	return keys
}

// hopOf is the hop that the name of an account tells.
func hopOf(account string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(account, "dhop-"), ".")
	return name
}

// see reads what there is. Accounts and pods are read first: what was withdrawn because of what the later reads show is not
// mistaken for what stands.
func (c *checker) see(ctx context.Context) (*view, error) {
	v := &view{
		paths: map[string]*v1alpha1.DelegationPath{}, hops: map[string]*v1alpha1.DelegationHop{}, ceilings: map[string]rbacv1.ClusterRole{},
	}
	for _, ns := range c.hops {
		var accounts corev1.ServiceAccountList
		var pods corev1.PodList
		for _, list := range []client.ObjectList{&accounts, &pods} {
			if err := c.admin.List(ctx, list, client.InNamespace(ns)); err != nil {
				return nil, err
			}
		}
		v.accounts = append(v.accounts, slices.DeleteFunc(accounts.Items, func(a corev1.ServiceAccount) bool {
			return !strings.HasPrefix(a.Name, "dhop-")
		})...)
		v.pods = append(v.pods, pods.Items...)
	}
	return v, c.seeWhatDecides(ctx, v)
}

func (c *checker) seeWhatDecides(ctx context.Context, v *view) error {
	for _, ns := range slices.Concat(c.hops, c.on) {
		var paths v1alpha1.DelegationPathList
		var hops v1alpha1.DelegationHopList
		var bindings rbacv1.RoleBindingList
		for _, list := range []client.ObjectList{&paths, &hops, &bindings} {
			if err := c.admin.List(ctx, list, client.InNamespace(ns)); err != nil {
				return err
			}
		}
		for i := range paths.Items {
			v.paths[ns+"/"+paths.Items[i].Name] = &paths.Items[i]
		}
		for i := range hops.Items {
			v.hops[ns+"/"+hops.Items[i].Name] = &hops.Items[i]
		}
		v.bindings = append(v.bindings, bindings.Items...)
	}
	var roles rbacv1.ClusterRoleList
	if err := c.admin.List(ctx, &roles, client.MatchingLabels{v1alpha1.LabelCeiling: "true"}); err != nil {
		return err
	}
	for _, role := range roles.Items {
		v.ceilings[role.Name] = role
	}
	return nil
}

// sight is one look.
type sight struct {
	*checker
	by   controller
	now  time.Time
	why  map[string]string // for each hop that exists, why it is invalid; empty if it is valid
	view *view
	// lasting is what may be seen for a while, by a key that tells it again, and broken what may not be seen at all.
	lasting map[string]string
	broken  []string
}

// invalidHop says why a hop authorizes nothing; empty if it is valid.
func (l *sight) invalidHop(key string) string {
	if l.view.hops[key] == nil {
		return "does not exist"
	}
	return l.why[key]
}

// begins notes that something begins under a hop. It may only if the hop is valid, or was until just now, and if there is a
// controller that has decided it.
func (l *sight) begins(what, hop string) {
	if why := l.invalidHop(hop); why != "" && l.now.Sub(l.invalid[hop]) > l.slack {
		l.broken = append(l.broken, fmt.Sprintf("%s began although hop %s has been invalid for %.1f s: %s",
			what, hop, l.now.Sub(l.invalid[hop]).Seconds(), why))
	}
	if !l.by.runs() && l.last.Sub(l.by.down) > landing {
		l.broken = append(l.broken, fmt.Sprintf("%s began although no controller has run for %.1f s", what, l.now.Sub(l.by.down).Seconds()))
	}
}

// checkAccounts is the first law: no account of an invalid hop exists.
func (l *sight) checkAccounts() {
	exist := map[string]bool{}
	for _, a := range l.view.accounts {
		key, hop := a.Namespace+"/"+a.Name, a.Namespace+"/"+hopOf(a.Name)
		exist[key] = true
		if _, known := l.checker.accounts[key]; !known {
			l.checker.accounts[key] = hop
			l.counts.accounts++
			l.begins("account "+key, hop)
		}
		why := l.invalidHop(hop)
		if h := l.view.hops[hop]; why == "" && !slices.ContainsFunc(a.OwnerReferences, ownedBy(h.UID)) {
			why = "it is not the hop that the account was made for"
		}
		if why != "" {
			l.lasting["account "+key+string(a.UID)] = fmt.Sprintf("law 1: account %s exists, and its hop is invalid: %s", key, why)
		}
	}
	for key := range l.checker.accounts {
		if !exist[key] && !slices.Contains(l.gone, key) {
			l.gone = append(l.gone, key)
		}
	}
}

// question is one thing that an account may be able to do.
type question struct{ account, namespace, group, resource, subresource, verb string }

func (q question) String() string {
	resource := strings.TrimSuffix(q.resource+"/"+q.subresource, "/")
	return fmt.Sprintf("%s %s in namespace %q", q.verb, resource, q.namespace)
}

// questions are what is asked about an account.
func (c *checker) questionsAbout(account string) []question {
	var all []question
	ask := func(ns, group, resource string, verbs ...string) {
		resource, sub, _ := strings.Cut(resource, "/")
		for _, verb := range verbs {
			all = append(all, question{account, ns, group, resource, sub, verb})
		}
	}
	for _, ns := range c.on {
		ask(ns, "", "pods", "get", "list", "delete", "create")
		ask(ns, "", "configmaps", "get", "list", "delete", "update")
		ask(ns, "", "secrets", "get")
	}
	for _, ns := range c.hops {
		ask(ns, "", "pods", "create")
		ask(ns, "", "secrets", "get")
		ask(ns, "", "serviceaccounts/token", "create")
		ask(ns, v1alpha1.GroupName, "delegationhops", "create", "use")
	}
	ask("", "", "secrets", "list")
	ask("", rbacv1.GroupName, "clusterroles", "bind")
	return all
}

// checkRights is the second law: no hop can do more than its scope, and an invalid one, or an account of before, nothing.
func (l *sight) checkRights(ctx context.Context, all bool) error {
	if !all && l.now.Sub(l.asked) < between {
		maps.Copy(l.lasting, l.excess)
		return nil
	}
	l.asked, l.excess = l.now, map[string]string{}
	var questions []question
	gone := l.gone
	if !all {
		gone = gone[max(0, len(gone)-3):]
	}
	for _, account := range slices.Sorted(maps.Keys(l.checker.accounts)) {
		if !slices.Contains(l.gone, account) || slices.Contains(gone, account) {
			questions = append(questions, l.questionsAbout(account)...)
		}
	}
	answers, err := l.ask(ctx, questions)
	if err != nil {
		return err
	}
	for i, q := range questions {
		if !answers[i] {
			continue
		}
		l.allowed++
		hop := l.checker.accounts[q.account]
		why := l.invalidHop(hop)
		if why == "" && !covers(l.view.scopeOf(l.view.hops[hop]), q) {
			why = "its scope does not say so"
		}
		if why != "" {
			l.excess["right "+q.account+q.String()] = fmt.Sprintf("law 2: account %s can %s, and hop %s may not: %s", q.account, q, hop, why)
		}
	}
	maps.Copy(l.lasting, l.excess)
	return nil
}

// ask asks the API server, some questions at a time.
func (c *checker) ask(ctx context.Context, questions []question) ([]bool, error) {
	c.questions += len(questions)
	answers, errs := make([]bool, len(questions)), make([]error, len(questions))
	var wait sync.WaitGroup
	places := make(chan struct{}, 8)
	for i, q := range questions {
		places <- struct{}{}
		wait.Go(func() {
			defer func() { <-places }()
			namespace, name, _ := strings.Cut(q.account, "/")
			answers[i], errs[i] = c.may(ctx, "system:serviceaccount:"+namespace+":"+name,
				[]string{"system:authenticated", "system:serviceaccounts", "system:serviceaccounts:" + namespace}, q)
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return answers, nil
}

// may asks the API server whether a user may do something.
func (c *checker) may(ctx context.Context, user string, groups []string, q question) (bool, error) {
	review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
		User: user, Groups: groups, ResourceAttributes: &authorizationv1.ResourceAttributes{
			Namespace: q.namespace, Group: q.group, Resource: q.resource, Subresource: q.subresource, Verb: q.verb,
		},
	}}
	if err := c.admin.Create(ctx, review); err != nil {
		return false, fmt.Errorf("asking whether %s may %s: %w", user, q, err)
	}
	return review.Status.Allowed, nil
}

// checkPods is the third law: no pod runs outside a valid chain.
func (l *sight) checkPods() {
	for _, p := range l.view.pods {
		declared, account := p.Labels[v1alpha1.LabelHop], p.Spec.ServiceAccountName
		if declared == "" && !strings.HasPrefix(account, "dhop-") || !runs(p) {
			continue
		}
		key, hop := fmt.Sprintf("pod %s/%s", p.Namespace, p.Name), p.Namespace+"/"+declared
		if !strings.HasPrefix(account, "dhop-"+declared+".") {
			l.broken = append(l.broken, fmt.Sprintf("law 3: %s runs as %q and declares hop %q", key, account, declared))
			continue
		}
		if !l.open[p.UID] {
			l.open[p.UID] = true
			l.opened++
			l.begins(key, hop)
		}
		if why := l.invalidHop(hop); why != "" {
			l.lasting[key+string(p.UID)] = fmt.Sprintf("law 3: %s runs, and its hop %s is invalid: %s", key, hop, why)
		}
	}
}

// runs says whether a pod may run, or does.
func runs(p corev1.Pod) bool {
	gated := slices.ContainsFunc(p.Spec.SchedulingGates, func(g corev1.PodSchedulingGate) bool {
		return g.Name == "delegation.wayleave.dev/grant"
	})
	return !gated && p.DeletionTimestamp.IsZero() && p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed
}

// conclude is what may not be seen at all, and what has been seen for too long. Without a controller, what stands may stand.
func (l *sight) conclude() []string {
	maps.DeleteFunc(l.suspect, func(key string, _ time.Time) bool { return l.lasting[key] == "" })
	for key, what := range l.lasting {
		if l.suspect[key].IsZero() {
			l.suspect[key] = l.now
		}
		since := l.suspect[key]
		if since.Before(l.by.up) {
			since = l.by.up
		}
		if l.by.runs() && l.now.Sub(since) >= l.grace {
			l.broken = append(l.broken, fmt.Sprintf("%s (for %.1f s)", what, l.now.Sub(since).Seconds()))
		}
	}
	slices.Sort(l.broken)
	return l.broken
}

func (c *checker) quiet() bool { return len(c.suspect) == 0 }
