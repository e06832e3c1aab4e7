//go:build unix

package main

import (
	"context"
	"fmt"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// writers are the parallel writers of the floor of many pods at once.
const writers = 16

// burst measures until the gates of many pods are open that arrived at once: the controller does not run while they are
// created. The floor is the controller's writes, made bare.
func (s *site) burst(ctx context.Context, n sizes, notes *[]string) (row, error) {
	const path = "burst"
	all := n.burstHops * n.burstPods
	if err := s.idleHops(ctx, path, n.burstHops); err != nil {
		return row{}, err
	}
	progress("gate: %d pods at once", all)
	pods := make([]*corev1.Pod, all)
	for i := range pods {
		pods[i] = podOf(nth(path, i%n.burstHops), nth(path+"-pod", i))
	}
	w, err := s.arrive(ctx, pods)
	if err != nil {
		return row{}, err
	}
	requests, err := s.requests()
	if err != nil {
		return row{}, err
	}
	*notes = append(*notes, "in the burst, "+spans(requests, w))
	writes := writesIn(requests, w)
	if err := s.deletePods(ctx, pods...); err != nil {
		return row{}, err
	}
	for i := range n.burstHops {
		if _, _, err := s.inState(ctx, nth(path, i), v1alpha1.ReasonIdle); err != nil {
			return row{}, err
		}
	}
	took, err := s.bareBurst(ctx, path, writes)
	if err != nil {
		return row{}, err
	}
	ours := w.to.Sub(w.from)
	*notes = append(*notes, fmt.Sprintf("%d gates opened at %.0f a second, %.0f %% of the raw rate; the writes: %s",
		all, float64(all)/ours.Seconds(), 100*took.Seconds()/ours.Seconds(), writes))
	return row{
		what: fmt.Sprintf("%d pods of %d hops at once to the last open gate, beside the same writes by %d bare writers (n=1)",
			all, n.burstHops, writers),
		ours: series{ours}, floor: series{took},
	}, nil
}

// arrive creates pods while the controller is stopped, and measures from its continuation until all gates are open.
func (s *site) arrive(ctx context.Context, pods []*corev1.Pod) (window, error) {
	pid := s.operator.PID("controller")
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return window{}, fmt.Errorf("stopping the controller: %w", err)
	}
	err := s.createPods(ctx, s.alice, pods)
	began := time.Now()
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		return window{}, fmt.Errorf("continuing the controller: %w", err)
	}
	if err != nil {
		return window{}, err
	}
	at, err := s.untilAllOpen(ctx, pods)
	return window{began, at}, err
}

func (s *site) createPods(ctx context.Context, author client.Client, pods []*corev1.Pod) error {
	err := parallel(ctx, 8, len(pods), func(ctx context.Context, i int) error { return author.Create(ctx, pods[i]) })
	if err != nil {
		return fmt.Errorf("creating pods: %w", err)
	}
	_, err = s.pods.until(ctx, "the pods", func(all map[client.ObjectKey]*corev1.Pod) bool {
		for _, p := range pods {
			if all[keyOf(p)] == nil {
				return false
			}
		}
		return true
	})
	return err
}

func (s *site) untilAllOpen(ctx context.Context, pods []*corev1.Pod) (time.Time, error) {
	return s.pods.until(ctx, "all gates to open", func(all map[client.ObjectKey]*corev1.Pod) bool {
		for _, p := range pods {
			if now := all[keyOf(p)]; now == nil || !isOpen(now) {
				return false
			}
		}
		return true
	})
}

// bareBurst makes as many writes of each kind as the controller did, with parallel writers.
func (s *site) bareBurst(ctx context.Context, path string, like writes) (time.Duration, error) {
	pods := make([]*corev1.Pod, like["patch pods"])
	for i := range pods {
		pods[i] = barePod(nth("bare-"+path, i))
	}
	if err := s.createPods(ctx, s.alice, pods); err != nil {
		return 0, err
	}
	hop := &v1alpha1.DelegationHop{}
	if err := s.admin.Get(ctx, client.ObjectKey{Namespace: agents, Name: nth(path, 0)}, hop); err != nil {
		return 0, fmt.Errorf("reading a hop: %w", err)
	}
	hops, err := s.createBareHops(ctx, hop, "bare-"+path, like["patch delegationhops/status"])
	if err != nil {
		return 0, err
	}
	var tasks []func(context.Context) error
	for i := range like["patch roles"] {
		tasks = append(tasks, func(ctx context.Context) error { return s.writeBareRights(ctx, nth("bare-"+path, i)) })
	}
	for _, bare := range hops {
		tasks = append(tasks, func(ctx context.Context) error { return s.applyBareStatus(ctx, bare, &hop.Status) })
	}
	for _, pod := range pods {
		tasks = append(tasks, func(ctx context.Context) error { return s.openBare(ctx, pod.Name) })
	}
	began := time.Now()
	if err := parallel(ctx, writers, len(tasks), func(ctx context.Context, i int) error { return tasks[i](ctx) }); err != nil {
		return 0, fmt.Errorf("writing bare: %w", err)
	}
	at, err := s.untilAllOpen(ctx, pods)
	if err != nil {
		return 0, err
	}
	return max(at.Sub(began), 0), s.deletePods(ctx, pods...)
}

