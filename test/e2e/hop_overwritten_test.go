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
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestOverwrittenByAPolicy: a policy that rewrites a label of accounts costs no identity and no pod. The hop keeps its
// grant, and says which field is changed by whom; it is ready again when the policy is gone.
func TestOverwrittenByAPolicy(t *testing.T) {
	f := hopSetup(t)
	lift := f.mutating("serviceaccounts", `[JSONPatch{
		op: "replace", path: "/metadata/labels/" + jsonpatch.escapeKey("delegation.wayleave.dev/hop-uid"), value: "teamlabel"}]`)
	h := f.hop("isolate", "contain", "")
	f.apply(f.by, f.path("contain"), h)
	said := f.state(h, v1alpha1.ReasonOverwritten)
	if want := "metadata.labels." + v1alpha1.LabelHopUID + " of"; !strings.Contains(said, want) || !strings.Contains(said, "policy") {
		t.Errorf("the hop says %q, want %q and the policy", said, want)
	}
	f.wantGrantedSince(h)
	f.eventually("the token to work", func() error { return f.read(f.withToken(f.token(h))) })
	before := f.account(h)
	time.Sleep(3 * time.Second)
	f.state(h, v1alpha1.ReasonOverwritten)
	if now := f.account(h); now.UID != before.UID || h.Status.Incarnation != 1 || h.Status.ServiceAccountUID != string(before.UID) {
		t.Errorf("the account %s became %s, in incarnation %d", before.UID, now.UID, h.Status.Incarnation)
	}

	lift()
	f.valid(h)
	if now := f.account(h); now.UID != before.UID || now.Labels[v1alpha1.LabelHopUID] != string(h.UID) {
		t.Errorf("the account is %s with labels %v, want %s with its own", now.UID, now.Labels, before.UID)
	}
	f.change(f.by, f.path("contain"), revoke)
	f.withdrawn(h)
	f.nothingLeft(h)
}

// TestOverwrittenByAClient: who changes a label each time that it is put back is named, and is not fought at its speed.
func TestOverwrittenByAClient(t *testing.T) {
	f := hopSetupOn(t, false)
	h := f.hop("isolate", "contain", "")
	f.apply(f.by, f.path("contain"), h)
	f.granted(h)
	before := f.account(h)
	changes := f.again(before, func(o client.Object) bool {
		changed := o.GetLabels()[v1alpha1.LabelIncarnation] != "robot"
		o.GetLabels()[v1alpha1.LabelIncarnation] = "robot"
		return changed
	})
	said := f.state(h, v1alpha1.ReasonOverwritten)
	if want := "metadata.labels." + v1alpha1.LabelIncarnation; !strings.Contains(said, want) || !strings.Contains(said, `"label-robot"`) {
		t.Errorf("the hop says %q, want the field %s and the manager", said, want)
	}
	f.wantGrantedSince(h)
	time.Sleep(3 * time.Second)
	f.state(h, v1alpha1.ReasonOverwritten)
	if n := changes(); n > 3 {
		t.Errorf("in seconds the label was changed, and so put back, %d times", n)
	}
	if now := f.account(h); now.UID != before.UID {
		t.Errorf("the account %s became %s", before.UID, now.UID)
	}
}

// TestOverwrittenRights: a Role that is widened each time that it is put back ends the grant.
func TestOverwrittenRights(t *testing.T) {
	f := hopSetupOn(t, false)
	h := f.hop("isolate", "contain", "")
	f.apply(f.by, f.path("contain"), h)
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: f.on, Name: f.granted(h)}}
	f.again(role, func(o client.Object) bool {
		role, ok := o.(*rbacv1.Role)
		changed := ok && len(role.Rules) == 1
		role.Rules = append(role.Rules, rule("", "pods", "list"))
		return changed
	})
	said := f.state(h, v1alpha1.ReasonOverwritten)
	if want := "rules of Role " + f.on; !strings.Contains(said, want) || !strings.Contains(said, `"label-robot"`) {
		t.Errorf("the hop says %q, want %q and the manager", said, want)
	}
	f.nothingLeft(h)
}

// TestOverwrittenWhenMade: what a policy would make of a Role is found before anything is created.
func TestOverwrittenWhenMade(t *testing.T) {
	f := hopSetup(t)
	lift := f.mutating("roles", `[JSONPatch{op: "replace", path: "/rules/0/verbs", value: ["get"]}]`)
	h := f.hop("isolate", "contain", "")
	f.apply(f.by, f.path("contain"), h)
	if said := f.state(h, v1alpha1.ReasonOverwritten); !strings.Contains(said, "rules of Role "+f.on) || h.Status.Incarnation != 0 {
		t.Errorf("in incarnation %d the hop says %q", h.Status.Incarnation, said)
	}
	f.nothingLeft(h)
	lift()
	f.granted(h)
}

// TestOverwrittenSecret: a token is not left in a Secret that a policy takes from the hop.
func TestOverwrittenSecret(t *testing.T) {
	f := hopSetup(t)
	f.mutating("secrets", `[JSONPatch{op: "remove", path: "/metadata/ownerReferences"}]`)
	h := f.hop("isolate", "contain", "", func(h *v1alpha1.DelegationHop) { h.Spec.Token.SecretName = "dhop-token" })
	f.apply(f.by, f.path("contain"), h)
	said := f.state(h, v1alpha1.ReasonOverwritten)
	if want := "metadata.ownerReferences of Secret " + f.ns; !strings.Contains(said, want) || !strings.Contains(said, "policy") {
		t.Errorf("the hop says %q, want %q and the policy", said, want)
	}
	f.nothingLeft(h)
}

