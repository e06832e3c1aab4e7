//go:build unix

package operator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/cluster"
)

// Pods is Wayleave on a cluster with a node, as its own pods.
type Pods struct {
	client client.Client
	pods   kubernetes.Interface
}

// StartPods installs Wayleave as config/default does, with an image of this source, and returns when its pods are ready.
func StartPods(ctx context.Context, c *cluster.Cluster, o Options) (*Pods, error) {
	admin, err := client.New(c.Config(), client.Options{Scheme: Scheme()})
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	pods, err := kubernetes.NewForConfig(c.Config())
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	p := &Pods{client: admin, pods: pods}
	if err := LoadImage(ctx, c, o.Root); err != nil {
		return nil, err
	}
	objects, err := Load(filepath.Join(o.Root, "config", "default"))
	if err != nil {
		return nil, err
	}
	for _, object := range objects {
		apply := client.ApplyConfigurationFromUnstructured(object)
		if err := admin.Apply(ctx, apply, client.FieldOwner("installer"), client.ForceOwnership); err != nil {
			return nil, fmt.Errorf("applying %s %s: %w", object.GetKind(), object.GetName(), err)
		}
	}
	if err := until(ctx, "the pods of Wayleave to be ready", p.ready); err != nil {
		return nil, errors.Join(err, p.explain(ctx))
	}
	return p, nil
}

// explain is what the pods that are not ready say.
func (p *Pods) explain(ctx context.Context) error {
	var all corev1.PodList
	if err := p.client.List(ctx, &all, client.InNamespace(Namespace)); err != nil {
		return err
	}
	var errs []error
	for _, pod := range all.Items {
		if slices.ContainsFunc(pod.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool { return c.Ready }) {
			continue
		}
		text, err := p.pods.CoreV1().Pods(Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{TailLines: new(int64(5))}).DoRaw(ctx)
		errs = append(errs, fmt.Errorf("pod %s: %+v: %s", pod.Name, pod.Status.ContainerStatuses, text), err)
	}
	return errors.Join(errs...)
}

// ready fails unless our kinds are served and all replicas of all processes are ready.
func (p *Pods) ready(ctx context.Context) error {
	if err := p.client.List(ctx, &v1alpha1.DelegationHopList{}); err != nil {
		return err
	}
	var all appsv1.DeploymentList
	if err := p.client.List(ctx, &all, client.InNamespace(Namespace)); err != nil {
		return err
	}
	if len(all.Items) == 0 {
		return errors.New("there is no Deployment")
	}
	for _, d := range all.Items {
		if d.Status.ObservedGeneration != d.Generation || d.Status.ReadyReplicas != *d.Spec.Replicas {
			return fmt.Errorf("%d of %d pods of %s are ready", d.Status.ReadyReplicas, *d.Spec.Replicas, d.Name)
		}
	}
	return nil
}

// AuditLines returns what all replicas of the controller have printed, their audit lines among it.
func (p *Pods) AuditLines(ctx context.Context) ([]byte, error) {
	var controllers corev1.PodList
	if err := p.client.List(ctx, &controllers, client.InNamespace(Namespace),
		client.MatchingLabels{"app.kubernetes.io/component": Controller}); err != nil {
		return nil, fmt.Errorf("listing the controllers: %w", err)
	}
	var lines []byte
	for _, pod := range controllers.Items {
		log, err := p.pods.CoreV1().Pods(Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).Stream(ctx)
		if err != nil {
			return nil, fmt.Errorf("reading the log of pod %s: %w", pod.Name, err)
		}
		text, err := io.ReadAll(log)
		if err := errors.Join(err, log.Close()); err != nil {
			return nil, fmt.Errorf("reading the log of pod %s: %w", pod.Name, err)
		}
		lines = append(lines, text...)
	}
	return lines, nil
}

// Scale has so many replicas of a process run, or none, and returns when that is so.
func (p *Pods) Scale(ctx context.Context, process string, replicas int32) error {
	deployment := &appsv1.Deployment{}
	deployment.Namespace, deployment.Name = Namespace, "wayleave-"+process
	patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas))
	if err := p.client.Patch(ctx, deployment, patch); err != nil {
		return fmt.Errorf("scaling %s: %w", deployment.Name, err)
	}
	return until(ctx, fmt.Sprintf("%d pods of %s", replicas, deployment.Name), func(ctx context.Context) error {
		var pods corev1.PodList
		err := p.client.List(ctx, &pods, client.InNamespace(Namespace), client.MatchingLabels{"app.kubernetes.io/component": process})
		if n := len(pods.Items); err == nil && n != int(replicas) {
			err = fmt.Errorf("there are %d", n)
		}
		return errors.Join(err, p.ready(ctx))
	})
}

// Stop does nothing: the pods end with the cluster.
func (p *Pods) Stop() {}
