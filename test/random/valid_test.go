//go:build unix

package random

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Whether a hop is valid, as docs/concepts.md has it: written a second time, for what this package drives.

// judge says of each hop why it is invalid; empty where it is valid.
func (c *checker) judge(ctx context.Context, v *view) (map[string]string, error) {
	why := map[string]string{}
	asked := map[string]bool{}
	may := func(user string, groups []string, q question) (bool, error) {
		key := user + " " + strings.Join(groups, ",") + " " + q.group + " " + q.String()
		if answer, ok := asked[key]; ok {
			return answer, nil
		}
		c.questions++
		answer, err := c.may(ctx, user, append([]string{"system:authenticated"}, groups...), q)
		asked[key] = answer
		return answer, err
	}
	for key, hop := range v.hops {
		reason, err := v.invalid(hop, time.Now(), may)
		if err != nil {
			return nil, err
		}
		why[key] = reason
	}
	return why, nil
}

type asks func(user string, groups []string, q question) (bool, error)

// invalid says why a hop is invalid.
func (v *view) invalid(hop *v1alpha1.DelegationHop, now time.Time, may asks) (string, error) {
	path := v.paths[keyOf(hop.Spec.PathRef, hop.Namespace)]
	if why := pathEnded(path, now); why != "" {
		return why, nil
	}
	chain, why := v.chainOf(hop)
	if why != "" {
		return why, nil
	}
	if len(chain) > int(path.Spec.Hops.MaxDepth) {
		return fmt.Sprintf("depth %d", len(chain)), nil
	}
	above, lifetimes := path.Spec.Scope, []*v1alpha1.Lifetime{&path.Spec.Lifetime}
	for _, h := range chain {
		if why := hopEnded(h, path, now, lifetimes); why != "" {
			return "hop " + h.Name + ": " + why, nil
		}
		own := v.scopeOf(h)
		if missing := beyond(own, above); missing != "" {
			return "hop " + h.Name + " exceeds what is above it: " + missing, nil
		}
		if ok, err := mayDelegate(h, path, may); err != nil || !ok {
			return "hop " + h.Name + ": its author may not delegate", err
		}
		above, lifetimes = own, append(lifetimes, h.Spec.Lifetime)
	}
	if why := v.beyondCeiling(hop, above); why != "" {
		return why, nil
	}
	for _, q := range questionsOf(path.Spec.Scope) {
		if ok, err := may(path.Spec.Origin.User, path.Spec.Origin.Groups, q); err != nil || !ok {
			return fmt.Sprintf("its origin %s may not %s", path.Spec.Origin.User, q), err
		}
	}
	return "", nil
}

func keyOf(ref v1alpha1.ObjectRef, namespace string) string {
	if ref.Namespace != "" {
		namespace = ref.Namespace
	}
	return namespace + "/" + ref.Name
}

func pathEnded(p *v1alpha1.DelegationPath, now time.Time) string {
	switch {
	case p == nil || !p.DeletionTimestamp.IsZero():
		return "its path does not exist"
	case p.Spec.Revoked != nil:
		return "its path is revoked"
	case p.Spec.Suspend != nil && *p.Spec.Suspend:
		return "its path is suspended"
	case p.Spec.Origin == nil:
		return "its path has no origin"
	case passed(&p.Spec.Lifetime, p.Status.ActiveSince, p.Status.ExpiresAt, now):
		return "its path has expired"
	}
	return ""
}

// passed says whether a lifetime is over, by what it says, or by what was recorded when it began.
func passed(l *v1alpha1.Lifetime, since, recorded *metav1.Time, now time.Time) bool {
	if recorded != nil && !now.Before(recorded.Time) {
		return true
	}
	if l == nil {
		return false
	}
	if l.NotAfter != nil && !now.Before(l.NotAfter.Time) {
		return true
	}
	return l.Duration != nil && since != nil && !now.Before(since.Add(l.Duration.Duration))
}

// chainOf is the hops from the first one to a hop, each pinned to the one above it.
func (v *view) chainOf(hop *v1alpha1.DelegationHop) (chain []*v1alpha1.DelegationHop, why string) {
	chain = []*v1alpha1.DelegationHop{hop}
	for h := hop; h.Spec.ParentRef != nil; {
		parent := v.hops[keyOf(*h.Spec.ParentRef, h.Namespace)]
		switch {
		case len(chain) > hops:
			return nil, "its chain has no beginning"
		case parent == nil || !parent.DeletionTimestamp.IsZero():
			return nil, "its parent " + h.Spec.ParentRef.Name + " does not exist"
		case h.Status.ParentUID != "" && h.Status.ParentUID != string(parent.UID):
			return nil, "its parent " + parent.Name + " is another one than at first"
		case keyOf(parent.Spec.PathRef, parent.Namespace) != keyOf(h.Spec.PathRef, h.Namespace):
			return nil, "its parent " + parent.Name + " is on another path"
		}
		chain, h = append(chain, parent), parent
	}
	slices.Reverse(chain)
	return chain, ""
}

