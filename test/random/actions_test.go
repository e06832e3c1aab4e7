//go:build unix

package random

import (
	"fmt"
	"math/bits"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

// action does a step. It says what was done, and what the API server answered if that was no.
type action func(*world, step) (string, error)

// actions is what may be done, by the name that stories use.
var actions map[string]action

func init() {
	actions = map[string]action{
		"make a path": (*world).makePath, "change a path": (*world).changePath, "end a path": (*world).endPath,
		"make a hop": (*world).makeHop, "end a hop": (*world).endHop,
		"create a job": (*world).createJob, "create a pod": (*world).createPod, "end a pod": (*world).endPod,
		"take or give rights": (*world).rights, "take or give the ceiling": (*world).takeCeiling,
		"end or start a process": (*world).process, "wait": (*world).wait, "wait for accounts": (*world).waitForAccounts,
		"delete what a hop has": (*world).deleteOf, "change what a hop has": (*world).editOf,
		"step around the floor": (*world).stepAround,
	}
}

func pathName(n int) string { return fmt.Sprintf("path-%d", n) }

func hopName(n int) string { return fmt.Sprintf("hop-%d", n) }

// home is the namespace of a hop.
func (w *world) home(hop int) string { return w.hops[hop%len(w.hops)] }

func (w *world) path(n int) *v1alpha1.DelegationPath {
	return &v1alpha1.DelegationPath{ObjectMeta: metav1.ObjectMeta{Namespace: w.hops[0], Name: pathName(n)}}
}

func (w *world) hop(n int) *v1alpha1.DelegationHop {
	return &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{Namespace: w.home(n), Name: hopName(n)}}
}

// scope is what the bits of a mask name.
func (w *world) scope(mask int) v1alpha1.Scope {
	var s v1alpha1.Scope
	for on := range w.on {
		in := v1alpha1.NamespacedScope{Namespaces: []string{w.on[on]}}
		for r := range resources {
			rule := v1alpha1.ResourceRule{APIGroups: []string{""}, Resources: []string{resources[r]}}
			for v := range verbs {
				if mask>>((on*len(resources)+r)*len(verbs)+v)&1 == 1 {
					rule.Verbs = append(rule.Verbs, verbs[v])
				}
			}
			if len(rule.Verbs) > 0 {
				in.Rules = append(in.Rules, rule)
			}
		}
		if len(in.Rules) > 0 {
			s.Namespaced = append(s.Namespaced, in)
		}
	}
	return s
}

// within is a mask cut to the one above it, unless it is to be wider.
func within(s step, above int) int {
	switch mask := s.Scope & above; {
	case s.Wide || above == 0:
		return s.Scope
	case mask != 0:
		return mask
	}
	return 1 << bits.TrailingZeros(uint(above))
}

// permitted is the mask of what the origin may do and the controller may grant.
const permitted = 0b111_011_111_111

// lifetimes are what step.Life chooses. The first one is none on a hop.
var lifetimes = []time.Duration{time.Hour, time.Hour, 4 * time.Second, 9 * time.Second}

func lifetime(s step) v1alpha1.Lifetime {
	return v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: lifetimes[s.Life]}}
}

// makePath creates a path. Of four, one is less deep, and one names no namespaces.
func (w *world) makePath(s step) (string, error) {
	mask := within(s, permitted)
	p := w.path(s.Path)
	p.Spec = v1alpha1.DelegationPathSpec{
		Reason: "at random", Lifetime: lifetime(s), Scope: w.scope(mask), Hops: &v1alpha1.HopBounds{MaxDepth: 3, Namespaces: w.hops},
	}
	if s.Kind == 1 {
		p.Spec.Hops.MaxDepth = 2
	} else if s.Kind == 2 && s.Wide {
		p.Spec.Hops.Namespaces = nil
	}
	err := w.users[s.Who].Create(w.ctx, p)
	if err == nil {
		w.masks[p.Name] = mask
	}
	return fmt.Sprintf("%s creates %s of scope %012b for %s, %d deep",
		w.names[s.Who], p.Name, mask, lifetimes[s.Life], p.Spec.Hops.MaxDepth), err
}

