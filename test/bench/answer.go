//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/wayleave/wayleave/test/cluster"
)

// answers measures on a node from the creation of a pod to the first answer that its container gets from the API server, beside
// the same pod as an account of its own that is bound for good. It needs a cluster of its own: with a node, the pods of the other
// stages would run.
func answers(ctx context.Context, n sizes) (rows []row, err error) {
	if why := cluster.CanRunNode(); why != nil {
		progress("answer: left out: %v", why)
		return nil, nil
	}
	s, err := newSite(ctx, true)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if err := s.loadAgent(ctx); err != nil {
		return nil, err
	}
	bound := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: agents, Name: "bound"}}
	subject := rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: agents, Name: bound.Name}
	if err := s.admin.Create(ctx, bound); err != nil {
		return nil, fmt.Errorf("creating a ServiceAccount: %w", err)
	}
	for _, o := range roleFor(bound.Name, payments, subject, rule("", "configmaps", "get,list")) {
		if err := s.admin.Create(ctx, o); err != nil {
			return nil, fmt.Errorf("creating %T: %w", o, err)
		}
	}
	const path = "answer"
	if err := s.idleHops(ctx, path, n.answers); err != nil {
		return nil, err
	}
	r := row{what: fmt.Sprintf("creation of a pod to its first answer, beside one whose account is bound for good (n=%d)", n.answers)}
	progress("answer: %d pods of each kind", n.answers)
	for i := range n.answers {
		ours, bare := podOf(nth(path, i), nth(path, i)), podOf("", "bare-"+nth(path, i))
		bare.Name, bare.Labels, bare.Spec.ServiceAccountName = "bare-"+nth(path, i), nil, bound.Name
		took, err := s.untilAnswered(ctx, ours)
		if err != nil {
			return nil, err
		}
		r.ours = append(r.ours, took)
		if took, err = s.untilAnswered(ctx, bare); err != nil {
			return nil, err
		}
		r.floor = append(r.floor, took)
	}
	return []row{r}, nil
}

// loadAgent loads into the node, as the image of all pods, a program that lists what its argument says.
func (s *site) loadAgent(ctx context.Context) error {
	program := filepath.Join(s.cluster.Dir(), "agent")
	if err := cluster.BuildProgram(ctx, "github.com/wayleave/wayleave/hack/images/agent", program); err != nil {
		return fmt.Errorf("building the agent: %w", err)
	}
	_, err := s.cluster.LoadImage(ctx, image, program)
	return err
}

// untilAnswered creates a pod, waits until it is done, and says how long after its creation it was first answered.
func (s *site) untilAnswered(ctx context.Context, pod *corev1.Pod) (time.Duration, error) {
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.Containers[0].Args = []string{"list configmaps in " + payments}
	began := time.Now()
	if err := s.alice.Create(ctx, pod); err != nil {
		return 0, fmt.Errorf("creating pod %s: %w", pod.Name, err)
	}
	if _, _, err := s.pods.one(ctx, "pod "+pod.Name+" to end", keyOf(pod), func(p *corev1.Pod) bool {
		return p.Status.Phase == corev1.PodSucceeded
	}); err != nil {
		return 0, err
	}
	at, err := s.firstAnswer(ctx, pod)
	if err != nil {
		return 0, err
	}
	return at.Sub(began), s.deletePods(ctx, pod)
}

// firstAnswer reads from the log of a pod when it was answered what it was to get.
func (s *site) firstAnswer(ctx context.Context, pod *corev1.Pod) (time.Time, error) {
	pods, err := kubernetes.NewForConfig(s.cluster.Config())
	if err != nil {
		return time.Time{}, fmt.Errorf("connecting: %w", err)
	}
	log, err := pods.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).Stream(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the log of pod %s: %w", pod.Name, err)
	}
	defer log.Close()
	text, err := io.ReadAll(log)
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the log of pod %s: %w", pod.Name, err)
	}
	clock, rest, _ := strings.Cut(string(text), " ")
	at, err := time.Parse("2006-01-02 15:04:05.000", time.Now().UTC().Format("2006-01-02 ")+clock)
	if err != nil || !strings.Contains(rest, ": 200") {
		return time.Time{}, fmt.Errorf("pod %s was not answered: %q", pod.Name, text)
	}
	return at, nil
}
