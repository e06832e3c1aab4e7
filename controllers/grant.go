package controllers

import (
	"context"
	"errors"
	"fmt"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	rbacac "k8s.io/client-go/applyconfigurations/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// grant gives a hop its identity and exactly its scope. What is too much goes before anything is added.
func (r *HopReconciler) grant(ctx context.Context, s *state) error {
	if err := r.ensureAccount(ctx, s); err != nil {
		return err
	}
	g := delegation.GrantFor(s.in.Path, s.hop, s.next.Incarnation, s.verdict)
	observed, err := r.observe(ctx, delegation.HopKey(s.hop))
	if err != nil {
		return err
	}
	secrets, err := r.observeSecrets(ctx, s.hop)
	if err != nil {
		return err
	}
	plan := delegation.PlanFor(g.Objects(), append(observed, secrets...))
	for _, step := range plan.Remove {
		if err := r.remove(ctx, step); err != nil {
			return err
		}
	}
	for _, step := range plan.Make {
		if err := r.produce(ctx, g, step); err != nil {
			return r.orRefused(ctx, s, err)
		}
	}
	return r.orRefused(ctx, s, r.ensureToken(ctx, s, g))
}

// refusal is an error that is a finding about the hop, and no fault of ours.
type refusal struct{ delegation.Finding }

func (r refusal) Error() string { return r.String() }

// orRefused turns a refusal into the hop's state: nothing half made stays. A Role that the API server forbids is more
// than the controller was given, whatever it seemed to be given a moment ago.
func (r *HopReconciler) orRefused(ctx context.Context, s *state, err error) error {
	var refused refusal
	switch {
	case errors.As(err, &refused):
		s.refused = &refused.Finding
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause), namespaceMissing(err):
		s.refused = &delegation.Finding{Reason: v1alpha1.ReasonNotYetValid, Field: "spec.scope", Message: "a namespace of the scope is not there: " + err.Error()}
	case apierrors.IsForbidden(err):
		s.refused = &delegation.Finding{Reason: v1alpha1.ReasonScopeExceedsCeiling, Field: "spec.scope", Message: "the API server does not let the controller grant this: " + err.Error()}
	default:
		return err
	}
	return r.withdrawHop(ctx, s, *s.refused)
}

// namespaceMissing says whether a write failed because its namespace does not exist.
func namespaceMissing(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind == "namespaces"
}

// ensureAccount makes a new incarnation of the hop unless its present one stands and ends when the hop does: the new
// account first, then its name into the status, which fails if the hop has changed meanwhile. The old one is what the
// plan finds too much.
func (r *HopReconciler) ensureAccount(ctx context.Context, s *state) error {
	stands, err := r.accountStands(ctx, s)
	if err != nil || stands {
		return err
	}
	incarnation := s.hop.Status.Incarnation + 1
	account := &corev1.ServiceAccount{
		ObjectMeta: metav1.ObjectMeta{
			Namespace:       s.hop.Namespace,
			Name:            delegation.AccountName(s.hop, incarnation, s.verdict.NotAfter),
			Labels:          delegation.Labels(s.in.Path, s.hop, incarnation),
			OwnerReferences: ownedBy(s.hop),
		},
		AutomountServiceAccountToken: new(false),
	}
	if err := r.Create(ctx, account, FieldOwner); apierrors.IsAlreadyExists(err) {
		// It is not in the status, so nobody was told of it: left by a crash, or put there by somebody who guessed the
		// name and may hold tokens for it. It goes, and the next try makes a fresh one.
		return errors.Join(fmt.Errorf("making ServiceAccount %s: %w", account.Name, err), r.discard(ctx, client.ObjectKeyFromObject(account)))
	} else if err != nil {
		return fmt.Errorf("making ServiceAccount %s: %w", account.Name, err)
	}
	s.next.Incarnation, s.next.ServiceAccountName, s.next.Credential = incarnation, account.Name, nil
	return r.writeHopStatus(ctx, s.hop, s.next)
}