// changePath gives a path another scope, or suspends it, or resumes it.
func (w *world) changePath(s step) (string, error) {
	p := w.path(s.Path)
	if s.Kind < 2 {
		patch := fmt.Sprintf(`{"spec":{"suspend":%t}}`, s.Kind == 0)
		err := w.users[s.Who].Patch(w.ctx, p, client.RawPatch(types.MergePatchType, []byte(patch)))
		return fmt.Sprintf("%s sets suspend of %s to %t", w.names[s.Who], p.Name, s.Kind == 0), err
	}
	mask := within(s, permitted)
	words := fmt.Sprintf("%s changes the scope of %s to %012b", w.names[s.Who], p.Name, mask)
	if err := suite.admin.Get(w.ctx, client.ObjectKeyFromObject(p), p); err != nil {
		return words, err
	}
	p.Spec.Scope = w.scope(mask)
	return words, w.users[s.Who].Update(w.ctx, p)
}

const revoke = `{"spec":{"revoked":{"reason":"at random"}}}`

func (w *world) endPath(s step) (string, error) { return w.end(s, w.path(s.Path)) }

func (w *world) endHop(s step) (string, error) { return w.end(s, w.hop(s.Hop)) }

// end revokes or deletes.
func (w *world) end(s step, o client.Object) (string, error) {
	if s.Kind < 2 {
		err := w.users[s.Who].Patch(w.ctx, o, client.RawPatch(types.MergePatchType, []byte(revoke)))
		return fmt.Sprintf("%s revokes %s", w.names[s.Who], o.GetName()), err
	}
	return fmt.Sprintf("%s deletes %s", w.names[s.Who], o.GetName()), w.users[s.Who].Delete(w.ctx, o)
}

// makeHop creates a hop, or gives one that exists another scope.
func (w *world) makeHop(s step) (string, error) {
	h := w.hop(s.Hop)
	path, above := s.Path, pathName(s.Path)
	if s.Parent >= 0 && s.Parent != s.Hop {
		h.Spec.ParentRef = &v1alpha1.ObjectRef{Name: hopName(s.Parent), Namespace: w.home(s.Parent)}
		if of, ok := w.pathOf[s.Parent]; ok && !s.Wide {
			path, above = of, hopName(s.Parent)
		}
	}
	mask := within(s, w.masks[above])
	h.Spec.PathRef = v1alpha1.ObjectRef{Name: pathName(path), Namespace: w.hops[0]}
	if s.Kind == 3 && !s.Wide {
		h.Spec.InheritScope, mask = new(true), w.masks[above]
	} else {
		h.Spec.Scope = new(w.scope(mask))
	}
	if s.Life > 0 {
		h.Spec.Lifetime = new(lifetime(s))
	}
	if s.Kind > 0 {
		h.Spec.Workload = &v1alpha1.Workload{
			Kinds: []v1alpha1.WorkloadKind{v1alpha1.WorkloadJob, v1alpha1.WorkloadPod}, Images: []string{"registry.example.com/agent:*"},
		}
	}
	if s.Kind == 0 || s.Kind == 2 {
		h.Spec.Token = &v1alpha1.Token{SecretName: h.Name + "-token"}
	}
	words := fmt.Sprintf("%s makes %s on %s below %v, of scope %012b (inherited: %t), for %v, with token: %t", w.names[s.Who], h.Name,
		pathName(path), h.Spec.ParentRef, mask, h.Spec.Scope == nil, h.Spec.Lifetime, h.Spec.Token != nil)
	err := w.users[s.Who].Create(w.ctx, h)
	if apierrors.IsAlreadyExists(err) {
		err = w.changeHop(s, h)
	}
	w.masks[h.Name], w.pathOf[s.Hop] = mask, path
	return words, err
}

// changeHop gives a hop that exists the scope and the lifetime of the one that was to be made.
func (w *world) changeHop(s step, wanted *v1alpha1.DelegationHop) error {
	h := w.hop(s.Hop)
	if err := suite.admin.Get(w.ctx, client.ObjectKeyFromObject(h), h); err != nil {
		return err
	}
	h.Spec.Scope, h.Spec.InheritScope, h.Spec.Lifetime = wanted.Spec.Scope, wanted.Spec.InheritScope, wanted.Spec.Lifetime
	return w.users[s.Who].Update(w.ctx, h)
}

// podOf is what runs under a hop, with an account if one is named.
func podOf(hop, account string) corev1.PodTemplateSpec {
	t := corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, ServiceAccountName: account,
		Containers: []corev1.Container{{Name: "agent", Image: "registry.example.com/agent:1.0"}},
	}}
	if hop != "" {
		t.Labels = map[string]string{v1alpha1.LabelHop: hop}
	}
	return t
}

// declares is what a workload says: its hop, or its hop's account without the hop if it is Wide.
func (w *world) declares(s step) corev1.PodTemplateSpec {
	if s.Wide {
		return podOf("", w.account(s.Hop))
	}
	return podOf(hopName(s.Hop), "")
}

