package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/grants"
)

// useLives: rights exist as long as the hop is valid.
const useLives = true

// grant gives a hop its identity and exactly its scope. If the API server denies that, nothing of it stays.
func (r *HopReconciler) grant(
	ctx context.Context, in delegation.Input, v delegation.Verdict, next *v1alpha1.DelegationHopStatus,
) delegation.Applied {
	hop := in.Chain.Last()
	before := hop.Status.DeepCopy()
	err := r.applyGrant(ctx, in, v, next)
	if err == nil && delegation.ComesBack(before, next) { // before the status says so: what fails here is tried again
		err = r.stopper.resume(ctx, hop)
	}
	denied, ok := errors.AsType[grants.DeniedError](err)
	if !ok {
		return delegation.Applied{Err: err, Overwritten: r.waits.overwriting(hop.UID)}
	}
	if next.ServiceAccountName != "" { // the dry run could not foresee it: without a wait each try would cost an identity
		r.waits.deny(hop, denied.Finding)
	}
	return delegation.Applied{Denied: &denied.Finding, Err: r.withdrawHop(ctx, hop, next, denied.Finding, v.Cascades())}
}

func (r *HopReconciler) applyGrant(
	ctx context.Context, in delegation.Input, v delegation.Verdict, next *v1alpha1.DelegationHopStatus,
) error {
	hop := in.Chain.Last()
	observed, err := r.grants.Observe(ctx, in.Path, hop)
	if err != nil {
		return err
	}
	g := delegation.GrantFor(in.Path, hop, v, observed, grants.RandomSuffix())
	plan := delegation.PlanFor(g, useLives, observed)
	if len(plan.Blocked) > 0 {
		return secretTaken(plan.Blocked[0])
	}
	same := g.Incarnation == hop.Status.Incarnation
	if t := g.Token; t != nil && !t.MayIssue(v.NotAfter, in.Now) && (!same || !delegation.HasToken(hop)) {
		return grants.DeniedError{Finding: t.TooLate()}
	}
	if same {
		next.ServiceAccountUID = string(g.AccountUID(observed))
		err = r.keepIdentity(ctx, hop, g, &plan)
	} else {
		err = r.newIdentity(ctx, in, g, plan, next)
	}
	if err != nil {
		return err
	}
	return r.makeRights(ctx, in, v, g, plan, same, next)
}

// makeRights makes what the account of a grant holds. PutBack says whether it held it before.
func (r *HopReconciler) makeRights(
	ctx context.Context, in delegation.Input, v delegation.Verdict, g delegation.Grant, plan delegation.Plan, putBack bool,
	next *v1alpha1.DelegationHopStatus,
) error {
	hop := in.Chain.Last()
	for _, step := range plan.Remove {
		if err := r.grants.Remove(ctx, step); err != nil {
			return err
		}
	}
	if err := r.announceSecret(ctx, in, g, next); err != nil {
		return err
	}
	if err := r.record.grant(in, v, g, plan); err != nil {
		return err
	}
	for _, step := range plan.Make {
		if err := r.grants.Apply(ctx, hop, g, step, func(o delegation.Object, differs *delegation.Finding) {
			r.waits.wrote(hop.UID, o, differs, putBack)
		}); err != nil {
			return err
		}
	}
	return r.ensureToken(ctx, in, v, g, plan, next)
}

// keepIdentity discards what the present identity must not have any longer. It takes out of the plan what was put back a
// moment ago and differs again.
func (r *HopReconciler) keepIdentity(ctx context.Context, hop *v1alpha1.DelegationHop, g delegation.Grant, plan *delegation.Plan) error {
	var again []delegation.Object
	for i, step := range plan.Make {
		plan.Make[i] = slices.DeleteFunc(step, func(o delegation.Object) bool {
			differs, yes := r.waits.wasPutBack(hop.UID, o)
			if yes && differs == nil { // or the cache does not hold it yet
				again = append(again, o)
			}
			return yes
		})
	}
	who, err := r.grants.Overwritten(ctx, g, again)
	if err != nil {
		return err
	}
	if who != nil {
		r.waits.overwrite(hop.UID, *who)
	}
	return r.grants.Remove(ctx, plan.Discard)
}