// account is the account of a hop as it is stored.
func (f *fixture) account(h *v1alpha1.DelegationHop) *corev1.ServiceAccount {
	f.Helper()
	account := &corev1.ServiceAccount{}
	if err := suite.admin.Get(f.Context(), client.ObjectKey{Namespace: h.Namespace, Name: h.Status.ServiceAccountName}, account); err != nil {
		f.Fatal(err)
	}
	return account
}

// wantGrantedSince: a hop that is not ready holds its grant.
func (f *fixture) wantGrantedSince(h *v1alpha1.DelegationHop) {
	f.Helper()
	is := func(condition string) bool { return meta.IsStatusConditionTrue(h.Status.Conditions, condition) }
	if !is(v1alpha1.ConditionGranted) || is(v1alpha1.ConditionReady) {
		f.Errorf("the conditions are %+v", h.Status.Conditions)
	}
}

// again changes an object as a client of its own each time that it is not as that client wants it, until the test ends, and
// returns how often it did.
func (f *fixture) again(o client.Object, change func(client.Object) bool) (changes func() int) {
	ctx, cancel := context.WithCancel(f.Context())
	var n, done = make(chan int, 1), make(chan struct{})
	n <- 0
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if suite.admin.Get(ctx, client.ObjectKeyFromObject(o), o) == nil && change(o) &&
				suite.admin.Update(ctx, o, client.FieldOwner("label-robot")) == nil {
				n <- 1 + <-n
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	f.Cleanup(func() { cancel(); <-done })
	return func() int {
		now := <-n
		n <- now
		return now
	}
}

// mutating has the API server change what is written of a resource in the namespaces of a test, until the function that
// it returns is called.
func (f *fixture) mutating(resources, change string) (lift func()) {
	f.Helper()
	name := fmt.Sprintf("mutate-%d.example.com", counter.Add(1))
	everything := []string{"*"}
	policy := &admissionregistrationv1.MutatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}}
	policy.Spec = admissionregistrationv1.MutatingAdmissionPolicySpec{
		MatchConstraints: &admissionregistrationv1.MatchResources{ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{
			RuleWithOperations: admissionregistrationv1.RuleWithOperations{
				Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create, admissionregistrationv1.Update},
				Rule:       admissionregistrationv1.Rule{APIGroups: everything, APIVersions: everything, Resources: []string{resources}},
			},
		}}},
		MatchConditions: []admissionregistrationv1.MatchCondition{{Name: "of-hops", Expression: "object.metadata.name.startsWith('dhop-')"}},
		Mutations: []admissionregistrationv1.Mutation{{
			PatchType: admissionregistrationv1.PatchTypeJSONPatch,
			JSONPatch: &admissionregistrationv1.JSONPatch{Expression: change},
		}},
		ReinvocationPolicy: admissionregistrationv1.NeverReinvocationPolicy,
	}
	bound := &admissionregistrationv1.MutatingAdmissionPolicyBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: admissionregistrationv1.MutatingAdmissionPolicyBindingSpec{
			PolicyName: name,
			MatchResources: &admissionregistrationv1.MatchResources{NamespaceSelector: &metav1.LabelSelector{
				MatchExpressions: []metav1.LabelSelectorRequirement{
					{Key: corev1.LabelMetadataName, Operator: metav1.LabelSelectorOpIn, Values: []string{f.ns, f.on}},
				},
			}},
		},
	}
	f.make(policy)
	f.make(bound)
	time.Sleep(time.Second)
	return func() {
		f.Helper()
		for _, o := range []client.Object{bound, policy} {
			if err := suite.admin.Delete(f.Context(), o); err != nil {
				f.Fatal(err)
			}
		}
	}
}

// TestGrantDenied: what denies an object of a grant is told in the API server's words, and is not the ceiling; the hop is
// granted soon after it no longer does.
func TestGrantDenied(t *testing.T) {
	f := hopSetup(t)
	quota := &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: f.ns, Name: "few"},
		Spec:       corev1.ResourceQuotaSpec{Hard: corev1.ResourceList{"count/serviceaccounts": resource.MustParse("1")}},
	}
	f.make(quota)
	full := `{"status":{"hard":{"count/serviceaccounts":"1"},"used":{"count/serviceaccounts":"1"}}}`
	if err := suite.admin.Status().Patch(f.Context(), quota, client.RawPatch(types.MergePatchType, []byte(full))); err != nil {
		t.Fatal(err)
	}
	h := f.hop("isolate", "contain", "")
	f.apply(f.by, f.path("contain"), h)
	if said := f.state(h, v1alpha1.ReasonGrantDenied); !strings.Contains(said, "exceeded quota: few") {
		t.Errorf("of a quota, the hop says %q", said)
	}
	f.nothingLeft(h)
	if err := suite.admin.Delete(f.Context(), quota); err != nil {
		t.Fatal(err)
	}
	f.granted(h)
}
