//go:build unix

package e2e

import (
	"context"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

// ourAccounts are the accounts of the three processes.
var ourAccounts = []string{"wayleave-controller", "wayleave-webhook", "wayleave-certs"}

// ours is a client with a real token of one of the accounts.
func (f *fixture) ours(account string) client.Client {
	f.Helper()
	request := &authenticationv1.TokenRequest{}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: operator.Namespace, Name: account}}
	if err := suite.admin.SubResource("token").Create(f.Context(), sa, request); err != nil {
		f.Fatal(err)
	}
	return f.withToken(request.Status.Token)
}

func (f *fixture) mint(c client.Client, namespace, account string) error {
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account}}
	return c.SubResource("token").Create(f.Context(), sa, &authenticationv1.TokenRequest{})
}

// hopLabels are those by which something is a hop's.
var hopLabels = map[string]string{v1alpha1.LabelHopUID: "1", "app.kubernetes.io/managed-by": "wayleave"}

func meta1(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func withLabels(m metav1.ObjectMeta, labels map[string]string) metav1.ObjectMeta {
	m.Labels = labels
	return m
}

func boundTo(role, kind, namespace, name string) (rbacv1.RoleRef, []rbacv1.Subject) {
	subject := rbacv1.Subject{Kind: kind, Namespace: namespace, Name: name}
	if kind != rbacv1.ServiceAccountKind {
		subject.APIGroup = rbacv1.GroupName
	}
	return rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role}, []rbacv1.Subject{subject}
}

func roleBinding(namespace, name, role, kind, subject string) *rbacv1.RoleBinding {
	b := &rbacv1.RoleBinding{ObjectMeta: meta1(namespace, name)}
	b.RoleRef, b.Subjects = boundTo(role, kind, map[bool]string{true: namespace}[kind == rbacv1.ServiceAccountKind], subject)
	return b
}

func clusterRoleBinding(name, role, namespace, account string) *rbacv1.ClusterRoleBinding {
	b := &rbacv1.ClusterRoleBinding{ObjectMeta: meta1("", name)}
	b.RoleRef, b.Subjects = boundTo(role, rbacv1.ServiceAccountKind, namespace, account)
	b.RoleRef.Kind = "ClusterRole"
	return b
}

