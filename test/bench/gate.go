//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// bareGate is a scheduling gate that a trivial client opens.
const bareGate = bareGroup + "/gate"

// gates measures what a use of a hop costs while the cluster holds many idle hops, and what many uses at once cost.
func gates(ctx context.Context, s *site, n sizes, notes *[]string) ([]row, error) {
	if err := s.loadIdle(ctx, n.idle, notes); err != nil {
		return nil, err
	}
	var rows []row
	for _, measure := range []func(context.Context, sizes, *[]string) (row, error){s.uses, s.burst, s.withdrawUsed} {
		r, err := measure(ctx, n, notes)
		if err != nil {
			return rows, err
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// loadIdle fills the cluster with idle hops, and fails unless they have neither Role nor RoleBinding.
func (s *site) loadIdle(ctx context.Context, n int, notes *[]string) error {
	began := time.Now()
	progress("gate: loading %d hops", n)
	if err := s.load(ctx, n); err != nil {
		return err
	}
	for {
		idle := s.hops.count(func(h *v1alpha1.DelegationHop) bool {
			_, load := h.Labels[loadLabel]
			return load && conditionIs(h.Status.Conditions, v1alpha1.ReasonIdle)
		})
		if idle >= s.loaded/hopsPerPath*hopsPerPath {
			break
		}
		if time.Since(began) > 10*time.Minute {
			return fmt.Errorf("after %s, only %d of %d hops are idle", time.Since(began), idle, n)
		}
		time.Sleep(500 * time.Millisecond)
	}
	progress("gate: %d hops idle after %s", n, short(time.Since(began)))
	rights := client.HasLabels{v1alpha1.LabelHopUID}
	var roles rbacv1.RoleList
	var bindings rbacv1.RoleBindingList
	if err := errors.Join(s.admin.List(ctx, &roles, rights), s.admin.List(ctx, &bindings, rights)); err != nil {
		return fmt.Errorf("listing the rights of hops: %w", err)
	}
	held := s.hops.count(func(h *v1alpha1.DelegationHop) bool { return h.Spec.Token != nil })
	*notes = append(*notes, fmt.Sprintf("%d idle hops, and %d with tokens: %d Roles, %d RoleBindings",
		n, held, len(roles.Items), len(bindings.Items)))
	if held == 0 && len(roles.Items)+len(bindings.Items) > 0 {
		return errors.New((*notes)[len(*notes)-1])
	}
	return nil
}

// idleHops creates a path with hops that no workload uses yet.
func (s *site) idleHops(ctx context.Context, path string, n int) error {
	if err := s.active(ctx, path); err != nil {
		return err
	}
	err := parallel(ctx, 8, n, func(ctx context.Context, i int) error {
		return s.alice.Create(ctx, newHop(nth(path, i), path, "", false))
	})
	if err != nil {
		return fmt.Errorf("creating the hops of path %s: %w", path, err)
	}
	for i := range n {
		if _, _, err := s.inState(ctx, nth(path, i), v1alpha1.ReasonIdle); err != nil {
			return err
		}
	}
	time.Sleep(2 * time.Second) // the path counts its hops half a second later, which reconciles them again
	return nil
}

// uses measures from the creation of a pod until a watch sees its gate gone, one pod after the other, each of another hop.
func (s *site) uses(ctx context.Context, n sizes, notes *[]string) (row, error) {
	r := row{}
	const path = "use"
	if err := s.idleHops(ctx, path, n.uses); err != nil {
		return r, err
	}
	progress("gate: %d uses of each kind", n.uses)
	var opening, lives []window
	for i := range n.uses {
		began := time.Now()
		pod := podOf(nth(path, i), nth(path, i))
		if err := s.alice.Create(ctx, pod); err != nil {
			return r, fmt.Errorf("creating a pod: %w", err)
		}
		at, err := s.untilOpen(ctx, pod)
		if err != nil {
			return r, err
		}
		r.ours, opening = append(r.ours, at.Sub(began)), append(opening, window{began, at})
		if at, err = s.endUse(ctx, pod); err != nil {
			return r, err
		}
		lives = append(lives, window{began, at})
		took, err := s.bareUse(ctx, "bare-"+nth(path, i))
		if err != nil {
			return r, err
		}
		r.floor = append(r.floor, took)
	}
	r.what = fmt.Sprintf("creation of a pod to its open gate with %d idle hops, beside a gate that a trivial client opens (n=%d)",
		n.idle, n.uses)
	requests, err := s.requests()
	if err != nil {
		return r, err
	}
	*notes = append(
		*notes,
		fmt.Sprintf("the gate takes %s more at p50, %s at p99", short(r.ours.p50()-r.floor.p50()), short(r.ours.p99()-r.floor.p99())),
		"to the open gate, at p50: "+breakdown(requests, opening),
		"a use, to its end and the next account: "+writesPer(requests, lives),
	)
	return r, nil
}

// podOf is a pod that declares a hop.
func podOf(hop, name string) *corev1.Pod {
	pod := barePod(name)
	pod.Name, pod.Labels, pod.Spec.SchedulingGates = v1alpha1.AccountPrefix+name, map[string]string{v1alpha1.LabelHop: hop}, nil
	return pod
}

// barePod is a pod that waits at a gate of its own.
func barePod(name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: agents, Name: name},
		Spec: corev1.PodSpec{
			Containers:      []corev1.Container{{Name: "main", Image: image}},
			SchedulingGates: []corev1.PodSchedulingGate{{Name: bareGate}},
		},
	}
}

func (s *site) untilOpen(ctx context.Context, pod *corev1.Pod) (time.Time, error) {
	_, at, err := s.pods.one(ctx, "the gate of pod "+pod.Name+" to open", keyOf(pod), isOpen)
	return at, err
}

func isOpen(p *corev1.Pod) bool { return len(p.Spec.SchedulingGates) == 0 }

// bareUse measures the same of a pod that a trivial client opens as soon as a watch shows it.
func (s *site) bareUse(ctx context.Context, name string) (time.Duration, error) {
	pod, opened := barePod(name), make(chan error, 1)
	go func() {
		_, _, err := s.pods.one(ctx, "pod "+name, client.ObjectKey{Namespace: agents, Name: name}, func(*corev1.Pod) bool { return true })
		if err == nil {
			err = s.openBare(ctx, name)
		}
		opened <- err
	}()
	began := time.Now()
	if err := s.alice.Create(ctx, pod); err != nil {
		return 0, fmt.Errorf("creating a bare pod: %w", err)
	}
	if err := <-opened; err != nil {
		return 0, fmt.Errorf("opening a bare pod: %w", err)
	}
	at, err := s.untilOpen(ctx, pod)
	if err != nil {
		return 0, err
	}
	return at.Sub(began), s.deletePods(ctx, pod)
}

func (s *site) openBare(ctx context.Context, name string) error {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: agents, Name: name}}
	patch := []byte(`{"spec":{"schedulingGates":null,"activeDeadlineSeconds":3600}}`)
	return s.writer.Patch(ctx, pod, client.RawPatch(types.MergePatchType, patch))
}

