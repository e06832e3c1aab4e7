//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

// bareLabel selects a pod for the webhooks that always allow, as the label of a hop does for Wayleave's.
const bareLabel = bareGroup + "/hop"

// admissions measures the creation of pods (dry run: all of admission, and no write) while the webhook's cache holds
// many hops. A pod that declares a hop passes two webhooks of Wayleave; its floor is one that passes two webhooks that
// always allow. The floor of a pod that declares nothing is the same pod without Wayleave's webhook configurations.
func admissions(ctx context.Context, s *site, n sizes) ([]row, error) {
	hop, err := s.deepHop(ctx)
	if err != nil {
		return nil, err
	}
	s.unwatch() // only the webhook should watch ten thousand hops
	s.operator.Kill("controller")
	progress("admission: loading %d hops", n.hops)
	if err := s.load(ctx, n.hops); err != nil {
		return nil, err
	}
	remove, err := s.installAllow(ctx)
	if err != nil {
		return nil, err
	}
	declared := row{what: fmt.Sprintf(
		"pod that declares a hop of depth %d, with %d hops in the cache, beside two webhooks that always allow (n=%d)",
		chainLength, n.hops, n.pods)}
	progress("admission: creating %d pods of each kind", n.pods)
	for i := range n.pods + warmUp {
		ours, err := s.create(ctx, map[string]string{v1alpha1.LabelHop: hop})
		if err != nil {
			return nil, err
		}
		floor, err := s.create(ctx, map[string]string{bareLabel: hop})
		if err != nil {
			return nil, err
		}
		if i >= warmUp {
			declared.ours, declared.floor = append(declared.ours, ours), append(declared.floor, floor)
		}
	}
	if err := remove(); err != nil {
		return nil, err
	}
	undeclared, err := s.undeclared(ctx, n.pods)
	return []row{declared, undeclared}, err
}

const (
	// warmUp pods are created and not counted.
	warmUp = 10
	// turn is how many undeclared pods are created before the webhook configurations are installed or removed.
	turn = 20
)

// undeclared measures in short turns with and without Wayleave's webhook configurations.
func (s *site) undeclared(ctx context.Context, n int) (row, error) {
	r := row{what: fmt.Sprintf("pod that declares nothing, beside a cluster without Wayleave's webhooks (n=%d)", n)}
	mutating, validating := webhookConfigurations()
	for _, o := range []client.Object{mutating, validating} {
		if err := s.admin.Get(ctx, keyOf(o), o); err != nil {
			return r, fmt.Errorf("reading the webhook configuration: %w", err)
		}
	}
	for len(r.floor) < n {
		for _, half := range []struct {
			installed bool
			into      *series
		}{{true, &r.ours}, {false, &r.floor}} {
			if err := s.install(ctx, half.installed, mutating.DeepCopy(), validating.DeepCopy()); err != nil {
				return r, err
			}
			for i := range turn + warmUp {
				took, err := s.create(ctx, nil)
				if err != nil {
					return r, err
				}
				if i >= warmUp {
					*half.into = append(*half.into, took)
				}
			}
		}
	}
	return r, s.install(ctx, true, mutating, validating)
}