func (r *HopReconciler) discard(ctx context.Context, key types.NamespacedName) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	if err := r.Delete(ctx, account); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting ServiceAccount %s, which nobody should have made: %w", key, err)
	}
	return nil
}

// accountStands says whether the hop's present account exists and bears the right end.
func (r *HopReconciler) accountStands(ctx context.Context, s *state) (bool, error) {
	name := s.hop.Status.ServiceAccountName
	if name == "" || name != delegation.AccountName(s.hop, s.hop.Status.Incarnation, s.verdict.NotAfter) {
		return false, nil
	}
	key := types.NamespacedName{Namespace: s.hop.Namespace, Name: name}
	account := &corev1.ServiceAccount{}
	err := r.Get(ctx, key, account)
	if apierrors.IsNotFound(err) { // it may only not be in the cache yet
		err = r.live.Get(ctx, key, account)
	}
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading ServiceAccount %s: %w", key, err)
	}
	return account.DeletionTimestamp.IsZero(), nil
}

// ownedBy lets the garbage collector end what authenticates as a hop when the hop is deleted while we are down.
func ownedBy(hop *v1alpha1.DelegationHop) []metav1.OwnerReference {
	return []metav1.OwnerReference{{
		APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DelegationHop", Name: hop.Name, UID: hop.UID,
	}}
}

// produce writes the objects of a step, at the same time.
func (r *HopReconciler) produce(ctx context.Context, g delegation.Grant, step delegation.Step) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writesAtOnce)
	for _, o := range step {
		group.Go(func() error { return r.produceOne(ctx, g, o) })
	}
	return group.Wait()
}

func (r *HopReconciler) produceOne(ctx context.Context, g delegation.Grant, o delegation.Object) error {
	var apply runtime.ApplyConfiguration
	switch o.Kind {
	case delegation.Role:
		apply = rbacac.Role(o.Key.Name, o.Key.Namespace).WithLabels(g.Labels).WithRules(rules(g.Rules[o.Key.Namespace])...)
	case delegation.ClusterRole:
		apply = rbacac.ClusterRole(o.Key.Name).WithLabels(g.Labels).WithRules(rules(g.Rules[""])...)
	case delegation.RoleBinding:
		apply = rbacac.RoleBinding(o.Key.Name, o.Key.Namespace).WithLabels(g.Labels).
			WithRoleRef(roleRef(g.RoleRef(o.Key.Namespace))).WithSubjects(subjects(g.Subjects())...)
	case delegation.ClusterRoleBinding:
		apply = rbacac.ClusterRoleBinding(o.Key.Name).WithLabels(g.Labels).
			WithRoleRef(roleRef(g.RoleRef(""))).WithSubjects(subjects(g.Subjects())...)
	case delegation.ServiceAccount, delegation.Secret:
		return nil // made by ensureAccount and ensureToken, which know their order with the status
	}
	if err := r.Apply(ctx, apply, FieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("making %s %s: %w", o.Kind, o.Key, err)
	}
	return nil
}

func rules(from []rbacv1.PolicyRule) []*rbacac.PolicyRuleApplyConfiguration {
	to := make([]*rbacac.PolicyRuleApplyConfiguration, len(from))
	for i, r := range from {
		to[i] = rbacac.PolicyRule().WithVerbs(r.Verbs...).WithAPIGroups(r.APIGroups...).WithResources(r.Resources...).
			WithResourceNames(r.ResourceNames...).WithNonResourceURLs(r.NonResourceURLs...)
	}
	return to
}

func roleRef(from rbacv1.RoleRef) *rbacac.RoleRefApplyConfiguration {
	return rbacac.RoleRef().WithAPIGroup(from.APIGroup).WithKind(from.Kind).WithName(from.Name)
}

func subjects(from []rbacv1.Subject) []*rbacac.SubjectApplyConfiguration {
	to := make([]*rbacac.SubjectApplyConfiguration, len(from))
	for i, s := range from {
		to[i] = rbacac.Subject().WithKind(s.Kind).WithNamespace(s.Namespace).WithName(s.Name)
	}
	return to
}
