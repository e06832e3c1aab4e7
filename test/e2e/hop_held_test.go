//go:build unix

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestHopHeldByAFinalizer: what a finalizer holds is not reported as withdrawn, and is once the finalizer is removed.
func TestHopHeldByAFinalizer(t *testing.T) {
	f := hopSetupOn(t, false)
	p, h := f.path("contain"), f.hop("isolate", "contain", "")
	f.apply(f.by, p, h)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: f.granted(h)}}
	hop := f.withToken(f.token(h))
	f.finalizers(account, `["example.com/hold"]`)
	released := false
	f.Cleanup(func() {
		if !released {
			_ = suite.admin.Patch(context.Background(), account, finalizersPatch("null"))
		}
	})
	f.eventually("the hop to read", func() error { return f.read(hop) })
	f.change(f.by, p, revoke)
	f.eventually("the hop to be forbidden", func() error { return wantForbidden(f.read(hop)) })
	f.unfinished(h, "the withdrawal is not complete", account.Name+" was deleted and still exists", "finalizer")
	f.gone(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: account.Name}})
	f.gone(&rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: account.Name}})
	f.gone(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: h.Spec.Token.SecretName}})
	time.Sleep(2 * time.Second) // several more attempts
	f.unfinished(h, "the withdrawal is not complete", account.Name+" was deleted and still exists", "finalizer")
	if err := suite.admin.Get(t.Context(), client.ObjectKeyFromObject(account), account); err != nil || account.DeletionTimestamp.IsZero() {
		t.Errorf("the account was not deleted: %v, %v", err, account.DeletionTimestamp)
	}

	f.finalizers(account, `null`)
	released = true
	f.withdrawn(h)
	f.nothingLeft(h)
}

// TestHopHeldByAPolicy: who denies the deletion of a binding keeps the binding, and nothing else of the hop.
func TestHopHeldByAPolicy(t *testing.T) {
	f := hopSetup(t)
	p := f.path("contain")
	h := f.hop("isolate", "contain", "", func(h *v1alpha1.DelegationHop) {
		h.Spec.Workload = &v1alpha1.Workload{Kinds: []v1alpha1.WorkloadKind{v1alpha1.WorkloadPod}, Images: []string{agent}}
	})
	f.apply(f.by, p, h)
	name := f.granted(h)
	f.usable(h.Name)
	pod := f.pod("dhop-agent", h.Name)
	f.apply(f.by, pod)
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: name}}
	lift := f.undeletable(binding)

	f.change(f.by, p, revoke)
	f.unfinished(h, "the withdrawal is not complete", name, "kept by the test")
	f.gone(&corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: name}})
	f.gone(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: h.Spec.Token.SecretName}})
	f.gone(&rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: name}})
	f.gone(pod)
	if err := suite.admin.Get(t.Context(), client.ObjectKeyFromObject(binding), binding); err != nil {
		t.Errorf("the policy did not keep the binding: %v", err)
	}
	f.unfinished(h, name)

	lift()
	f.gone(binding)
	f.withdrawn(h)
	f.nothingLeft(h)
}

// TestNameIsTaken: a binding that a tenant created under the name of a hop's account, with another roleRef, is named in a
// reason that says what to do. The hop loses its grant, and its next identity has a name that no one could know.
func TestNameIsTaken(t *testing.T) {
	f := hopSetupOn(t, false)
	other := f.ns + "-other"
	f.namespace(other)
	f.ceiling(other)
	f.bind(other, f.by, rule("", "configmaps", "get,list"))
	p := f.path("contain", func(p *v1alpha1.DelegationPath) {
		p.Spec.Scope = in([]string{f.on, other}, resources("", "configmaps", "get,list"))
	})
	h := f.hop("isolate", "contain", "", func(h *v1alpha1.DelegationHop) {
		h.Spec.Scope = new(in([]string{f.on}, resources("", "configmaps", "get,list")))
	})
	f.apply(f.by, p, h)
	name := f.granted(h)
	taken := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: other, Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "view"},
	}
	f.make(taken)
	widened := h.DeepCopy()
	widened.Spec.Scope = new(in([]string{f.on, other}, resources("", "configmaps", "get,list")))
	if err := f.as(f.by).Patch(f.Context(), widened, client.MergeFrom(h)); err != nil {
		t.Fatal(err)
	}
	if said := f.state(h, v1alpha1.ReasonNameTaken); !strings.Contains(said, "RoleBinding "+other+"/"+name) {
		t.Errorf("the hop says %q", said)
	}
	f.nothingLeft(h)
	if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(taken), taken); err != nil {
		t.Errorf("the binding of the tenant: %v", err)
	}
	f.change(f.by, h, `{"spec":{"lifetime":{"duration":"30m"}}}`) // a changed hop is tried immediately
	f.grantedAnew(h, name)
	f.holds(h, map[string][]rbacv1.PolicyRule{
		f.on: {rule("", "configmaps", "get,list")}, other: {rule("", "configmaps", "get,list")},
	})
}

