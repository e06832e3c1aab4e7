// Package facts gathers what a verdict depends on: the path, the chain of hops, and the answers of RBAC and of the API
// server's authorizers. Controllers and webhooks gather here, so that they cannot ask different questions.
package facts

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
	"github.com/wayleave/wayleave/internal/scope"
)

// Gatherer gathers inputs. It only reads, but for SubjectAccessReviews, which are questions in the form of a create.
type Gatherer struct {
	// Cache holds our kinds and RBAC, with the indexes of Index.
	Cache client.Reader
	// Live is asked for what the cache does not hold (yet).
	Live client.Reader
	// Access answers SubjectAccessReviews.
	Access Reviewer
	// Controller is the user name under which the controller grants.
	Controller string
	// OperatorNamespace is where Wayleave itself runs.
	OperatorNamespace string

	// Frozen has everything be frozen, whatever the cluster says.
	Frozen bool
	// ExclusiveStrict has a hop be withdrawn to whose account somebody bound rights by a group.
	ExclusiveStrict bool
	// Isolation knows who can act as hops; nil where nobody looks.
	Isolation *Isolation
	// Accounts holds the metadata of all ServiceAccounts; nil means that they are read from the API server.
	Accounts cache.Cache
	// MaxUserLifetime is how long a path lives at most whose origin is a user; zero means as long as it says.
	MaxUserLifetime time.Duration
	// RefuseUnbounded has a path not be valid whose origin may do everything.
	RefuseUnbounded bool
	// RequireCredential has an approval not count that was given with a credential without an id.
	RequireCredential bool
	// Digests computes digests of paths.
	Digests *Digests
	// FloorGaps says which of the policies is not in effect; nil where none is required.
	FloorGaps func(context.Context) string

	// fresh has path and hops read from the API server.
	fresh bool
	// admits is true where the object asked about is that of a request.
	admits bool
}

// maxMade bounds how many hops that it made a hop may use.
const maxMade = 256

// Fresh is a gatherer that reads path and hops from the API server, not from the cache: for what begins now, and must not begin
// on what was true a moment ago.
func (g *Gatherer) Fresh() *Gatherer {
	fresh := *g
	fresh.fresh = true
	return &fresh
}

// input is what all inputs have.
func (g *Gatherer) input(now time.Time) delegation.Input {
	return delegation.Input{
		Now: now, OperatorNamespace: g.OperatorNamespace, Controller: g.Controller,
		MaxUserLifetime: g.MaxUserLifetime, RefuseUnbounded: g.RefuseUnbounded,
		RequireCredential: g.RequireCredential,
	}
}

// Path gathers what the verdict on a path depends on.
func (g *Gatherer) Path(ctx context.Context, path *v1alpha1.DelegationPath, now time.Time) delegation.Input {
	in := g.input(now)
	in.Path = path
	if !delegation.HasEnded(in) {
		in.Facts.Freeze, in.Facts.FloorGap = g.Freeze(ctx), g.floorGap(ctx)
		in.Facts.Origin = g.origin(ctx, path)
		g.approval(ctx, &in, true)
		in.Facts.OriginAccount, in.Facts.Unbounded = g.account(ctx, path.Spec.Origin), g.unbounded(ctx, path.Spec.Origin)
		in.Facts.TokenSecrets = g.tokenSecrets(ctx, path, in.Facts.Origin)
	}
	return in
}

// PathToBeAdmitted gathers what the verdict on a path in a request depends on.
func (g *Gatherer) PathToBeAdmitted(ctx context.Context, path *v1alpha1.DelegationPath, now time.Time) delegation.Input {
	return g.admitting().Path(ctx, path, now)
}

func (g *Gatherer) admitting() *Gatherer {
	admitting := *g
	admitting.admits = true
	return &admitting
}