// TestOperatorIsNoAdministrator: whoever becomes one of our processes can do with its token what the process does, and
// nothing that leads further. Where hops live, the controller acts on what is made for hops alone.
func TestOperatorIsNoAdministrator(t *testing.T) {
	f := hopSetupOn(t, false)
	f.make(&rbacv1.Role{ObjectMeta: meta1(f.ns, "foreign")})
	f.make(roleBinding(f.ns, "foreign", "foreign", rbacv1.UserKind, "bob"))
	f.make(&corev1.ServiceAccount{ObjectMeta: meta1(f.ns, "foreign")})
	f.make(&corev1.Secret{ObjectMeta: meta1(f.ns, "foreign")})
	f.make(&corev1.Secret{ObjectMeta: meta1("kube-system", "secret-"+f.ns)})
	f.make(&corev1.ServiceAccount{ObjectMeta: meta1("kube-system", "aggregator-"+f.ns)})
	f.makeAs(controllerUser, &corev1.ServiceAccount{ObjectMeta: meta1("kube-system", "dhop-"+f.ns)})
	f.makeAs(controllerUser, &rbacv1.ClusterRole{ObjectMeta: meta1("", "dhop-foreign-"+f.ns)})
	dhop := "dhop-" + f.ns
	f.make(&rbacv1.Role{ObjectMeta: meta1(f.ns, dhop)}) // RBAC looks up what is bound before a policy is asked

	attacks := map[string]func(c client.Client) error{
		"request a token of clusterrole-aggregation-controller": func(c client.Client) error {
			return f.mint(c, "kube-system", "clusterrole-aggregation-controller")
		},
		"request a token of another account elsewhere":      func(c client.Client) error { return f.mint(c, "kube-system", "aggregator-"+f.ns) },
		"request a token of a hop-shaped account elsewhere": func(c client.Client) error { return f.mint(c, "kube-system", dhop) },
		"request a token of another account beside hops":    func(c client.Client) error { return f.mint(c, f.ns, "foreign") },
		"read a Secret of kube-system": func(c client.Client) error {
			return c.Get(f.Context(), client.ObjectKey{Namespace: "kube-system", Name: "secret-" + f.ns}, &corev1.Secret{})
		},
		"list the Secrets of kube-system": func(c client.Client) error {
			return c.List(f.Context(), &corev1.SecretList{}, client.InNamespace("kube-system"))
		},
		"delete a foreign RoleBinding": func(c client.Client) error {
			return c.Delete(f.Context(), &rbacv1.RoleBinding{ObjectMeta: meta1(f.ns, "foreign")}, client.DryRunAll)
		},
		"delete a foreign Role": func(c client.Client) error {
			return c.Delete(f.Context(), &rbacv1.Role{ObjectMeta: meta1(f.ns, "foreign")}, client.DryRunAll)
		},
		"delete a ClusterRoleBinding of Kubernetes": func(c client.Client) error {
			return c.Delete(f.Context(), &rbacv1.ClusterRoleBinding{ObjectMeta: meta1("", "cluster-admin")}, client.DryRunAll)
		},
		"bind itself cluster-admin": func(c client.Client) error {
			return c.Create(f.Context(), clusterRoleBinding("own-"+f.ns, "cluster-admin", operator.Namespace, "wayleave-controller"))
		},
		"bind cluster-admin to a hop": func(c client.Client) error {
			return c.Create(f.Context(), clusterRoleBinding(dhop, "cluster-admin", f.ns, dhop))
		},
		"bind a foreign Role to a hop": func(c client.Client) error {
			return c.Create(f.Context(), roleBinding(f.ns, dhop, "foreign", rbacv1.ServiceAccountKind, dhop))
		},
		"bind a user": func(c client.Client) error {
			return c.Create(f.Context(), roleBinding(f.ns, dhop, dhop, rbacv1.UserKind, "bob"))
		},
		"bind a user with a hop's name": func(c client.Client) error {
			return c.Create(f.Context(), roleBinding(f.ns, dhop, dhop, rbacv1.UserKind, dhop))
		},
		"bind a group": func(c client.Client) error {
			return c.Create(f.Context(), roleBinding(f.ns, dhop, dhop, rbacv1.GroupKind, "system:serviceaccounts"))
		},
		"bind a foreign account beside a hop": func(c client.Client) error {
			b := roleBinding(f.ns, dhop, dhop, rbacv1.ServiceAccountKind, dhop)
			b.Subjects = append(b.Subjects, rbacv1.Subject{Kind: rbacv1.ServiceAccountKind, Namespace: f.ns, Name: "foreign"})
			return c.Create(f.Context(), b)
		},
		"create a Role of another name": func(c client.Client) error {
			return c.Create(f.Context(), &rbacv1.Role{ObjectMeta: meta1(f.ns, "other")})
		},
		"change a foreign Role": func(c client.Client) error {
			return c.Patch(f.Context(), &rbacv1.Role{ObjectMeta: meta1(f.ns, "foreign")},
				client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"a":"b"}}}`)))
		},
		"aggregate into admin": func(c client.Client) error {
			return c.Create(f.Context(), &rbacv1.ClusterRole{
				ObjectMeta: withLabels(meta1("", dhop), map[string]string{"rbac.authorization.k8s.io/aggregate-to-admin": "true"}),
			})
		},
		"label a ceiling": func(c client.Client) error {
			return c.Create(f.Context(), &rbacv1.ClusterRole{
				ObjectMeta: withLabels(meta1("", dhop), map[string]string{v1alpha1.LabelCeiling: "true"}),
			})
		},
		"create an account elsewhere": func(c client.Client) error {
			return c.Create(f.Context(), &corev1.ServiceAccount{ObjectMeta: meta1(f.on, dhop)})
		},
		"create an account of another name": func(c client.Client) error {
			return c.Create(f.Context(), &corev1.ServiceAccount{ObjectMeta: meta1(f.ns, "other")})
		},
		"delete a foreign account": func(c client.Client) error {
			return c.Delete(f.Context(), &corev1.ServiceAccount{ObjectMeta: meta1(f.ns, "foreign")}, client.DryRunAll)
		},
		"annotate a foreign account, as clouds bind roles": func(c client.Client) error {
			patch := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"example.com/role":"admin"}}}`))
			return c.Patch(f.Context(), &corev1.ServiceAccount{ObjectMeta: meta1(f.ns, "foreign")}, patch, client.DryRunAll)
		},
		"create a Secret elsewhere": func(c client.Client) error {
			return c.Create(f.Context(), &corev1.Secret{ObjectMeta: withLabels(meta1(f.on, "other"), hopLabels)})
		},
		"create a Secret that is no hop's": func(c client.Client) error {
			return c.Create(f.Context(), &corev1.Secret{ObjectMeta: meta1(f.ns, "other")})
		},
		"create a token Secret of another account": func(c client.Client) error {
			s := &corev1.Secret{ObjectMeta: withLabels(meta1(f.ns, "other"), hopLabels), Type: corev1.SecretTypeServiceAccountToken}
			s.Annotations = map[string]string{corev1.ServiceAccountNameKey: "foreign"}
			return c.Create(f.Context(), s)
		},
		"delete a foreign Secret": func(c client.Client) error {
			return c.Delete(f.Context(), &corev1.Secret{ObjectMeta: meta1(f.ns, "foreign")}, client.DryRunAll)
		},
		"overwrite a foreign Secret": func(c client.Client) error {
			s := &corev1.Secret{ObjectMeta: withLabels(meta1(f.ns, "foreign"), hopLabels), Type: corev1.SecretTypeOpaque}
			return c.Update(f.Context(), s, client.DryRunAll)
		},
		"delete a pod elsewhere": func(c client.Client) error {
			return c.Delete(f.Context(), &corev1.Pod{ObjectMeta: meta1("kube-system", "any")}, client.DryRunAll)
		},
		"change the policy that holds it": func(c client.Client) error {
			policy := &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: meta1("", "controller-rbac.delegation.wayleave.dev")}
			return c.Delete(f.Context(), policy, client.DryRunAll)
		},
	}
	for _, account := range ourAccounts {
		c := f.ours(account)
		for name, attack := range attacks {
			if err := attack(c); !apierrors.IsForbidden(err) {
				t.Errorf("%s may %s: %v", account, name, err)
			}
		}
	}

	// The twins: what the controller does for hops.
	c := f.ours("wayleave-controller")
	role := &rbacv1.Role{ObjectMeta: withLabels(meta1(f.on, dhop), hopLabels)}
	account := &corev1.ServiceAccount{ObjectMeta: withLabels(meta1(f.ns, dhop), hopLabels)}
	secret := &corev1.Secret{ObjectMeta: withLabels(meta1(f.ns, "token"), hopLabels)}
	binding := roleBinding(f.on, dhop, dhop, rbacv1.ServiceAccountKind, dhop)
	binding.Subjects[0].Namespace = f.ns
	clusterRole := &rbacv1.ClusterRole{ObjectMeta: withLabels(meta1("", dhop), hopLabels)}
	clusterBinding := clusterRoleBinding(dhop, dhop, f.ns, dhop)
	made := []client.Object{account, secret, role, binding, clusterRole, clusterBinding}
	for _, o := range made {
		if err := c.Create(f.Context(), o); err != nil {
			t.Errorf("the controller may not create %T: %v", o, err)
		}
		f.Cleanup(func() { _ = suite.admin.Delete(context.Background(), o) })
	}
	if err := f.mint(c, f.ns, dhop); err != nil {
		t.Errorf("the controller may not request the token of a hop: %v", err)
	}
	if err := c.Get(f.Context(), client.ObjectKeyFromObject(secret), secret); err != nil {
		t.Errorf("the controller may not read the Secret of a hop: %v", err)
	} else if err := c.Update(f.Context(), secret); err != nil {
		t.Errorf("the controller may not fill the Secret of a hop: %v", err)
	}
	for _, o := range made {
		if err := c.Delete(f.Context(), o); err != nil {
			t.Errorf("the controller may not delete %T: %v", o, err)
		}
	}
}