// endUse has a pod end, as if its containers had, and waits until its hop has another account.
func (s *site) endUse(ctx context.Context, pod *corev1.Pod) (time.Time, error) {
	key := client.ObjectKey{Namespace: agents, Name: pod.Labels[v1alpha1.LabelHop]}
	used := &v1alpha1.DelegationHop{}
	if err := s.admin.Get(ctx, key, used); err != nil {
		return time.Time{}, fmt.Errorf("reading hop %s: %w", key.Name, err)
	}
	patch := client.RawPatch(types.MergePatchType, []byte(`{"status":{"phase":"Succeeded"}}`))
	if err := s.admin.Status().Patch(ctx, pod, patch); err != nil {
		return time.Time{}, fmt.Errorf("ending pod %s: %w", pod.Name, err)
	}
	_, at, err := s.hops.one(ctx, "hop "+key.Name+" to be idle again", key, func(h *v1alpha1.DelegationHop) bool {
		return conditionIs(h.Status.Conditions, v1alpha1.ReasonIdle) && h.Status.Incarnation > used.Status.Incarnation
	})
	if err != nil {
		return at, err
	}
	time.Sleep(200 * time.Millisecond) // a later write would be one too many, and counts
	return time.Now(), s.deletePods(ctx, pod)
}

// deletePods deletes pods and waits until a watch has seen it.
func (s *site) deletePods(ctx context.Context, pods ...*corev1.Pod) error {
	err := parallel(ctx, parallelDeletes, len(pods), func(ctx context.Context, i int) error {
		return client.IgnoreNotFound(s.admin.Delete(ctx, pods[i], client.GracePeriodSeconds(0)))
	})
	if err != nil {
		return fmt.Errorf("deleting pods: %w", err)
	}
	_, err = s.pods.until(ctx, "pods to be gone", func(all map[client.ObjectKey]*corev1.Pod) bool {
		return !slices.ContainsFunc(pods, func(p *corev1.Pod) bool { return all[keyOf(p)] != nil })
	})
	return err
}