// Chain gathers the objects of a hop's chain, and no other fact.
func (g *Gatherer) Chain(ctx context.Context, hop *v1alpha1.DelegationHop, now time.Time) (delegation.Input, error) {
	in := g.input(now)
	group, ctx := errgroup.WithContext(ctx) // a gate waits for what is read from the API server
	group.Go(func() (err error) {
		in.Path, err = g.FindPath(ctx, delegation.PathKey(hop))
		return err
	})
	group.Go(func() (err error) {
		in.Chain, err = delegation.ResolveChain(hop, func(key types.NamespacedName) (*v1alpha1.DelegationHop, error) {
			return g.FindHop(ctx, key)
		})
		if err != nil {
			return fmt.Errorf("resolving the chain of hop %s: %w", delegation.HopKey(hop), err)
		}
		return nil
	})
	if err := group.Wait(); err != nil {
		return delegation.Input{}, err
	}
	return in, nil
}

// Hop gathers what the verdict on a hop depends on. It fails only where objects could not be read; a question that
// could not be answered is an answer, Undetermined.
func (g *Gatherer) Hop(ctx context.Context, hop *v1alpha1.DelegationHop, now time.Time) (delegation.Input, error) {
	freeze := make(chan delegation.Freeze, 1)
	go func() { freeze <- g.Freeze(ctx) }()
	in, err := g.Chain(ctx, hop, now)
	if err != nil {
		return delegation.Input{}, err
	}
	if delegation.HasEnded(in) {
		return in, nil // a final fact needs no other, and must not wait for any
	}
	in.Facts.Freeze, in.Facts.FloorGap = <-freeze, g.floorGap(ctx)
	g.authority(ctx, hop, &in)
	in.Facts.TokenName = g.tokenName(ctx, hop)
	if in.Facts.Made, err = g.made(ctx, hop); err != nil {
		return delegation.Input{}, err
	}
	in.Facts.Ceiling = g.ceiling(ctx, hop, in)
	in.Facts.GoneNamespace = g.goneNamespace(ctx, in)
	in.Facts.Foreign = g.foreign(ctx, hop, in)
	if g.Isolation != nil {
		in.Facts.Isolation = g.Isolation.Of(ctx, hop)
	}
	in.Facts.HopNamespace = g.hopNamespace(ctx, hop.Namespace)
	return in, nil
}

// authority asks on whose rights a hop rests, of all of them at the same time: a gate waits for the answers.
func (g *Gatherer) authority(ctx context.Context, hop *v1alpha1.DelegationHop, in *delegation.Input) {
	var group errgroup.Group
	knows := delegation.AsksToKnowPath(*in) // each question writes its own answers, and reads no other one
	if path := in.Path; path != nil {
		group.Go(func() error {
			in.Facts.OriginAccount = g.account(ctx, path.Spec.Origin)
			if g.RefuseUnbounded {
				in.Facts.Unbounded = g.unbounded(ctx, path.Spec.Origin)
			}
			in.Facts.Origin = g.origin(ctx, path)
			in.Facts.TokenSecrets = g.tokenSecrets(ctx, path, in.Facts.Origin)
			return nil
		})
		group.Go(func() error { g.approval(ctx, in, false); return nil })
	}
	group.Go(func() error { g.authors(ctx, in, knows); return nil })
	group.Go(func() error { in.Facts.Secrets = g.secrets(ctx, hop); return nil })
	_ = group.Wait() // each question has an answer of its own
}

// ToBeAdmitted gathers what the verdict on a hop in a request depends on. Who may not delegate on its path must not learn by
// the answer what has ended, so that is asked whatever else is known.
func (g *Gatherer) ToBeAdmitted(ctx context.Context, hop *v1alpha1.DelegationHop, now time.Time) (delegation.Input, error) {
	in, err := g.admitting().Hop(ctx, hop, now)
	if err == nil && delegation.HasEnded(in) {
		g.authors(ctx, &in, delegation.AsksToKnowPath(in))
	}
	return in, err
}

// made are the names of the hops that the identity of a hop made.
func (g *Gatherer) made(ctx context.Context, hop *v1alpha1.DelegationHop) ([]string, error) {
	if hop.Spec.Delegation == nil {
		return nil, nil
	}
	below, err := Hops{Reader: g.Cache}.Below(ctx, delegation.HopKey(hop))
	if err != nil {
		return nil, err
	}
	var names []string
	for _, child := range below {
		if delegation.MadeBy(hop, child) && child.Status.ParentUID == string(hop.UID) {
			names = append(names, child.Name)
		}
	}
	slices.Sort(names)
	return names[:min(len(names), maxMade)], nil
}

