//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/workload"
	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

// policed is a control plane with the policies of Wayleave and nothing else of it: no process and no webhook configuration.
type policed struct {
	*site

	// bindings put the policies in effect. The last is that of the policy that inEffect asks about.
	bindings []*unstructured.Unstructured
	// account is that of a hop.
	account string
}

// policies measures what the policies add to writes of Alice (dry runs: all of admission, and no write), beside the same writes while
// no policy is bound. No policy matches a ConfigMap: its ratio is the noise of the run, and the goal for a pod that declares nothing.
// It needs a cluster of its own: in the other one, a webhook admits pods as well.
func policies(ctx context.Context, n sizes, notes *[]string) ([]row, error) {
	p, err := newPoliced(ctx)
	if err != nil {
		return nil, err
	}
	defer p.close()
	writes := []client.Object{plainPod(), p.hopPod(), teamBinding(), &corev1.ConfigMap{ObjectMeta: generated("settings-")}}
	names := []string{
		"pod that declares nothing", "pod that declares a hop, as admission makes it", "RoleBinding of a user",
		"ConfigMap, which no policy matches",
	}
	with, without := make([]series, len(writes)), make([]series, len(writes))
	progress("floor: %d writes of each of %d kinds, with the policies and without", n.writes, len(writes))
	for round := 0; len(with[0]) < n.writes; round++ {
		for _, bound := range []bool{round%2 == 0, round%2 != 0} { // each state is first as often as the other
			if err := p.bind(ctx, bound); err != nil {
				return nil, err
			}
			into := without
			if bound {
				into = with
			}
			if err := p.round(ctx, writes, into); err != nil {
				return nil, err
			}
		}
	}
	var rows []row
	for i, name := range names {
		r := row{
			what: fmt.Sprintf("%s, with the policies, beside without (n=%d)", name, len(with[i])),
			ours: with[i], floor: without[i],
		}
		rows = append(rows, r)
		*notes = append(*notes, fmt.Sprintf("floor: with the policies, p50 differs by %+.2f ms: %s",
			float64(r.ours.p50()-r.floor.p50())/float64(time.Millisecond), name))
	}
	return rows, nil
}

// round creates some objects of each kind in turns and notes how long each took.
func (p *policed) round(ctx context.Context, writes []client.Object, into []series) error {
	for i := range turn + warmUp {
		for kind, o := range writes {
			took, err := p.create(ctx, o)
			if err != nil {
				return err
			}
			if i >= warmUp {
				into[kind] = append(into[kind], took)
			}
		}
	}
	return nil
}

// newPoliced starts a control plane, installs kinds, rights and policies, and creates what the writes need.
func newPoliced(ctx context.Context) (*policed, error) {
	root, err := repository()
	if err != nil {
		return nil, err
	}
	p := &policed{
		site:    &site{unwatch: func() {}},
		account: v1alpha1.AccountPrefix + "look.5f0d." + strconv.FormatInt(time.Now().Add(24*time.Hour).Unix(), 10),
	}
	if p.cluster, err = cluster.Start(ctx, cluster.Options{Log: os.Stderr}); err != nil {
		return nil, fmt.Errorf("starting the cluster: %w", err)
	}
	if err := p.prepare(ctx, root); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *policed) prepare(ctx context.Context, root string) (err error) {
	if p.admin, err = connect(p.cluster.Config()); err != nil {
		return err
	}
	if p.alice, err = connect(p.cluster.UserConfig(alice)); err != nil {
		return err
	}
	who := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: alice}
	objects := []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: agents}},
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: agents, Name: p.account}}, // while no policy forbids it
		&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: agents, Name: "default"}}, // or Kubernetes does
	}
	objects = append(objects, roleFor("alice", agents, who, rule("", "pods,configmaps", "create"),
		rule(rbacv1.GroupName, "rolebindings", "create"), rule(v1alpha1.GroupName, "delegationhops", v1alpha1.VerbUse))...)
	for _, o := range objects {
		if err := client.IgnoreAlreadyExists(p.admin.Create(ctx, o)); err != nil {
			return fmt.Errorf("creating %T %s: %w", o, o.GetName(), err)
		}
	}
	for _, part := range []string{"crd", "rbac", "policy"} {
		if err := p.apply(ctx, filepath.Join(root, "config", part)); err != nil {
			return err
		}
	}
	return nil
}

