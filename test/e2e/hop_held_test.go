//go:build unix

package e2e

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// TestHopHeldByAFinalizer: what a finalizer holds is not reported as withdrawn, and is once the finalizer is removed.
func TestHopHeldByAFinalizer(t *testing.T) {
	f := hopSetup(t)
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
	f.change(f.by, p, revoke)
	f.unfinished(h, "the withdrawal is not complete", account.Name+" was deleted and still exists", "finalizer")
	f.eventually("the hop to be refused", func() error { return wantRefused(f.read(hop)) })
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

// TestPlantedAccountIsNotTakenOver: who computes the name of a hop's next account and creates it first may hold tokens
// for it. The hop gets an account of its own.
func TestPlantedAccountIsNotTakenOver(t *testing.T) {
	for name, labels := range map[string]func(*v1alpha1.DelegationHop) map[string]string{
		"without labels":    func(*v1alpha1.DelegationHop) map[string]string { return nil },
		"of an application": func(*v1alpha1.DelegationHop) map[string]string { return map[string]string{"app": "shop"} },
		"of another hop": func(h *v1alpha1.DelegationHop) map[string]string {
			other := h.DeepCopy()
			other.Name, other.UID = "other", "other"
			return delegation.Labels(&v1alpha1.DelegationPath{}, other, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := hopSetup(t)
			mallory := f.ns + "-mallory@example.com"
			f.bind(f.ns, mallory, rule("", "serviceaccounts,serviceaccounts/token", "create"))
			end := metav1.NewTime(time.Now().Add(time.Hour).UTC().Truncate(time.Second))
			h := f.hop("isolate", "contain", "")
			f.apply(f.by, h)
			f.state(h, v1alpha1.ReasonPathNotFound)
			planted := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{
				Namespace: f.ns, Name: delegation.AccountName(h, h.Status.Incarnation+1, end.Time), Labels: maps.Clone(labels(h)),
			}}
			f.apply(mallory, planted)
			theirs := f.withToken(f.tokenOf(mallory, planted))

			f.apply(f.by, f.path("contain", func(p *v1alpha1.DelegationPath) { p.Spec.Lifetime = v1alpha1.Lifetime{NotAfter: &end} }))
			account := &corev1.ServiceAccount{}
			if err := suite.admin.Get(t.Context(), client.ObjectKey{Namespace: f.ns, Name: f.granted(h)}, account); err != nil {
				t.Fatal(err)
			}
			if account.Name != planted.Name {
				t.Errorf("the account is %s: %s was not the next name, and this test shows nothing", account.Name, planted.Name)
			}
			if account.UID == planted.UID {
				t.Errorf("the hop took over account %s", account.Name)
			}
			owners := account.OwnerReferences
			if len(owners) != 1 || owners[0].UID != h.UID || account.Labels[v1alpha1.LabelHopUID] != string(h.UID) {
				t.Errorf("the account is not the hop's: owned by %v, with the labels %v", owners, account.Labels)
			}
			f.holds(h, map[string][]rbacv1.PolicyRule{f.on: {rule("", "configmaps", "get,list")}})
			f.eventually("the hop's own token to work", func() error { return f.read(f.withToken(f.token(h))) })
			f.eventually("the token of the planted account to be unknown", func() error { return wantUnauthorized(f.read(theirs)) })
		})
	}
}

// tokenOf has a user create a token for an account.
func (f *fixture) tokenOf(user string, account *corev1.ServiceAccount) string {
	f.Helper()
	request := &authenticationv1.TokenRequest{}
	if err := f.as(user).SubResource("token").Create(f.Context(), account, request); err != nil {
		f.Fatal(err)
	}
	return request.Status.Token
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