// install installs or removes Wayleave's webhook configurations, and waits until the API server has seen it.
func (s *site) install(ctx context.Context, yes bool, configurations ...client.Object) error {
	for _, o := range configurations {
		o.SetResourceVersion("")
		o.SetUID("")
		var err error
		if yes {
			err = client.IgnoreAlreadyExists(s.admin.Create(ctx, o))
		} else {
			err = client.IgnoreNotFound(s.admin.Delete(ctx, o))
		}
		if err != nil {
			return fmt.Errorf("installing or removing the webhook configuration: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		_, err := s.create(ctx, map[string]string{v1alpha1.LabelHop: "missing"})
		if ctx.Err() != nil {
			return fmt.Errorf("waiting for the webhook configuration to be installed or removed: %w", err)
		}
		if apierrors.IsForbidden(err) == yes {
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// create creates a pod as Alice, as a dry run.
func (s *site) create(ctx context.Context, labels map[string]string) (time.Duration, error) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: agents, GenerateName: v1alpha1.AccountPrefix, Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}},
	}
	began := time.Now()
	if err := s.alice.Create(ctx, pod, client.DryRunAll); err != nil {
		return 0, fmt.Errorf("creating a pod: %w", err)
	}
	return time.Since(began), nil
}

// deepHop creates a chain of hops and returns the name of the last.
func (s *site) deepHop(ctx context.Context) (string, error) {
	const path = "admission"
	if err := s.active(ctx, path); err != nil {
		return "", err
	}
	name, parent := "", ""
	for i := range chainLength {
		name = nth(path, i)
		if err := s.alice.Create(ctx, newHop(name, path, parent, false)); err != nil {
			return "", fmt.Errorf("creating hop %s: %w", name, err)
		}
		if _, _, err := s.inState(ctx, name, v1alpha1.ReasonIdle); err != nil {
			return "", err
		}
		parent = name
	}
	return name, nil
}

// installAllow starts the webhook that always allows and installs configurations for it that match Wayleave's but for the
// label. It returns a function that removes the configurations.
func (s *site) installAllow(ctx context.Context) (remove func() error, err error) {
	secret := &corev1.Secret{}
	if err := s.admin.Get(ctx, client.ObjectKey{Namespace: operator.Namespace, Name: "wayleave-webhook-cert"}, secret); err != nil {
		return nil, fmt.Errorf("reading the webhook's certificate: %w", err)
	}
	dir := filepath.Join(s.cluster.Dir(), "bench")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("creating a folder for the webhook's certificate: %w", err)
	}
	for _, name := range []string{corev1.TLSCertKey, corev1.TLSPrivateKeyKey} {
		if err := os.WriteFile(filepath.Join(dir, name), secret.Data[name], 0o600); err != nil {
			return nil, fmt.Errorf("writing the webhook's certificate: %w", err)
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	if _, err := s.cluster.StartProgram("webhook-allow", self, "-allow", dir, "-port", strconv.Itoa(port)); err != nil {
		return nil, fmt.Errorf("starting the webhook that always allows: %w", err)
	}
	return s.configureAllow(ctx, fmt.Sprintf("https://localhost:%d%s", port, pathAllow))
}

// configureAllow copies the webhooks for pods from Wayleave's configurations, and changes label, name and address.
func (s *site) configureAllow(ctx context.Context, url string) (func() error, error) {
	mutating, validating := webhookConfigurations()
	for _, o := range []client.Object{mutating, validating} {
		if err := s.admin.Get(ctx, keyOf(o), o); err != nil {
			return nil, fmt.Errorf("reading the webhook configuration: %w", err)
		}
	}
	pointThere := func(config *admissionregistrationv1.WebhookClientConfig) { config.URL, config.Service = &url, nil }
	condition := []admissionregistrationv1.MatchCondition{{
		Name: "selected", Expression: fmt.Sprintf("has(object.metadata.labels) && '%s' in object.metadata.labels", bareLabel),
	}}
	bareMutating := &admissionregistrationv1.MutatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "bench-allow"}}
	for _, hook := range mutating.Webhooks {
		if hook.Name == "mutate-pods."+v1alpha1.GroupName {
			hook.Name, hook.MatchConditions = "mutate-pods."+bareGroup, condition
			pointThere(&hook.ClientConfig)
			bareMutating.Webhooks = append(bareMutating.Webhooks, hook)
		}
	}
	bareValidating := &admissionregistrationv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "bench-allow"}}
	for _, hook := range validating.Webhooks {
		if hook.Name == "pods."+v1alpha1.GroupName {
			hook.Name, hook.MatchConditions = "pods."+bareGroup, condition
			pointThere(&hook.ClientConfig)
			bareValidating.Webhooks = append(bareValidating.Webhooks, hook)
		}
	}
	if len(bareMutating.Webhooks) != 1 || len(bareValidating.Webhooks) != 1 {
		return nil, errors.New("the webhook configurations of Wayleave have no webhook for pods with the expected names")
	}
	for _, o := range []client.Object{bareMutating, bareValidating} {
		if err := s.admin.Create(ctx, o); err != nil {
			return nil, fmt.Errorf("installing the webhooks that always allow: %w", err)
		}
	}
	time.Sleep(2 * time.Second) // for the program to listen, and for the API server to see the configurations
	return func() error {
		return errors.Join(s.admin.Delete(ctx, bareMutating), s.admin.Delete(ctx, bareValidating))
	}, nil
}

func keyOf(o client.Object) client.ObjectKey { return client.ObjectKeyFromObject(o) }

// freePort finds a free port on loopback.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer listener.Close()
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("a TCP listener has the address %v", listener.Addr())
	}
	return address.Port, nil
}