func (w *world) createJob(s step) (string, error) {
	w.made++
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.home(s.Hop), Name: fmt.Sprintf("job-%d", w.made)},
		Spec:       batchv1.JobSpec{BackoffLimit: new(int32(1)), Parallelism: new(int32(s.Kind%2 + 1)), Template: w.declares(s)},
	}
	return fmt.Sprintf("%s creates %s for %s, naming only its account: %t", w.names[s.Who], job.Name, hopName(s.Hop), s.Wide),
		w.users[s.Who].Create(w.ctx, job)
}

func (w *world) createPod(s step) (string, error) {
	w.made++
	t := w.declares(s)
	pod := &corev1.Pod{ObjectMeta: t.ObjectMeta, Spec: t.Spec}
	pod.Namespace, pod.Name = w.home(s.Hop), fmt.Sprintf("dhop-pod-%d", w.made)
	return fmt.Sprintf("%s creates %s for %s, naming only its account: %t", w.names[s.Who], pod.Name, hopName(s.Hop), s.Wide),
		w.users[s.Who].Create(w.ctx, pod)
}

// endPod has the containers of a pod end, as there is no node that would run them; or deletes it.
func (w *world) endPod(s step) (string, error) {
	var pods corev1.PodList
	if err := suite.admin.List(w.ctx, &pods, client.InNamespace(w.home(s.Hop))); err != nil {
		return "looking for a pod", err
	}
	for _, pod := range pods.Items {
		if !runs(pod) {
			continue
		}
		if s.Kind == 0 {
			return "alice deletes " + pod.Name, w.users[0].Delete(w.ctx, &pod)
		}
		phase := map[bool]corev1.PodPhase{true: corev1.PodFailed, false: corev1.PodSucceeded}[s.Kind == 1]
		patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"status":{"phase":%q}}`, phase))
		return fmt.Sprintf("pod %s is %s", pod.Name, phase), existing(suite.admin.Status().Patch(w.ctx, &pod, patch))
	}
	return "there is no pod to end in " + w.home(s.Hop), nil
}

// rights takes rights of the origin away, or gives them back.
func (w *world) rights(s step) (string, error) {
	b := binding(w.on[s.On], "rights", w.names[0])
	if s.Kind == 0 {
		return "alice loses her rights in " + w.on[s.On], existing(suite.admin.Delete(w.ctx, b))
	}
	return "alice has her rights in " + w.on[s.On], client.IgnoreAlreadyExists(suite.admin.Create(w.ctx, b))
}

func (w *world) takeCeiling(s step) (string, error) {
	b := w.ceiling(w.on[s.On])
	if s.Kind == 0 {
		return "the ceiling of " + b.Namespace + " is taken away", existing(suite.admin.Delete(w.ctx, b))
	}
	return "the ceiling of " + b.Namespace + " is there", client.IgnoreAlreadyExists(suite.admin.Create(w.ctx, b))
}

// process kills a process or shuts it down, as a rollout does, and starts it or leaves it down; or starts what is down.
func (w *world) process(s step) (string, error) {
	name := operator.Controller
	if s.Wide || s.On == 1 && s.Kind > 1 {
		name = "webhook"
	}
	if !down[name].IsZero() {
		w.start(name)
		return "the " + name + " is started", nil
	}
	how := w.kill
	words := "the " + name + " is killed"
	if s.Life > 0 {
		how, words = w.shutdown, "the "+name+" is shut down"
	}
	how(name)
	if s.Kind%2 == 0 {
		w.start(name)
		return words + " and started", nil
	}
	w.killed = len(w.story)
	return words, nil
}

// wait lets time pass, in which what is short ends.
func (w *world) wait(s step) (string, error) {
	pause := time.Duration(s.Kind+1) * 400 * time.Millisecond
	time.Sleep(pause)
	return fmt.Sprintf("%s pass", pause), nil
}

// waitForAccounts waits until three hops have theirs, or for as long as a controller may need that has just started.
func (w *world) waitForAccounts(step) (string, error) {
	var found int
	deadline := time.Now().Add(leaseDuration + 3*time.Second)
	for ; found < 3 && time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		found = 0
		for n := range hops {
			h := w.hop(n)
			w.must(existing(suite.admin.Get(w.ctx, client.ObjectKeyFromObject(h), h)))
			if h.Status.ServiceAccountUID != "" {
				found++
			}
		}
	}
	return fmt.Sprintf("%d hops have accounts", found), nil
}