// authors asks about the authors of a chain, and whether that of its last hop may know whether the path exists.
func (g *Gatherer) authors(ctx context.Context, in *delegation.Input, knows bool) {
	hop := in.Chain.Last()
	if in.Path != nil {
		for _, h := range in.Chain.Hops {
			in.Facts.Authors = append(in.Facts.Authors, g.author(ctx, h, in.Path))
			in.Facts.AuthorAccounts = append(in.Facts.AuthorAccounts, g.account(ctx, h.Spec.Author))
		}
	}
	if knows {
		in.Facts.KnowsPath = g.knowsPath(ctx, *hop.Spec.Author, delegation.PathKey(hop))
	}
}

// Below counts the levels of hops below a hop, for its admission.
func (g *Gatherer) Below(ctx context.Context, hop types.NamespacedName) (int, error) {
	return Hops{Reader: g.Cache}.LevelsBelow(ctx, hop)
}

// FindHop finds a hop; nil means that there is none.
func (g *Gatherer) FindHop(ctx context.Context, key types.NamespacedName) (*v1alpha1.DelegationHop, error) {
	hop := &v1alpha1.DelegationHop{}
	if err := g.find(ctx, key, hop); apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // nil is the answer "there is none"; the error is kept for "not found out"
	} else if err != nil {
		return nil, err
	}
	return hop, nil
}

// FindPath finds a path; nil means that there is none.
func (g *Gatherer) FindPath(ctx context.Context, key types.NamespacedName) (*v1alpha1.DelegationPath, error) {
	path := &v1alpha1.DelegationPath{}
	if err := g.find(ctx, key, path); apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // nil is the answer "there is none"
	} else if err != nil {
		return nil, fmt.Errorf("reading path %s: %w", key, err)
	}
	return path, nil
}

// find reads from the cache, and asks the API server for what the cache does not hold: it may only not hold it yet.
func (g *Gatherer) find(ctx context.Context, key types.NamespacedName, into client.Object) error {
	if !g.fresh {
		if err := g.Cache.Get(ctx, key, into); !apierrors.IsNotFound(err) {
			return restored(into, err)
		}
	}
	return restored(into, g.Live.Get(ctx, key, into))
}

// restored has an object say what it did before it was restored from a backup.
func restored(o client.Object, err error) error {
	switch o := o.(type) {
	case *v1alpha1.DelegationHop:
		delegation.RestoreHop(o)
	case *v1alpha1.DelegationPath:
		delegation.RestorePath(o)
	}
	return err
}

// Freeze reads what is frozen.
func (g *Gatherer) Freeze(ctx context.Context) delegation.Freeze {
	if g.Frozen {
		return delegation.Freeze{Everything: true, ByFlag: true}
	}
	from := g.Cache
	if g.fresh {
		from = g.Live
	}
	frozen := &corev1.ConfigMap{}
	err := from.Get(ctx, types.NamespacedName{Namespace: g.OperatorNamespace, Name: delegation.FreezeName}, frozen)
	switch {
	case apierrors.IsNotFound(err):
		return delegation.Freeze{}
	case err != nil:
		return delegation.Freeze{Unknown: delegation.APIMessage(err, "there was no answer")}
	}
	return delegation.FreezeOf(frozen.Data)
}

func (g *Gatherer) floorGap(ctx context.Context) string {
	if g.FloorGaps == nil {
		return ""
	}
	return g.FloorGaps(ctx)
}

func (g *Gatherer) origin(ctx context.Context, path *v1alpha1.DelegationPath) delegation.Answer {
	if path.Spec.Origin == nil {
		return delegation.Answer{Outcome: delegation.Deny}
	}
	set, problems := scope.Parse(path.Spec.Scope)
	if len(problems) > 0 {
		return delegation.Answer{Detail: "the scope cannot be parsed"}
	}
	return g.May(ctx, *path.Spec.Origin, set)
}

