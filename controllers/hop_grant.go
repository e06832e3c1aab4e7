package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/grants"
)

// grant gives a hop its identity, and exactly its scope while it is in use or keeps a token; then it opens the gates of the pods
// that may start. If the API server denies that, nothing of it stays.
func (r *HopReconciler) grant(ctx context.Context, p *pass) delegation.Applied {
	hop := p.hop()
	before, uses := hop.Status.DeepCopy(), p.next.Uses.DeepCopy()
	unknown := r.judgeUses(ctx, p)
	r.judgeAll(ctx, p)
	err := r.applyGrant(ctx, p)
	if err == nil {
		err = errors.Join(r.stopUses(ctx, p), unknown)
	}
	if err == nil && (delegation.ComesBack(before, p.next) || r.resumes(p)) { // before the status says so: what fails is tried again
		err = r.stopper.resume(ctx, hop)
	}
	if err == nil {
		err = r.openGates(ctx, p)
	}
	denied, ok := errors.AsType[grants.DeniedError](err)
	if !ok {
		return delegation.Applied{
			Err: err, Overwritten: r.waits.overwriting(hop.UID), Idle: !delegation.InUse(p.next) && hop.Spec.Token == nil,
		}
	}
	if !equality.Semantic.DeepEqual(hop.Status.Uses, p.next.Uses) { // what was not counted has not begun
		p.next.Uses = uses
	}
	if p.next.ServiceAccountName != "" && denied.Reason.Class() != v1alpha1.ClassWaiting {
		r.waits.deny(hop, denied.Finding) // the dry run could not foresee it: without a wait each try would cost an identity
	}
	applied := r.withdrawHop(ctx, hop, p.next, denied.Finding, p.v.Cascades())
	applied.Denied, p.again = &denied.Finding, delegation.Sooner(p.again, applied.Again)
	return applied
}

// applyGrant gives a hop its identity, counts the uses that begin, and makes the rights.
func (r *HopReconciler) applyGrant(ctx context.Context, p *pass) (err error) {
	hop, inUse := p.hop(), delegation.InUse(p.next)
	spent := delegation.IsSpent(hop, p.next)
	if spent {
		if spent, err = r.stopper.allEnded(ctx, hop, p.in.Now); err != nil {
			return err
		}
	}
	observed, err := r.grants.Observe(ctx, p.in.Path, hop)
	if err != nil {
		return err
	}
	g := delegation.GrantFor(p.in.Path, hop, p.v, observed, grants.RandomSuffix(), spent)
	plan := delegation.PlanFor(g, inUse, observed)
	if len(plan.Blocked) > 0 {
		return secretTaken(plan.Blocked[0])
	}
	same := g.Incarnation == hop.Status.Incarnation
	if t := g.Token; t != nil && !t.MayIssue(p.v.NotAfter, p.in.Now) && (!same || !delegation.HasToken(hop)) {
		return grants.DeniedError{Finding: t.TooLate()}
	}
	if same {
		p.next.ServiceAccountUID = string(g.AccountUID(observed))
		err = r.keepIdentity(ctx, hop, g, &plan)
	} else {
		err = r.newIdentity(ctx, p, g, plan, spent)
	}
	if err != nil {
		return err
	}
	putBack := same && g.HasRights(delegation.InUse(&hop.Status)) // they existed before
	write := func(step delegation.Step) error {
		return r.grants.Apply(ctx, hop, g, step, func(o delegation.Object, differs *delegation.Finding) {
			r.waits.wrote(hop.UID, o, differs, putBack)
		})
	}
	roles := plan.TakeUnboundRoles() // each write costs milliseconds before a gate opens
	if err := atOnce(func() error { return r.countUses(ctx, p) }, func() error { return write(roles) }); err != nil {
		return err
	}
	return r.makeRights(ctx, p, g, plan, write)
}