// TestHopNamespaceNotBound: a hop is granted where the controller may work, when and as long as it may.
func TestHopNamespaceNotBound(t *testing.T) {
	f := hopSetup(t)
	command := "kubectl create rolebinding wayleave-hop-namespace --clusterrole=wayleave-hop-namespace " +
		"--serviceaccount=wayleave-system:wayleave-controller -n " + f.ns
	unbind := func() {
		t.Helper()
		if err := suite.admin.Delete(f.Context(), operator.HopNamespace(f.ns)); err != nil {
			t.Fatal(err)
		}
	}
	unbind()
	p, h := f.path("contain"), f.hop("isolate", "contain", "")
	f.apply(f.by, p, h)
	if message := f.state(h, v1alpha1.ReasonHopNamespaceNotBound); !strings.Contains(message, command) {
		t.Errorf("the message does not name the command %s: %s", command, message)
	}
	f.nothingLeft(h)

	f.make(operator.HopNamespace(f.ns))
	before := f.granted(h)
	hop := f.withToken(f.token(h))
	f.eventually("the hop to read", func() error { return f.read(hop) })
	unbind()
	f.state(h, v1alpha1.ReasonHopNamespaceNotBound)
	f.eventually("403", func() error { return wantForbidden(f.read(hop)) })
	f.eventually("the status to say what is left", func() error {
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(h), h); err != nil {
			return err
		}
		for _, c := range h.Status.Conditions {
			if c.Type == v1alpha1.ConditionGranted && c.Status == metav1.ConditionUnknown &&
				strings.Contains(c.Message, "ServiceAccount "+before+", Secret "+h.Spec.Token.SecretName) && strings.Contains(c.Message, command) {
				return nil
			}
		}
		return orAllowed(apierrors.NewBadRequest("it is something else"))
	})
	time.Sleep(time.Second)
	if err := f.read(hop); !apierrors.IsForbidden(err) {
		t.Errorf("the rights came back: %v", err)
	}

	f.make(operator.HopNamespace(f.ns))
	f.granted(h)

	// Revoked while the namespace is not bound: the rights go, and the rest once it is bound. The identity may be another one
	// by now, if the controller could delete the old one before it saw that the namespace is bound again.
	hop = f.withToken(f.token(h))
	f.eventually("the hop to read", func() error { return f.read(hop) })
	unbind()
	f.change(f.by, p, revoke)
	f.state(h, v1alpha1.ReasonRevoked)
	f.eventually("403", func() error { return wantForbidden(f.read(hop)) })
	f.make(operator.HopNamespace(f.ns))
	f.nothingLeft(h)
}