// secrets answers whether the author of a hop may get the Secrets that it lists.
func (g *Gatherer) secrets(ctx context.Context, hop *v1alpha1.DelegationHop) delegation.Answer {
	if !delegation.AsksForSecrets(hop) {
		return delegation.Answer{}
	}
	set, problems := scope.Parse(v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{
		Namespaces: []string{hop.Namespace}, Rules: []v1alpha1.ResourceRule{{
			APIGroups: []string{""}, Resources: []string{"secrets"}, ResourceNames: hop.Spec.Workload.Secrets, Verbs: []string{"get"},
		}},
	}}})
	if len(problems) > 0 {
		return delegation.Answer{Detail: "the Secrets cannot be named"}
	}
	return g.May(ctx, *hop.Spec.Author, set)
}

// author answers whether a hop's author may delegate on the path: its origin may, and every holder of the verb.
func (g *Gatherer) author(ctx context.Context, hop *v1alpha1.DelegationHop, path *v1alpha1.DelegationPath) delegation.Answer {
	author, origin := hop.Spec.Author, path.Spec.Origin
	if author == nil || origin == nil || delegation.IsHopAccount(author.User) { // who is judged by its own hop
		return delegation.Answer{Outcome: delegation.Deny}
	}
	if author.User == origin.User {
		return delegation.Answer{Outcome: delegation.Allow}
	}
	return g.May(ctx, *author, virtual(v1alpha1.VerbDelegate, "delegationpaths", path.Namespace, path.Name))
}

// knowsPath answers whether a user may know that a path does not exist: who may add hops to it, read it, or create it.
func (g *Gatherer) knowsPath(ctx context.Context, who v1alpha1.Subject, path types.NamespacedName) delegation.Answer {
	var answer delegation.Answer
	for verb, name := range map[string]string{v1alpha1.VerbDelegate: path.Name, "get": path.Name, "create": ""} {
		one := g.May(ctx, who, virtual(verb, "delegationpaths", path.Namespace, name))
		if one.Outcome == delegation.Allow {
			return one
		}
		if answer.Detail == "" { // a question without an answer says more than a no
			answer = one
		}
	}
	return answer
}

// MayUse answers whether a user may create workloads that declare a hop.
func (g *Gatherer) MayUse(ctx context.Context, who v1alpha1.Subject, hop types.NamespacedName) delegation.Answer {
	return g.May(ctx, who, virtual(v1alpha1.VerbUse, "delegationhops", hop.Namespace, hop.Name))
}

// StillMayUse answers what MayUse does by the API server's own authorizers alone, not from the cache.
func (g *Gatherer) StillMayUse(ctx context.Context, who v1alpha1.Subject, hop types.NamespacedName) delegation.Answer {
	return g.review(ctx, who, virtual(v1alpha1.VerbUse, "delegationhops", hop.Namespace, hop.Name).Permissions())
}

// InEffect answers whether the API server lets an account do what it was granted: one permission of each namespace is asked
// about, since a binding takes effect as a whole.
func (g *Gatherer) InEffect(ctx context.Context, account types.NamespacedName, granted scope.Set) delegation.Answer {
	var questions []scope.Permission
	asked := map[string]bool{}
	for _, p := range granted.Permissions() {
		if p.Audience == "" && !asked[p.Namespace] {
			asked[p.Namespace] = true
			questions = append(questions, p)
		}
	}
	return g.review(ctx, v1alpha1.Subject{User: rbac.ServiceAccountUser(account.Namespace, account.Name)}, questions)
}

// ceiling answers whether the controller was given what a hop asks for. Only RBAC can give it, so only RBAC is asked.
func (g *Gatherer) ceiling(ctx context.Context, hop *v1alpha1.DelegationHop, in delegation.Input) delegation.Answer {
	written, ok := delegation.WrittenScope(in)
	if !ok {
		return delegation.Answer{Outcome: delegation.Allow} // there is nothing to grant; the verdict says so itself
	}
	set, problems := scope.Parse(written)
	if len(problems) > 0 {
		return delegation.Answer{Outcome: delegation.Allow}
	}
	given, complete, err := rbac.Reader{Cache: g.Cache}.Ceiling(ctx, g.Controller, set.Namespaces())
	if err != nil {
		return delegation.Answer{Detail: fmt.Sprintf("reading the ceiling of hop %s: %v", delegation.HopKey(hop), err)}
	}
	return answerGiven(set.MissingFrom(given), complete)
}

