package facts

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
	"github.com/wayleave/wayleave/internal/scope"
)

// approvedIndex is the field index of approvals by the UID of their path.
const approvedIndex = "approved-path"

// maxDecisions bounds how many decisions of a path are looked at, the latest. Whoever may approve could make as many as they like.
const maxDecisions = 64

func indexApprovals(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &v1alpha1.DelegationApproval{}, approvedIndex, func(o client.Object) []string {
		approval, ok := o.(*v1alpha1.DelegationApproval)
		if !ok {
			return nil
		}
		return []string{approval.Spec.Path.UID}
	}); err != nil {
		return fmt.Errorf("indexing approvals by path: %w", err)
	}
	return nil
}

// approval finds out about the approval of a path. Approvals are asked for where the question is about the path itself: what hops rest on
// is in its status. A denial ends hops before it is there.
func (g *Gatherer) approval(ctx context.Context, in *delegation.Input, approvals bool) {
	path := in.Path
	in.Facts.Terms = g.terms(ctx, path)
	a, asks := &in.Facts.Approval, delegation.AsksForApproval(path, in.Facts.Terms)
	if g.admits {
		a.NotStored = asks
		return
	}
	if !asks { // a denial counts all the same: whoever takes the approval out of a path after it comes too late
		if a.Decisions, _ = g.decisions(ctx, path, false); len(a.Decisions) == 0 {
			return
		}
	}
	hops, err := g.hopsOf(ctx, path, in.Chain.Hops)
	if err == nil {
		a.Excluded = partOf(hops)
		covered := hops
		if delegation.Covers(path) == v1alpha1.CoversEnvelope {
			covered = nil
		}
		covered = delegation.OfPeople(covered)
		a.Newest = newest(covered)
		a.Digest, err = g.Digests.Of(ctx, path, covered)
	}
	if err == nil {
		a.Decisions, err = g.decisions(ctx, path, approvals)
	}
	if err != nil {
		a.Unknown = delegation.APIMessage(err, err.Error())
	}
}

// hopsOf are the hops of a path, with those of a chain as they were read there: the ones that name it and whose author may delegate on it.
// Whoever may create hops anywhere can make one that names the path, and must not void its approvals.
func (g *Gatherer) hopsOf(
	ctx context.Context, path *v1alpha1.DelegationPath, chain []*v1alpha1.DelegationHop,
) ([]*v1alpha1.DelegationHop, error) {
	all, err := Hops{Reader: g.Cache}.OfPath(ctx, client.ObjectKeyFromObject(path))
	if err != nil {
		return nil, err
	}
	byUID := map[string]*v1alpha1.DelegationHop{}
	for _, hop := range append(all, chain...) {
		byUID[string(hop.UID)] = hop
	}
	d := delegators{gather: g, path: path, all: map[string]*v1alpha1.Subject{}, answers: map[string]delegation.Answer{}}
	maps.DeleteFunc(byUID, func(_ string, hop *v1alpha1.DelegationHop) bool {
		return !hop.DeletionTimestamp.IsZero() || !slices.Contains(delegation.HopNamespaces(path), hop.Namespace)
	})
	for _, hop := range byUID {
		d.add(hop.Spec.Author)
	}
	hops := make([]*v1alpha1.DelegationHop, 0, len(byUID))
	for _, uid := range slices.Sorted(maps.Keys(byUID)) { // what is said of a path must be the same each time
		hop := byUID[uid]
		if hop.Spec.Author != nil && delegation.IsHopAccount(hop.Spec.Author.User) {
			hops = append(hops, hop)
			continue
		}
		inChain := slices.ContainsFunc(chain, func(h *v1alpha1.DelegationHop) bool { return string(h.UID) == uid })
		switch answer := d.may(ctx, hop.Spec.Author, inChain); answer.Outcome {
		case delegation.Allow:
			hops = append(hops, hop)
		case delegation.Deny:
		default:
			return nil, fmt.Errorf("whether the author of hop %s may delegate: %s", delegation.HopKey(hop), answer.Detail)
		}
	}
	return hops, nil
}

// delegators answers who may delegate on a path.
type delegators struct {
	gather *Gatherer
	path   *v1alpha1.DelegationPath
	// all are the users with all the groups that any of their hops names.
	all     map[string]*v1alpha1.Subject
	answers map[string]delegation.Answer
}

func (d *delegators) add(author *v1alpha1.Subject) {
	if author == nil {
		return
	}
	if d.all[author.User] == nil {
		d.all[author.User] = &v1alpha1.Subject{User: author.User}
	}
	all := d.all[author.User]
	all.Groups = append(all.Groups, author.Groups...)
	slices.Sort(all.Groups)
	all.Groups = slices.Compact(all.Groups)
}