// createBareHops creates a bare hop for each write of a status: one that changes nothing would be no write.
func (s *site) createBareHops(ctx context.Context, like *v1alpha1.DelegationHop, name string, n int) ([]*unstructured.Unstructured, error) {
	spec, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&like.Spec)
	if err != nil {
		return nil, fmt.Errorf("copying a hop: %w", err)
	}
	hops := make([]*unstructured.Unstructured, n)
	for i := range hops {
		hops[i] = &unstructured.Unstructured{Object: map[string]any{"spec": runtime.DeepCopyJSON(spec)}}
		hops[i].SetGroupVersionKind(bareKind)
		hops[i].SetNamespace(agents)
		hops[i].SetName(nth(name, i))
		if err := s.admin.Create(ctx, hops[i]); err != nil {
			return nil, fmt.Errorf("creating a bare hop: %w", err)
		}
	}
	return hops, nil
}

// withdrawUsed measures from the revocation of a path whose hops are all in use until a watch sees the last of their
// bindings deleted.
func (s *site) withdrawUsed(ctx context.Context, n sizes, _ *[]string) (row, error) {
	const path = "withdraw"
	r := row{what: fmt.Sprintf("revocation of %d hops in use to the last binding deleted, beside %d deletions, %d at a time (n=1)",
		n.withdrawn, n.withdrawn, parallelDeletes)}
	began := time.Now()
	if err := s.idleHops(ctx, path, n.withdrawn); err != nil {
		return r, err
	}
	pods := make([]*corev1.Pod, n.withdrawn)
	for i := range pods {
		pods[i] = podOf(nth(path, i), nth(path, i))
	}
	if err := s.createPods(ctx, s.alice, pods); err != nil {
		return r, err
	}
	if _, err := s.untilAllOpen(ctx, pods); err != nil {
		return r, err
	}
	for i := range n.withdrawn {
		if _, _, err := s.inState(ctx, nth(path, i), v1alpha1.ReasonGranted); err != nil {
			return r, err
		}
	}
	progress("gate: %d hops in use after %s", n.withdrawn, short(time.Since(began)))
	time.Sleep(2 * time.Second)
	p := &v1alpha1.DelegationPath{}
	if err := s.admin.Get(ctx, client.ObjectKey{Namespace: agents, Name: path}, p); err != nil {
		return r, fmt.Errorf("reading path %s: %w", path, err)
	}
	took, err := s.untilUnbound(ctx, v1alpha1.LabelPathUID, string(p.UID), n.withdrawn, func() error { return s.revoke(ctx, path) })
	if err != nil {
		return r, err
	}
	r.ours = series{took}
	for i := range n.withdrawn { // nothing else may run during the floor's turn
		if err := s.untilWithdrawn(ctx, nth(path, i)); err != nil {
			return r, err
		}
	}
	progress("gate: %d hops revoked after %s", n.withdrawn, short(time.Since(began)))
	time.Sleep(2 * time.Second)
	took, err = s.deleteBare(ctx, "bare-"+path, n.withdrawn)
	r.floor = series{took}
	return r, err
}

// untilWithdrawn waits until the status of a hop says that its withdrawal is complete.
func (s *site) untilWithdrawn(ctx context.Context, hop string) error {
	key := client.ObjectKey{Namespace: agents, Name: hop}
	_, _, err := s.hops.one(ctx, "the withdrawal of hop "+hop, key, func(h *v1alpha1.DelegationHop) bool {
		return h.Status.Withdrawal != nil && h.Status.Withdrawal.CompletedAt != nil
	})
	return err
}