// newIdentity creates the next incarnation of a hop: first its name in the status, which fails if the hop has changed
// meanwhile, then the account. No one can know the name earlier and take it. The old account is deleted afterwards, as the
// plan says.
func (r *HopReconciler) newIdentity(
	ctx context.Context, in delegation.Input, g delegation.Grant, plan delegation.Plan, next *v1alpha1.DelegationHopStatus,
) error {
	hop := in.Chain.Last()
	if last := r.waits.denial(hop); last != nil {
		return grants.DeniedError{Finding: *last}
	}
	if err := r.checkUpToDate(ctx, hop); err != nil {
		return err
	}
	if err := r.grants.DryRun(ctx, g); err != nil {
		return err
	}
	if err := r.grants.Remove(ctx, plan.Discard); err != nil {
		return err
	}
	// What runs now runs as an earlier identity, or under an earlier hop of the name. It holds nothing but open streams.
	if err := r.stopper.deletePods(ctx, delegation.HopKey(hop), client.MatchingLabels{v1alpha1.LabelHop: hop.Name}); err != nil {
		return err
	}
	next.Incarnation, next.ServiceAccountName, next.ServiceAccountUID = g.Incarnation, g.Account.Name, ""
	next.Credential = delegation.AnnouncedCredential(hop, in.Now)
	if err := r.record.writeHop(ctx, hop, next); err != nil {
		return err
	}
	uid, err := r.grants.CreateAccount(ctx, hop, g)
	next.ServiceAccountUID = string(uid)
	return err
}

// announceSecret names the Secret of a grant in the status before it is created.
func (r *HopReconciler) announceSecret(
	ctx context.Context, in delegation.Input, g delegation.Grant, next *v1alpha1.DelegationHopStatus,
) error {
	hop := in.Chain.Last()
	if g.Token == nil {
		next.Credential = nil
		return nil
	}
	if c := next.Credential; c != nil && c.SecretName == g.Token.SecretName {
		return nil
	}
	next.Credential = delegation.AnnouncedCredential(hop, in.Now)
	return r.record.writeHop(ctx, hop, next)
}

// ensureToken issues a token into the Secret of a grant if there is none, or if it is time to replace it.
func (r *HopReconciler) ensureToken(
	ctx context.Context, in delegation.Input, v delegation.Verdict, g delegation.Grant, plan delegation.Plan,
	next *v1alpha1.DelegationHopStatus,
) error {
	secret := slices.IndexFunc(plan.Keep, isSecret)
	if g.Token == nil || secret < 0 && !plan.Makes(delegation.Secret) { // it was put back a moment ago, and waits
		return nil
	}
	held := ""
	if secret >= 0 {
		held = plan.Keep[secret].CredentialID
	}
	if !delegation.NeedsToken(next.Credential, held, in.Now) {
		return nil
	}
	if !g.Token.MayIssue(v.NotAfter, in.Now) { // the last one has been issued
		return nil
	}
	hop := in.Chain.Last()
	// A cache that lags makes a token of a moment ago look like one that no status names.
	if err := r.checkUpToDate(ctx, hop); err != nil {
		return err
	}
	issued := delegation.Object{Kind: tokenOf, Key: delegation.TokenSecret(hop)}
	if _, again := r.waits.wasPutBack(hop.UID, issued); again {
		return r.tokenOverwritten(ctx, hop, g)
	}
	credential, err := r.grants.IssueToken(ctx, hop, g, types.UID(next.ServiceAccountUID), g.Token.NextTokenLife(v.NotAfter, in.Now))
	if err != nil {
		return err
	}
	r.waits.wrote(hop.UID, issued, nil, next.Credential.ID != "")
	next.Credential = credential
	return nil
}

// tokenOf tells the token in a Secret from the Secret.
const tokenOf = delegation.Kind("token of Secret")

// tokenOverwritten notes who changed a token right after it was put back.
func (r *HopReconciler) tokenOverwritten(ctx context.Context, hop *v1alpha1.DelegationHop, g delegation.Grant) error {
	who, err := r.grants.TokenOverwritten(ctx, g)
	if who != nil {
		r.waits.overwrite(hop.UID, *who)
	}
	return err
}

// checkUpToDate fails with a conflict if the cache does not hold the hop as it is. It may not have the status of a moment
// ago, and then the present account would look like one that no status names.
func (r *HopReconciler) checkUpToDate(ctx context.Context, hop *v1alpha1.DelegationHop) error {
	live := &metav1.PartialObjectMetadata{}
	live.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind(kindHop))
	if err := r.live.Get(ctx, delegation.HopKey(hop), live); err != nil {
		return fmt.Errorf("reading the hop from the API server: %w", err)
	}
	if live.UID != hop.UID || live.ResourceVersion != hop.ResourceVersion {
		return apierrors.NewConflict(v1alpha1.SchemeGroupVersion.WithResource("delegationhops").GroupResource(), hop.Name, errStale)
	}
	return nil
}

var errStale = errors.New("the hop has changed since it was read")

func secretTaken(secret delegation.Object) error {
	return grants.DeniedError{Finding: delegation.Finding{
		Reason: v1alpha1.ReasonSecretTaken, Field: "spec.token.secretName",
		Message: fmt.Sprintf("Secret %q exists and is not this hop's: name another one, or delete it", secret.Key.Name),
	}}
}

func isSecret(o delegation.Object) bool { return o.Kind == delegation.Secret }
