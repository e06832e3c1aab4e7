//go:build unix

package floor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

// required is a cluster with Wayleave, whose controller grants nothing new while a policy is not in effect.
type required struct {
	*testing.T
	admin client.Client
	op    *operator.Operator
}

// TestFloorIsRequired: a policy that is deleted, or changed, is named by /readyz and by each hop, and nothing new is granted until it is
// back. What was granted stands.
func TestFloorIsRequired(t *testing.T) {
	r := newRequired(t)
	r.delegates("before", "")

	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{}
	r.must(r.admin.Get(t.Context(), client.ObjectKey{Name: "tokens.delegation.wayleave.dev"}, binding))
	r.must(r.admin.Delete(t.Context(), binding))
	r.ready("[-]tokens.delegation.wayleave.dev failed")
	r.delegates("unbound", "policy tokens.delegation.wayleave.dev is not bound")
	r.stands("before")
	binding.ResourceVersion, binding.UID = "", ""
	r.must(r.admin.Create(t.Context(), binding))
	r.reads("unbound", "")
	r.ready("")

	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{}
	r.must(r.admin.Get(t.Context(), client.ObjectKey{Name: "connect.delegation.wayleave.dev"}, policy))
	policy.Spec.Validations[0].Expression = "true"
	r.must(r.admin.Update(t.Context(), policy))
	r.ready("[-]connect.delegation.wayleave.dev failed")
	r.delegates("changed", "policy connect.delegation.wayleave.dev is not that of this release")

	r.op.Kill(operator.Controller) // one that starts finds it, too
	r.must(r.admin.Delete(t.Context(), policy))
	starting, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := r.op.StartController(starting); err == nil || !strings.Contains(err.Error(), "[-]connect.delegation.wayleave.dev failed") {
		t.Errorf("a controller starts without a policy: %v", err)
	}
	r.reads("changed", "policy connect.delegation.wayleave.dev is not installed")
}

func newRequired(t *testing.T) *required {
	t.Helper()
	r := &required{T: t}
	c, err := cluster.Start(t.Context(), cluster.Options{Log: t.Output()})
	r.must(err)
	t.Cleanup(func() { r.must(c.Stop()) })
	r.op, err = operator.Start(t.Context(), c, operator.Options{Root: root, Log: t.Output(), LeaseDuration: 3 * time.Second})
	r.must(err)
	t.Cleanup(r.op.Stop)
	r.admin, err = client.New(c.Config(), client.Options{Scheme: operator.Scheme()})
	r.must(err)
	r.must(r.admin.Create(t.Context(), operator.HopNamespace("default")))
	objects, err := operator.Load(filepath.Join(root, "config", "samples", "ceiling.yaml"))
	r.must(err)
	for _, o := range objects {
		if o.GetKind() == "ClusterRole" && o.GetLabels()[v1alpha1.LabelCeiling] != "" {
			r.must(r.admin.Create(t.Context(), o))
			r.must(r.admin.Create(t.Context(), &rbacv1.RoleBinding{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: o.GetName()},
				RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: o.GetName()},
				Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: operator.Namespace, Name: "wayleave-controller"}},
			}))
		}
	}
	return r
}

func (r *required) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

// delegates applies a path with a hop that holds a token, and waits for the hop to be granted, or not for a reason.
func (r *required) delegates(name, why string) {
	r.Helper()
	look := v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{
		Namespaces: []string{"default"},
		Rules:      []v1alpha1.ResourceRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}},
	}}}
	r.must(r.admin.Create(r.Context(), &v1alpha1.DelegationPath{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: v1alpha1.DelegationPathSpec{
			Reason: "See what runs", Lifetime: v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: time.Hour}}, Scope: look,
		},
	}))
	r.must(r.admin.Create(r.Context(), &v1alpha1.DelegationHop{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec: v1alpha1.DelegationHopSpec{
			PathRef: v1alpha1.ObjectRef{Name: name}, Scope: &look, Token: &v1alpha1.Token{SecretName: name + "-token"},
		},
	}))
	r.reads(name, why)
}

// reads waits for a hop to be granted, or not for a reason; then it has no token either.
func (r *required) reads(name, why string) {
	r.Helper()
	r.eventually(func() error {
		hop := &v1alpha1.DelegationHop{}
		if err := r.admin.Get(r.Context(), client.ObjectKey{Namespace: "default", Name: name}, hop); err != nil {
			return err
		}
		ready := meta.FindStatusCondition(hop.Status.Conditions, v1alpha1.ConditionReady)
		if ready == nil || (ready.Status == metav1.ConditionTrue) != (why == "") || !strings.Contains(ready.Message, why) {
			return fmt.Errorf("hop %s is %+v", name, ready)
		}
		err := r.admin.Get(r.Context(), client.ObjectKey{Namespace: "default", Name: name + "-token"}, &corev1.Secret{})
		if (err == nil) != (why == "") {
			return fmt.Errorf("the token of hop %s: %w", name, err)
		}
		return nil
	})
}

// stands demands that a hop is granted, as it was.
func (r *required) stands(name string) {
	r.Helper()
	hop := &v1alpha1.DelegationHop{}
	r.must(r.admin.Get(r.Context(), client.ObjectKey{Namespace: "default", Name: name}, hop))
	if !meta.IsStatusConditionTrue(hop.Status.Conditions, v1alpha1.ConditionGranted) {
		r.Errorf("hop %s is %+v", name, hop.Status.Conditions)
	}
	r.must(r.admin.Get(r.Context(), client.ObjectKey{Namespace: "default", Name: name + "-token"}, &corev1.Secret{}))
	var bindings rbacv1.RoleBindingList
	r.must(r.admin.List(r.Context(), &bindings, client.MatchingLabels{v1alpha1.LabelHopName: name}))
	if len(bindings.Items) != 1 {
		r.Errorf("hop %s has %d bindings", name, len(bindings.Items))
	}
}

// ready waits for the controller to be ready, or not for a reason.
func (r *required) ready(why string) {
	r.Helper()
	r.eventually(func() error {
		err := r.op.Ready(r.Context(), operator.Controller)
		if why == "" {
			return err
		}
		if err == nil || !strings.Contains(err.Error(), why) {
			return errors.Join(errors.New("it does not say "+why), err)
		}
		return nil
	})
}

func (r *required) eventually(check func() error) {
	r.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(100 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			r.Fatal(err)
		}
	}
}
