//go:build unix

package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	rbacac "k8s.io/client-go/applyconfigurations/rbac/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// grants measures from the creation of a hop until a watch sees that it is Ready: one that keeps a token has permissions
// from then on, another one has only its account, and the gate stage measures what its uses cost. The floor is the same writes made
// bare, in the controller's order; the audit log of the API server shows whether they are the same. Most of either time
// is two waits inside the API server: its escalation check resolves the rights of the writer, and for each Role and
// RoleBinding that is a consistent read that waits up to 100 ms for etcd's progress.
func grants(ctx context.Context, s *site, n sizes) ([]row, error) {
	var rows []row
	for _, kind := range []struct {
		prefix, what string
		token        bool
	}{{"grant", "identity of a hop that is idle", false}, {"tgrant", "grant of a hop with a token", true}} {
		progress("grant: creating %d paths", n.grants)
		if err := parallel(ctx, 8, n.grants, func(ctx context.Context, i int) error { return s.active(ctx, nth(kind.prefix, i)) }); err != nil {
			return nil, err
		}
		r := row{}
		for i := range n.grants {
			name := nth(kind.prefix, i)
			hop, took, err := s.grant(ctx, name, kind.token)
			if err != nil {
				return nil, err
			}
			r.ours = append(r.ours, took)
			if took, err = s.writeBare(ctx, "bare-"+name, hop); err != nil {
				return nil, err
			}
			r.floor = append(r.floor, took)
		}
		writes, err := s.sameWrites(kind.prefix)
		if err != nil {
			return nil, err
		}
		r.what = fmt.Sprintf("%s, beside its %d writes made bare (n=%d)", kind.what, writes, n.grants)
		rows = append(rows, r)
	}
	return rows, nil
}

func (s *site) grant(ctx context.Context, name string, token bool) (*v1alpha1.DelegationHop, time.Duration, error) {
	hop := newHop(name, name, "", token)
	began := time.Now()
	if err := s.alice.Create(ctx, hop); err != nil {
		return nil, 0, fmt.Errorf("creating hop %s: %w", name, err)
	}
	ready := v1alpha1.ReasonIdle
	if token {
		ready = v1alpha1.ReasonGranted
	}
	hop, at, err := s.inState(ctx, name, ready)
	return hop, at.Sub(began), err
}

// bareOwner is the field owner of the bare writes.
const bareOwner = client.FieldOwner("bench")

// writeBare makes the writes of a grant like that of a hop, and waits until a watch has seen the last one.
func (s *site) writeBare(ctx context.Context, name string, like *v1alpha1.DelegationHop) (time.Duration, error) {
	hop := &unstructured.Unstructured{}
	hop.SetGroupVersionKind(bareKind)
	hop.SetNamespace(agents)
	hop.SetName(name)
	var err error
	if hop.Object["spec"], err = runtime.DefaultUnstructuredConverter.ToUnstructured(&like.Spec); err != nil {
		return 0, fmt.Errorf("copying a hop: %w", err)
	}
	began := time.Now()
	if err := s.alice.Create(ctx, hop); err != nil {
		return 0, fmt.Errorf("creating a bare hop: %w", err)
	}
	if err := s.writeBareGrant(ctx, hop, like); err != nil {
		return 0, fmt.Errorf("writing a bare grant: %w", err)
	}
	_, at, err := s.bareHops.one(ctx, "the bare status of "+name, client.ObjectKeyFromObject(hop), func(o *unstructured.Unstructured) bool {
		conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions") // nil if there is no status
		return len(conditions) > 0
	})
	return at.Sub(began), err
}

func (s *site) writeBareGrant(ctx context.Context, hop *unstructured.Unstructured, like *v1alpha1.DelegationHop) error {
	name, labels, owner := hop.GetName(), bareLabels(hop.GetName()), []metav1.OwnerReference{*metav1.NewControllerRef(hop, bareKind)}
	meta := metav1.ObjectMeta{Namespace: agents, Name: name, Labels: labels, OwnerReferences: owner}
	if err := s.writer.Apply(ctx, bareRole(name), bareOwner, client.ForceOwnership, client.DryRunAll); err != nil {
		return err
	}
	linked := like.Status.DeepCopy()
	linked.Conditions, linked.Credential = nil, nil
	if err := s.applyBareStatus(ctx, hop, linked); err != nil {
		return err
	}
	account := &corev1.ServiceAccount{ObjectMeta: meta, AutomountServiceAccountToken: new(false)}
	if err := s.writer.Create(ctx, account, bareOwner); err != nil {
		return err
	}
	if like.Spec.Token == nil {
		return s.applyBareStatus(ctx, hop, &like.Status)
	}
	if err := s.writeBareRights(ctx, name); err != nil {
		return err
	}
	meta.Name = name + "-token"
	if err := s.writeBareToken(ctx, account, &corev1.Secret{ObjectMeta: meta}); err != nil {
		return err
	}
	return s.applyBareStatus(ctx, hop, &like.Status)
}