// foreign finds what others bound to the account of a hop. Of groups, it looks at the bindings of the whole cluster, and at those where
// the hop lives and works: what a tenant elsewhere gives to everybody is theirs to give, and must cost no hop anything.
func (g *Gatherer) foreign(ctx context.Context, hop *v1alpha1.DelegationHop, in delegation.Input) delegation.Foreign {
	account := hop.Status.ServiceAccountName
	if account == "" {
		return delegation.Foreign{}
	}
	reader, f := rbac.Reader{Cache: g.Cache}, delegation.Foreign{Strict: g.ExclusiveStrict}
	written, _ := delegation.WrittenScope(in)
	// What has the name of the account where the hop has bindings is one of those, whatever became of it: it is put back.
	isOwn := func(o client.Object) bool {
		labelled := o.GetLabels()[v1alpha1.LabelHopUID] == string(hop.UID)
		return o.GetName() == account && (labelled || delegation.Binds(hop, written, o.GetNamespace()))
	}
	var err error
	if f.ByName, err = reader.ByName(ctx, rbac.ServiceAccountUser(hop.Namespace, account), isOwn); err == nil {
		f.ByGroup, err = reader.ByGroup(ctx, hop.Namespace, delegation.Places(hop, written))
	}
	if err != nil {
		f.Unknown = delegation.APIMessage(err, "there was no answer")
	}
	return f
}

// goneNamespace is a namespace that does not exist among those in which the ceiling lacks something. One that cannot be read
// counts as one that exists: then the ceiling is what is told. So does one in which the path's origin may do nothing, since
// anybody could ask for any name.
func (g *Gatherer) goneNamespace(ctx context.Context, in delegation.Input) string {
	if in.Path == nil || in.Facts.Origin.Outcome != delegation.Allow {
		return ""
	}
	path, _ := scope.Parse(in.Path.Spec.Scope)
	asked := map[string]bool{}
	for _, p := range in.Facts.Ceiling.Missing {
		if asked[p.Namespace] || !slices.Contains(path.Namespaces(), p.Namespace) {
			continue
		}
		asked[p.Namespace] = true
		namespace := &metav1.PartialObjectMetadata{}
		namespace.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
		err := g.Live.Get(ctx, client.ObjectKey{Name: p.Namespace}, namespace)
		if apierrors.IsNotFound(err) || err == nil && !namespace.DeletionTimestamp.IsZero() {
			return p.Namespace
		}
	}
	return ""
}

// hopNamespace answers whether the controller was given what it does in the namespaces of hops. Only RBAC can give it, so
// only RBAC is asked.
func (g *Gatherer) hopNamespace(ctx context.Context, namespace string) delegation.Answer {
	set, problems := scope.Parse(delegation.HopNamespaceRights(namespace))
	if len(problems) > 0 {
		return delegation.Answer{Detail: "the namespace cannot be named in a scope"}
	}
	given, complete, err := rbac.Reader{Cache: g.Cache}.Bound(ctx, g.Controller, delegation.HopNamespaceRole, set.Namespaces())
	if err != nil {
		return delegation.Answer{Detail: fmt.Sprintf("reading what the controller may do in namespace %s: %v", namespace, err)}
	}
	return answerGiven(set.MissingFrom(given), complete)
}

// answerGiven answers what the controller was given: nothing is missing for certain where not all of it was read.
func answerGiven(missing []scope.Permission, complete bool) delegation.Answer {
	switch {
	case len(missing) > 0 && !complete:
		return delegation.Answer{Detail: "more roles are bound to the controller than are read for one answer"}
	case len(missing) > 0:
		return delegation.Answer{Outcome: delegation.Deny, Missing: missing}
	}
	return delegation.Answer{Outcome: delegation.Allow}
}

// virtual is the right to a verb on one object of our own kinds.
func virtual(verb, resource, namespace, name string) scope.Set {
	return scope.Of(scope.Permission{Namespace: namespace, APIGroup: v1alpha1.GroupName, Resource: resource, Verb: verb, Name: name})
}
