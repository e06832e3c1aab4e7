package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"

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
	stands, err := r.accountStands(ctx, s)
	if err != nil {
		return err
	}
	if !stands {
		if s.refused = r.refusals.standing(s); s.refused != nil {
			return r.withdrawHop(ctx, s, *s.refused)
		}
		if err := r.makeAccount(ctx, s); err != nil {
			return r.orRefused(ctx, s, err)
		}
	}
	g := delegation.GrantFor(s.in.Path, s.hop, s.next.Incarnation, s.verdict)
	standing, err := r.observeStanding(ctx, s.hop, g)
	if err != nil {
		return err
	}
	plan := delegation.PlanFor(g.Objects(), standing)
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

// observeStanding returns what stands for a hop, as a plan sees it. What bears the name of the grant but other labels
// is left out, so that it is written over: by its labels we find it again, and a person does who has to end a path
// without us.
func (r *HopReconciler) observeStanding(ctx context.Context, hop *v1alpha1.DelegationHop, g delegation.Grant) ([]delegation.Object, error) {
	objects, err := r.observe(ctx, delegation.HopKey(hop), func(o client.Object) (bool, error) {
		return o.GetName() != g.Account.Name || labelled(o, g.Labels), nil
	})
	if err != nil {
		return nil, err
	}
	secrets, err := r.observeSecrets(ctx, hop)
	return append(objects, secrets...), err
}

// labelled says whether an object bears all labels.
func labelled(o client.Object, want map[string]string) bool {
	labels := o.GetLabels()
	for key, value := range want {
		if labels[key] != value {
			return false
		}
	}
	return true
}

// rehearse asks the API server, before anything is made, whether it would let all of a grant be. Without it, a grant
// that is refused half way would be made and unmade at each try, under one new identity after the other.
func (r *HopReconciler) rehearse(ctx context.Context, s *state) error {
	g := delegation.GrantFor(s.in.Path, s.hop, s.hop.Status.Incarnation+1, s.verdict)
	if g.SecretName != "" {
		if _, err := r.ownSecret(ctx, s.hop, g.SecretName); err != nil {
			return err
		}
	}
	var roles delegation.Step
	for _, o := range g.Objects() {
		if o.Kind == delegation.Role || o.Kind == delegation.ClusterRole {
			roles = append(roles, o)
		}
	}
	return r.produce(ctx, g, roles, client.DryRunAll)
}

// refusal is an error that is a finding about the hop, and no fault of ours.
type refusal struct{ delegation.Finding }

func (r refusal) Error() string { return r.String() }

// orRefused turns a refusal into the hop's state: nothing half made stays.
func (r *HopReconciler) orRefused(ctx context.Context, s *state, err error) error {
	var refused refusal
	if !errors.As(err, &refused) {
		return err
	}
	s.refused = &refused.Finding
	if s.account != "" { // what the rehearsal could not foresee: without a wait each try would cost an identity
		r.refusals.remember(s)
	}
	return r.withdrawHop(ctx, s, *s.refused)
}

// asRefusal is what it means that the API server did not let a right be written. A Role that it forbids is more than
// the controller was given, whatever it seemed to be given a moment ago.
func asRefusal(err error) error {
	switch {
	case apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause), namespaceMissing(err):
		return refusal{delegation.Finding{Reason: v1alpha1.ReasonNotYetValid, Field: "spec.scope", Message: "a namespace of the scope is not there: " + err.Error()}}
	case apierrors.IsForbidden(err):
		return refusal{delegation.Finding{Reason: v1alpha1.ReasonScopeExceedsCeiling, Field: "spec.scope", Message: "the API server does not let the controller grant this: " + err.Error()}}
	}
	return err
}

// namespaceMissing says whether a write failed because its namespace does not exist.
func namespaceMissing(err error) bool {
	var status apierrors.APIStatus
	return apierrors.IsNotFound(err) && errors.As(err, &status) && status.Status().Details != nil && status.Status().Details.Kind == "namespaces"
}