func bareRole(name string) *rbacac.RoleApplyConfiguration {
	return rbacac.Role(name, payments).WithLabels(bareLabels(name)).WithRules(
		rbacac.PolicyRule().WithAPIGroups("").WithResources("configmaps").WithVerbs("get", "list"))
}

// writeBareRights writes a Role, and then the RoleBinding that gives it: the API server looks for the Role.
func (s *site) writeBareRights(ctx context.Context, name string) error {
	binding := rbacac.RoleBinding(name, payments).WithLabels(bareLabels(name)).
		WithRoleRef(rbacac.RoleRef().WithAPIGroup(rbacv1.GroupName).WithKind("Role").WithName(name)).
		WithSubjects(rbacac.Subject().WithKind(rbacv1.ServiceAccountKind).WithNamespace(agents).WithName(name))
	for _, apply := range []runtime.ApplyConfiguration{bareRole(name), binding} {
		if err := s.writer.Apply(ctx, apply, bareOwner, client.ForceOwnership); err != nil {
			return err
		}
	}
	return nil
}

func (s *site) writeBareToken(ctx context.Context, account *corev1.ServiceAccount, secret *corev1.Secret) error {
	if err := s.writer.Create(ctx, secret, bareOwner); err != nil {
		return err
	}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: ptr.To[int64](600),
		BoundObjectRef:    &authenticationv1.BoundObjectReference{APIVersion: "v1", Kind: "Secret", Name: secret.Name, UID: secret.UID},
	}}
	if err := s.writer.SubResource("token").Create(ctx, account, request); err != nil {
		return err
	}
	secret.Data = map[string][]byte{"token": []byte(request.Status.Token), "ca.crt": s.cluster.Config().CAData}
	return s.writer.Update(ctx, secret, bareOwner)
}

func (s *site) applyBareStatus(ctx context.Context, hop *unstructured.Unstructured, status *v1alpha1.DelegationHopStatus) error {
	apply := &unstructured.Unstructured{}
	apply.SetGroupVersionKind(bareKind)
	apply.SetNamespace(hop.GetNamespace())
	apply.SetName(hop.GetName())
	var err error
	if apply.Object["status"], err = runtime.DefaultUnstructuredConverter.ToUnstructured(status); err != nil {
		return fmt.Errorf("copying a status: %w", err)
	}
	return s.writer.Status().Apply(ctx, client.ApplyConfigurationFromUnstructured(apply), bareOwner, client.ForceOwnership)
}

// sameWrites reads the writes for each hop and bare hop from the audit log, prints them, and returns the number of bare
// writes. A hop has more writes where a conflict was retried.
func (s *site) sameWrites(prefix string) (int, error) {
	raw, err := os.ReadFile(s.cluster.AuditLogPath())
	if err != nil {
		return 0, fmt.Errorf("reading the audit log: %w", err)
	}
	return countWrites(raw, prefix)
}

func countWrites(raw []byte, prefix string) (int, error) {
	byName := map[string][]string{}
	events, err := auditEvents(raw)
	if err != nil {
		return 0, err
	}
	for _, e := range events {
		name, ok := hopIn(e.ObjectRef.Name, prefix)
		if !ok || !slices.Contains([]string{"create", "update", "patch"}, e.Verb) ||
			slices.Contains([]string{"events", "delegationpaths"}, e.ObjectRef.Resource) {
			continue
		}
		byName[name] = append(byName[name], e.what())
	}
	kinds := map[string]map[string]int{} // how often each sequence of writes occurs, for hops and bare hops
	for name, writes := range byName {
		kind, _, _ := strings.Cut(name, "-")
		if kinds[kind] == nil {
			kinds[kind] = map[string]int{}
		}
		kinds[kind][strings.Join(writes, ", ")]++
	}
	count := 0
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		for writes, times := range kinds[kind] {
			progress("grant: %d × %s: %s", times, kind, writes)
			if kind == "bare" {
				count = strings.Count(writes, ",") + 1
			}
		}
	}
	return count, nil
}

// hopIn finds the hop or bare hop in the name of an object that was written for it.
func hopIn(name, prefix string) (string, bool) {
	name = strings.TrimSuffix(strings.TrimPrefix(name, v1alpha1.AccountPrefix), "-token")
	name, _, _ = strings.Cut(name, ".")
	return name, strings.HasPrefix(strings.TrimPrefix(name, "bare-"), prefix+"-")
}