// TestSecretOfAnotherType: a Secret whose type cannot hold a token is named, though its labels and owner say that it is
// the hop's.
func TestSecretOfAnotherType(t *testing.T) {
	f := hopSetup(t)
	h := f.hop("isolate", "contain", "")
	f.apply(f.by, h)
	f.state(h, v1alpha1.ReasonPathNotFound)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: f.ns, Name: h.Spec.Token.SecretName, Labels: map[string]string{v1alpha1.LabelHopUID: string(h.UID)},
			OwnerReferences: []metav1.OwnerReference{{
				APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DelegationHop", Name: h.Name, UID: h.UID,
			}},
		},
		Type: "example.com/other",
	}
	f.make(secret)
	f.apply(f.by, f.path("contain"))
	if said := f.state(h, v1alpha1.ReasonNameTaken); !strings.Contains(said, "Secret "+f.ns+"/"+secret.Name) {
		t.Errorf("the hop says %q", said)
	}
}

func (f *fixture) finalizers(o client.Object, list string) {
	f.Helper()
	if err := suite.admin.Patch(f.Context(), o, finalizersPatch(list)); err != nil {
		f.Fatal(err)
	}
}

func finalizersPatch(list string) client.Patch {
	return client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"finalizers":%s}}`, list))
}

// unfinished waits for a revoked hop whose withdrawal is not complete, for a reason that says all of the texts.
func (f *fixture) unfinished(h *v1alpha1.DelegationHop, texts ...string) {
	f.Helper()
	f.state(h, v1alpha1.ReasonRevoked)
	f.eventually("an unfinished withdrawal of hop "+h.Name, func() error {
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(h), h); err != nil {
			return err
		}
		granted := meta.FindStatusCondition(h.Status.Conditions, v1alpha1.ConditionGranted)
		if granted.Status != metav1.ConditionUnknown || h.Status.ServiceAccountName == "" {
			return fmt.Errorf("its account is %q, and it is %+v", h.Status.ServiceAccountName, granted)
		}
		for _, text := range texts {
			if !strings.Contains(granted.Message, text) {
				return fmt.Errorf("%q does not say %q", granted.Message, text)
			}
		}
		return nil
	})
}

// withdrawn waits for the status to say that a revoked hop holds nothing.
func (f *fixture) withdrawn(h *v1alpha1.DelegationHop) {
	f.Helper()
	f.eventually("hop "+h.Name+" to be withdrawn", func() error {
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(h), h); err != nil {
			return err
		}
		granted := meta.FindStatusCondition(h.Status.Conditions, v1alpha1.ConditionGranted)
		if granted.Status != metav1.ConditionFalse || granted.Reason != string(v1alpha1.ReasonRevoked) || h.Status.ServiceAccountName != "" {
			return fmt.Errorf("its account is %q, and it is %+v", h.Status.ServiceAccountName, granted)
		}
		return nil
	})
}

// gone waits until an object does not exist.
func (f *fixture) gone(o client.Object) {
	f.Helper()
	f.eventually(fmt.Sprintf("%T %s to be deleted", o, o.GetName()), func() error {
		err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("reading it: %w", orAllowed(err))
	})
}

// undeletable has the API server deny the deletion of one binding, until the function that it returns is called.
func (f *fixture) undeletable(binding *rbacv1.RoleBinding) (lift func()) {
	f.Helper()
	name := fmt.Sprintf("keep-%d.example.com", counter.Add(1))
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	policy.Spec = admissionregistrationv1.ValidatingAdmissionPolicySpec{
		MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
			ResourceNames: []string{binding.Name},
			RuleWithOperations: admissionregistrationv1.RuleWithOperations{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Delete},
				Rule: admissionregistrationv1.Rule{
					APIGroups: []string{rbacv1.GroupName}, APIVersions: []string{"v1"}, Resources: []string{"rolebindings"},
				},
			},
		}}},
		Validations: []admissionregistrationv1.Validation{{Expression: "false", Message: "kept by the test"}},
	}
	bound := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.ValidatingAdmissionPolicyBindingSpec{
			PolicyName:        name,
			ValidationActions: []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny},
			MatchResources: &admissionregistrationv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{
				MatchLabels: map[string]string{corev1.LabelMetadataName: binding.Namespace},
			}},
		},
	}
	f.make(policy)
	f.make(bound)
	f.eventually("the policy to be in effect", func() error {
		err := suite.admin.Delete(f.Context(), binding.DeepCopy(), client.DryRunAll)
		if err != nil && strings.Contains(err.Error(), "kept by the test") {
			return nil
		}
		return fmt.Errorf("deleting the binding: %w", orAllowed(err))
	})
	return func() {
		f.Helper()
		for _, o := range []client.Object{bound, policy} {
			if err := suite.admin.Delete(f.Context(), o); err != nil {
				f.Fatal(err)
			}
		}
	}
}