// may answers whether an author may delegate. One who may not with all of their groups may not with some of them: whoever may create hops
// can name their groups in as many ways as they like, and must not cost a question each time. That is asked of authors of a chain alone.
func (d *delegators) may(ctx context.Context, author *v1alpha1.Subject, alone bool) delegation.Answer {
	if author != nil && !alone {
		if answer := d.ask(ctx, d.all[author.User]); answer.Outcome == delegation.Deny {
			return answer
		}
	}
	return d.ask(ctx, author)
}

func (d *delegators) ask(ctx context.Context, author *v1alpha1.Subject) delegation.Answer {
	key := fmt.Sprintf("%+v", author)
	answer, asked := d.answers[key]
	if !asked {
		answer = d.gather.author(ctx, &v1alpha1.DelegationHop{Spec: v1alpha1.DelegationHopSpec{Author: author}}, d.path)
		d.answers[key] = answer
	}
	return answer
}

// newest is when the newest of some hops was made.
func newest(hops []*v1alpha1.DelegationHop) (at time.Time) {
	for _, hop := range hops {
		if made := hop.CreationTimestamp.Time; made.After(at) {
			at = made
		}
	}
	return at
}

// partOf are the users who are a part of what is to be approved: who made its hops, and who declared what runs under them.
func partOf(hops []*v1alpha1.DelegationHop) map[string]string {
	part := map[string]string{}
	for _, hop := range hops {
		if author := hop.Spec.Author; author != nil {
			part[delegation.Person(author.User)] = fmt.Sprintf("made hop %s of the path", delegation.HopKey(hop))
			if author.DeclaredBy != "" {
				part[delegation.Person(author.DeclaredBy)] = fmt.Sprintf("named the author of hop %s of the path", delegation.HopKey(hop))
			}
		}
		if hop.Status.Uses == nil {
			continue
		}
		for _, use := range hop.Status.Uses.Live {
			part[delegation.Person(use.By)] = fmt.Sprintf("declared what runs under hop %s of the path", delegation.HopKey(hop))
		}
	}
	return part
}

// decisions are those on a path, the latest of them, and whether who decided may. Denials come first.
func (g *Gatherer) decisions(ctx context.Context, path *v1alpha1.DelegationPath, approvals bool) ([]delegation.Decided, error) {
	var list v1alpha1.DelegationApprovalList
	of := client.MatchingFields{approvedIndex: string(path.UID)}
	if err := g.Cache.List(ctx, &list, client.InNamespace(path.Namespace), of, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing the approvals of path %s/%s: %w", path.Namespace, path.Name, err)
	}
	list.Items = slices.DeleteFunc(list.Items, func(a v1alpha1.DelegationApproval) bool { // first: none of these may take the place of another
		return a.Spec.Path.Name != path.Name || a.Spec.Approver == nil || !a.DeletionTimestamp.IsZero() || !approvals && approves(a)
	})
	slices.SortFunc(list.Items, func(a, b v1alpha1.DelegationApproval) int {
		switch {
		case approves(a) && !approves(b):
			return 1
		case approves(b) && !approves(a):
			return -1
		}
		return cmp.Or(b.CreationTimestamp.Compare(a.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	var decided []delegation.Decided
	for i := range list.Items[:min(len(list.Items), maxDecisions)] {
		a := &list.Items[i]
		decided = append(decided, delegation.Decided{
			DelegationApproval: a, MayApprove: g.MayApprove(ctx, a.Spec.Approver, client.ObjectKeyFromObject(path)),
		})
	}
	return decided, nil
}

func approves(a v1alpha1.DelegationApproval) bool {
	return a.Spec.Decision == v1alpha1.DecisionApproved
}

// MayApprove answers whether somebody may approve a path, or deny it.
func (g *Gatherer) MayApprove(ctx context.Context, who *v1alpha1.Approver, path types.NamespacedName) delegation.Answer {
	return g.May(ctx, v1alpha1.Subject{User: who.User, Groups: who.Groups},
		virtual(v1alpha1.VerbApprove, "delegationpaths", path.Namespace, path.Name))
}

// terms are what the ceilings demand that a path uses: those that give the controller a part of its scope.
func (g *Gatherer) terms(ctx context.Context, path *v1alpha1.DelegationPath) delegation.Terms {
	var terms delegation.Terms
	set, problems := scope.Parse(path.Spec.Scope)
	if len(problems) > 0 {
		return terms
	}
	if err := (rbac.Reader{Cache: g.Cache}).Ceilings(ctx, g.Controller, set, func(role string, annotations map[string]string) {
		terms.Add(role, annotations)
	}); err != nil {
		terms.Unknown = delegation.APIMessage(err, "there was no answer")
	}
	return terms
}