// apply applies what a folder holds, and keeps the bindings of policies.
func (p *policed) apply(ctx context.Context, folder string) error {
	const asked = "identities." + v1alpha1.GroupName
	objects, err := operator.Load(folder)
	if err != nil {
		return err
	}
	var last []*unstructured.Unstructured
	for _, o := range objects {
		apply := client.ApplyConfigurationFromUnstructured(o.DeepCopy())
		if err := p.admin.Apply(ctx, apply, client.FieldOwner("installer"), client.ForceOwnership); err != nil {
			return fmt.Errorf("applying %s %s: %w", o.GetKind(), o.GetName(), err)
		}
		switch {
		case o.GetKind() != "ValidatingAdmissionPolicyBinding":
		case o.GetName() == asked:
			last = append(last, o)
		default:
			p.bindings = append(p.bindings, o)
		}
	}
	p.bindings = append(p.bindings, last...)
	return nil
}

// bind creates or deletes the bindings of all policies, and waits until the API server acts on it. It sees the bindings in the order of
// the writes, so what holds for the last holds for all.
func (p *policed) bind(ctx context.Context, yes bool) error {
	for _, binding := range p.bindings {
		var err error
		if yes {
			err = client.IgnoreAlreadyExists(p.admin.Create(ctx, binding.DeepCopy()))
		} else {
			err = client.IgnoreNotFound(p.admin.Delete(ctx, binding.DeepCopy()))
		}
		if err != nil {
			return fmt.Errorf("binding or unbinding policy %s: %w", binding.GetName(), err)
		}
	}
	return p.inEffect(ctx, yes)
}

// inEffect waits until the API server refuses an account that is named like that of a hop, or no longer does.
func (p *policed) inEffect(ctx context.Context, yes bool) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	for {
		reserved := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: agents, Name: v1alpha1.AccountPrefix + "x"}}
		err := p.admin.Create(ctx, reserved, client.DryRunAll)
		switch {
		case ctx.Err() != nil:
			return fmt.Errorf("waiting for the policies to be bound or unbound: %w", ctx.Err())
		case yes && apierrors.IsForbidden(err), !yes && err == nil:
			return nil
		case err != nil && !apierrors.IsForbidden(err):
			return fmt.Errorf("asking whether the policies are in effect: %w", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// create creates an object as Alice, as a dry run.
func (p *policed) create(ctx context.Context, o client.Object) (time.Duration, error) {
	written, ok := o.DeepCopyObject().(client.Object)
	if !ok {
		return 0, fmt.Errorf("%T is no object", o)
	}
	began := time.Now()
	if err := p.alice.Create(ctx, written, client.DryRunAll); err != nil {
		return 0, fmt.Errorf("creating %T: %w", o, err)
	}
	return time.Since(began), nil
}

func generated(prefix string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: agents, GenerateName: prefix}
}

func plainPod() *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: generated("web-"),
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main", Image: image}}},
	}
}

// hopPod is a pod as admission makes it: with account, gate, token and stamp.
func (p *policed) hopPod() *corev1.Pod {
	pod := plainPod()
	pod.GenerateName = v1alpha1.AccountPrefix
	pod.Labels = map[string]string{v1alpha1.LabelHop: "look"}
	pod.Annotations = map[string]string{v1alpha1.AnnotationDeclaredBy: alice}
	pod.Spec.ServiceAccountName, pod.Spec.AutomountServiceAccountToken = p.account, new(false)
	pod.Spec.SchedulingGates = []corev1.PodSchedulingGate{{Name: v1alpha1.GateGrant}}
	pod.Spec.Volumes = []corev1.Volume{workload.TokenVolume()}
	pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{workload.TokenMount()}
	return pod
}

// teamBinding gives Alice's Role, whose rights she holds, to somebody else.
func teamBinding() *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: generated("team-"),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "alice"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "bob@example.com"}},
	}
}