// makeAccount makes the next incarnation of a hop: the new account first, then its name into the status, which fails if
// the hop has changed meanwhile. The old one is what the plan finds too much.
func (r *HopReconciler) makeAccount(ctx context.Context, s *state) error {
	if err := r.upToDate(ctx, s.hop); err != nil {
		return err
	}
	if err := r.rehearse(ctx, s); err != nil {
		return err
	}
	// What runs by now runs as an earlier identity, or under an earlier hop of the name: what it holds is dead, but for
	// streams that are open.
	if err := r.stopPods(ctx, delegation.HopKey(s.hop), client.MatchingLabels{v1alpha1.LabelHop: s.hop.Name}); err != nil {
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
	s.account = account.UID
	s.next.Incarnation, s.next.ServiceAccountName, s.next.Credential = incarnation, account.Name, announced(s)
	return r.writeHopStatus(ctx, s.hop, s.next)
}

// upToDate fails with a conflict if the cache does not hold the hop as it is. It may not have the status of a moment ago,
// and then the account that stands would seem to be one that nobody should have made.
func (r *HopReconciler) upToDate(ctx context.Context, hop *v1alpha1.DelegationHop) error {
	live := &metav1.PartialObjectMetadata{}
	live.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("DelegationHop"))
	if err := r.live.Get(ctx, delegation.HopKey(hop), live); err != nil {
		return fmt.Errorf("reading the hop as it is now: %w", err)
	}
	if live.UID != hop.UID || live.ResourceVersion != hop.ResourceVersion {
		return apierrors.NewConflict(v1alpha1.SchemeGroupVersion.WithResource("delegationhops").GroupResource(), hop.Name, errStale)
	}
	return nil
}

var errStale = errors.New("the hop has changed since it was read")

func (r *HopReconciler) discard(ctx context.Context, key types.NamespacedName) error {
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name}}
	if err := r.Delete(ctx, account); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting ServiceAccount %s, which nobody should have made: %w", key, err)
	}
	return nil
}

// accountStands says whether the hop's present account exists and bears the right end. One that somebody has tampered
// with, or made anew under its name, is deleted.
func (r *HopReconciler) accountStands(ctx context.Context, s *state) (bool, error) {
	name, incarnation := s.hop.Status.ServiceAccountName, s.hop.Status.Incarnation
	if name == "" {
		return false, nil
	}
	key := types.NamespacedName{Namespace: s.hop.Namespace, Name: name}
	account := &corev1.ServiceAccount{}
	err := r.Get(ctx, key, account)
	if apierrors.IsNotFound(err) { // it may only not be in the cache yet, or have lost the label that brings it there
		err = r.live.Get(ctx, key, account)
	}
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("reading ServiceAccount %s: %w", key, err)
	}
	if !intact(account, s.hop, delegation.Labels(s.in.Path, s.hop, incarnation)) {
		return false, r.removeOne(ctx, delegation.Object{Kind: delegation.ServiceAccount, Key: key, UID: account.UID})
	}
	s.account = account.UID
	return name == delegation.AccountName(s.hop, incarnation, s.verdict.NotAfter) && account.DeletionTimestamp.IsZero(), nil
}

// intact says whether an account is as it was made.
func intact(account *corev1.ServiceAccount, hop *v1alpha1.DelegationHop, labels map[string]string) bool {
	automount := account.AutomountServiceAccountToken
	return labelled(account, labels) && owned(account, hop) && automount != nil && !*automount
}

// ownedBy lets the garbage collector end what authenticates as a hop when the hop is deleted while we are down.
func ownedBy(hop *v1alpha1.DelegationHop) []metav1.OwnerReference {
	return []metav1.OwnerReference{{
		APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "DelegationHop", Name: hop.Name, UID: hop.UID,
	}}
}

func owned(o client.Object, hop *v1alpha1.DelegationHop) bool {
	return slices.ContainsFunc(o.GetOwnerReferences(), func(ref metav1.OwnerReference) bool { return ref.UID == hop.UID })
}

// produce writes the objects of a step, at the same time.
func (r *HopReconciler) produce(ctx context.Context, g delegation.Grant, step delegation.Step, opts ...client.ApplyOption) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writesAtOnce)
	for _, o := range step {
		group.Go(func() error { return r.produceOne(ctx, g, o, opts...) })
	}
	return group.Wait()
}

func (r *HopReconciler) produceOne(ctx context.Context, g delegation.Grant, o delegation.Object, opts ...client.ApplyOption) error {
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
		return nil // made by makeAccount and ensureToken, which know their order with the status
	}
	if err := r.Apply(ctx, apply, append(opts, FieldOwner, client.ForceOwnership)...); err != nil {
		return asRefusal(fmt.Errorf("making %s %s: %w", o.Kind, o.Key, err))
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