// makeRights makes what the account of a grant holds.
func (r *HopReconciler) makeRights(
	ctx context.Context, p *pass, g delegation.Grant, plan delegation.Plan, write func(delegation.Step) error,
) error {
	hop := p.hop()
	for _, step := range plan.Remove {
		if err := r.grants.Remove(ctx, step); err != nil {
			return err
		}
		r.waits.removed(hop.UID, step)
	}
	if err := r.announceSecret(ctx, p, g); err != nil {
		return err
	}
	if err := r.record.grant(p.in, p.v, g, plan, delegation.InUse(p.next)); err != nil {
		return err
	}
	for _, step := range plan.Make {
		if err := write(step); err != nil {
			return err
		}
	}
	return r.ensureToken(ctx, p, g, plan)
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
func (r *HopReconciler) newIdentity(ctx context.Context, p *pass, g delegation.Grant, plan delegation.Plan, spent bool) error {
	hop := p.hop()
	if last := r.waits.denial(hop); last != nil {
		return grants.DeniedError{Finding: *last}
	}
	if err := r.checkUpToDate(ctx, hop); err != nil {
		return err
	}
	// What runs now runs as an earlier identity, or under an earlier hop of the name. Its Jobs are suspended first, so that the
	// end of their pods costs no retry.
	if ended, err := r.stopper.allEnded(ctx, hop, p.in.Now); err != nil {
		return err
	} else if !ended && spent { // a pod came just now, and the identity goes on for it
		return apierrors.NewConflict(hopResource, hop.Name, errStale)
	} else if !ended {
		return grants.DeniedError{Finding: identityEnds}
	}
	if err := r.grants.DryRun(ctx, g); err != nil {
		return err
	}
	if err := r.grants.Remove(ctx, plan.Discard); err != nil {
		return err
	}
	p.next.Incarnation, p.next.ServiceAccountName, p.next.ServiceAccountUID = g.Incarnation, g.Account.Name, ""
	p.next.Credential = delegation.AnnouncedCredential(hop, p.in.Now)
	if err := r.record.writeHop(ctx, hop, p.next); err != nil {
		return err
	}
	uid, err := r.grants.CreateAccount(ctx, hop, g)
	p.next.ServiceAccountUID = string(uid)
	return err
}

// identityEnds is why a hop waits for its next identity.
var identityEnds = delegation.Finding{
	Reason: v1alpha1.ReasonNotYetValid, Message: "the pods that run under an earlier identity of the hop end first",
}

// announceSecret names the Secret of a grant in the status before it is created.
func (r *HopReconciler) announceSecret(ctx context.Context, p *pass, g delegation.Grant) error {
	hop := p.hop()
	if g.Token == nil {
		p.next.Credential = nil
		return nil
	}
	if c := p.next.Credential; c != nil && c.SecretName == g.Token.SecretName {
		return nil
	}
	p.next.Credential = delegation.AnnouncedCredential(hop, p.in.Now)
	return r.record.writeHop(ctx, hop, p.next)
}

// ensureToken issues a token into the Secret of a grant if there is none, or if it is time to replace it.
func (r *HopReconciler) ensureToken(ctx context.Context, p *pass, g delegation.Grant, plan delegation.Plan) error {
	secret := slices.IndexFunc(plan.Keep, isSecret)
	if g.Token == nil || secret < 0 && !plan.Makes(delegation.Secret) { // it was put back a moment ago, and waits
		return nil
	}
	held := ""
	if secret >= 0 {
		held = plan.Keep[secret].CredentialID
	}
	if !delegation.NeedsToken(p.next.Credential, held, p.in.Now) {
		return nil
	}
	if !g.Token.MayIssue(p.v.NotAfter, p.in.Now) { // the last one has been issued
		return nil
	}
	hop := p.hop()
	// A cache that lags makes a token of a moment ago look like one that no status names.
	if err := r.checkUpToDate(ctx, hop); err != nil {
		return err
	}
	issued := delegation.Object{Kind: tokenOf, Key: delegation.TokenSecret(hop)}
	if _, again := r.waits.wasPutBack(hop.UID, issued); again {
		return r.tokenOverwritten(ctx, hop, g)
	}
	life := g.Token.NextTokenLife(p.v.NotAfter, p.in.Now)
	credential, err := r.grants.IssueToken(ctx, hop, g, types.UID(p.next.ServiceAccountUID), life)
	if err != nil {
		return err
	}
	r.record.metrics.TokenMinted()
	r.waits.wrote(hop.UID, issued, nil, p.next.Credential.ID != "")
	p.next.Credential = credential
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
	err := client.IgnoreNotFound(r.live.Get(ctx, delegation.HopKey(hop), live))
	if err != nil {
		return fmt.Errorf("reading the hop from the API server: %w", err)
	}
	if live.UID != hop.UID || live.ResourceVersion != hop.ResourceVersion {
		return apierrors.NewConflict(hopResource, hop.Name, errStale)
	}
	return nil
}

var hopResource = v1alpha1.SchemeGroupVersion.WithResource("delegationhops").GroupResource()

var errStale = errors.New("the hop has changed since it was read")

func secretTaken(secret delegation.Object) error {
	return grants.DeniedError{Finding: delegation.Finding{
		Reason: v1alpha1.ReasonSecretTaken, Field: "spec.token.secretName",
		Message: fmt.Sprintf("Secret %q exists and is not this hop's: name another one, or delete it", secret.Key.Name),
	}}
}

func isSecret(o delegation.Object) bool { return o.Kind == delegation.Secret }