// hopEnded says why a hop of a chain authorizes nothing by itself.
func hopEnded(h *v1alpha1.DelegationHop, p *v1alpha1.DelegationPath, now time.Time, above []*v1alpha1.Lifetime) string {
	allowed := p.Spec.Hops.Namespaces
	if len(allowed) == 0 {
		allowed = []string{p.Namespace}
	}
	switch {
	case !h.DeletionTimestamp.IsZero():
		return "it is being deleted"
	case h.Spec.Revoked != nil:
		return "it is revoked"
	case h.Status.Ended != nil:
		return "it has ended: " + string(h.Status.Ended.Reason)
	case h.Status.PathUID != "" && h.Status.PathUID != string(p.UID):
		return "the path is another one than at first"
	case !slices.Contains(allowed, h.Namespace):
		return "the path allows no hop in its namespace"
	case passed(h.Spec.Lifetime, h.Status.ActiveSince, h.Status.ExpiresAt, now):
		return "it has expired"
	}
	for _, l := range above {
		own := h.Spec.Lifetime
		if own != nil && own.Duration != nil && l != nil && l.Duration != nil && own.Duration.Duration > l.Duration.Duration {
			return "it is to live longer than what is above it"
		}
	}
	return ""
}

func mayDelegate(h *v1alpha1.DelegationHop, p *v1alpha1.DelegationPath, may asks) (bool, error) {
	switch {
	case h.Spec.Author == nil:
		return false, nil
	case h.Spec.Author.User == p.Spec.Origin.User:
		return true, nil
	}
	return may(h.Spec.Author.User, h.Spec.Author.Groups,
		question{namespace: p.Namespace, group: v1alpha1.GroupName, resource: "delegationpaths", verb: "delegate"})
}

// scopeOf is what a hop says that it may do.
func (v *view) scopeOf(h *v1alpha1.DelegationHop) v1alpha1.Scope {
	for range hops {
		switch {
		case h == nil:
			return v1alpha1.Scope{}
		case h.Spec.Scope != nil:
			return *h.Spec.Scope
		case h.Spec.ParentRef != nil:
			h = v.hops[keyOf(*h.Spec.ParentRef, h.Namespace)]
			continue
		}
		if p := v.paths[keyOf(h.Spec.PathRef, h.Namespace)]; p != nil {
			return p.Spec.Scope
		}
		break
	}
	return v1alpha1.Scope{}
}

// questionsOf are a scope's permissions, one by one.
func questionsOf(s v1alpha1.Scope) []question {
	var all []question
	for _, in := range s.Namespaced {
		for _, ns := range in.Namespaces {
			for _, r := range in.Rules {
				for _, resource := range r.Resources {
					for _, verb := range r.Verbs {
						all = append(all, question{namespace: ns, group: r.APIGroups[0], resource: resource, verb: verb})
					}
				}
			}
		}
	}
	return all
}

func covers(s v1alpha1.Scope, q question) bool {
	return slices.ContainsFunc(questionsOf(s), func(a question) bool {
		a.account = q.account
		return a == q
	})
}

// beyond is what a scope has that the one above has not.
func beyond(s, above v1alpha1.Scope) string {
	for _, q := range questionsOf(s) {
		if !covers(above, q) {
			return q.String()
		}
	}
	return ""
}

// beyondCeiling says what of a hop the controller may not grant, or that it may not work where the hop is.
func (v *view) beyondCeiling(hop *v1alpha1.DelegationHop, s v1alpha1.Scope) string {
	if !slices.ContainsFunc(v.bindings, func(b rbacv1.RoleBinding) bool {
		return b.Namespace == hop.Namespace && b.RoleRef.Name == "wayleave-hop-namespace"
	}) {
		return "its namespace is not bound"
	}
	for _, q := range questionsOf(s) {
		if !slices.ContainsFunc(v.bindings, func(b rbacv1.RoleBinding) bool {
			return b.Namespace == q.namespace && b.RoleRef.Kind == "ClusterRole" && slices.ContainsFunc(v.ceilings[b.RoleRef.Name].Rules,
				func(r rbacv1.PolicyRule) bool {
					return slices.Contains(r.APIGroups, q.group) && slices.Contains(r.Resources, q.resource) && slices.Contains(r.Verbs, q.verb)
				})
		}) {
			return "the ceiling does not allow to " + q.String()
		}
	}
	return ""
}

func ownedBy(uid types.UID) func(metav1.OwnerReference) bool {
	return func(o metav1.OwnerReference) bool { return o.UID == uid }
}
