package controllers

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/cache"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// waits remembers what the next try has to wait for. It is memory alone: a restart tries once more immediately.
type waits struct {
	// denied has the grants that the API server denied half way, such as one whose binding a quota or another team's policy
	// does not allow. Each try creates an identity and deletes it, and these writes would requeue the hop immediately.
	denied *cache.Expiring
	// written has the objects that were put back, so that one which differs again is not put back at the speed of whoever
	// changes it.
	written *cache.Expiring
	// overwritten has the hops of which a part is changed again and again. It outlasts the next try: without that, such a
	// hop would be ready for a moment each time.
	overwritten *cache.Expiring
	// refused has the Jobs that were suspended since their pods may not start, so that one which somebody resumes at once is not
	// suspended at the same speed.
	refused *cache.Expiring
	// resuming has the hops whose Jobs are to be resumed once a superseded pod is gone.
	resuming *cache.Expiring
}

func newWaits() waits {
	return waits{
		denied: cache.NewExpiring(), written: cache.NewExpiring(), overwritten: cache.NewExpiring(),
		refused: cache.NewExpiring(), resuming: cache.NewExpiring(),
	}
}

// attempt is a grant as it was tried. A change of the hop is another one.
type attempt struct {
	hop        types.UID
	generation int64
}

// deny has the grant of a hop wait.
func (w waits) deny(hop *v1alpha1.DelegationHop, why delegation.Finding) {
	w.denied.Set(attempt{hop.UID, hop.Generation}, &why, delegation.DeniedRetry)
}

// denial is what the grant of a hop waits for; nil if it is time to try.
func (w waits) denial(hop *v1alpha1.DelegationHop) *delegation.Finding {
	return findingIn(w.denied, attempt{hop.UID, hop.Generation})
}

// part is an object of a hop's grant.
type part struct {
	hop  types.UID
	kind delegation.Kind
	key  types.NamespacedName
}

// written is what an object said when it was last put back, and how what the API server stored differs.
type written struct {
	content string
	differs *delegation.Finding
}

// wrote remembers that an object was written, and how what the API server stored differs; nil where it does not. Only
// where the identity existed before was the object put back.
func (w waits) wrote(hop types.UID, o delegation.Object, differs *delegation.Finding, putBack bool) {
	if putBack {
		w.written.Set(part{hop, o.Kind, o.Key}, written{o.Content, differs}, delegation.DeniedRetry)
	}
	if differs != nil {
		w.overwrite(hop, *differs)
	}
}

// removed forgets objects that were removed because the hop does not need them now: when they are made again, they are not put
// back.
func (w waits) removed(hop types.UID, objects []delegation.Object) {
	for _, o := range objects {
		w.written.Delete(part{hop, o.Kind, o.Key})
	}
}

// wasPutBack says whether an object was put back a moment ago as it is desired now, and how what the API server stored
// differs.
func (w waits) wasPutBack(hop types.UID, o delegation.Object) (differs *delegation.Finding, yes bool) {
	value, _ := w.written.Get(part{hop, o.Kind, o.Key})
	last, yes := value.(written)
	return last.differs, yes && last.content == o.Content
}

// overwrite remembers who changes a part of a hop's grant: the first, since each other name would be another status.
func (w waits) overwrite(hop types.UID, who delegation.Finding) {
	first := w.overwriting(hop)
	if first == nil {
		first = &who
	}
	w.overwritten.Set(hop, first, 2*delegation.DeniedRetry)
}

// overwriting is who changes a part of a hop's grant; nil if no one has for some time.
func (w waits) overwriting(hop types.UID) *delegation.Finding { return findingIn(w.overwritten, hop) }

// finalRetry is how long a use waits that was refused for good: a queue starts its Job again each time that it is suspended.
const finalRetry = 10 * time.Minute

// refuse has a use that may not begin wait.
func (w waits) refuse(use string, why delegation.Finding) {
	after := delegation.DeniedRetry
	if why.Reason.Class() == v1alpha1.ClassFinal {
		after = finalRetry
	}
	w.refused.Set(use, &why, after)
}

// refusal is why a use was refused a moment ago; nil if it was not.
func (w waits) refusal(use string) *delegation.Finding { return findingIn(w.refused, use) }

// resumeLater remembers to resume the Jobs of a hop that were suspended with its mark.
func (w waits) resumeLater(hop types.UID) { w.resuming.Set(hop, true, time.Hour) }

func (w waits) isResumedLater(hop types.UID) bool {
	_, yes := w.resuming.Get(hop)
	return yes
}

func (w waits) resumed(hop types.UID) { w.resuming.Delete(hop) }

func findingIn(in *cache.Expiring, key any) *delegation.Finding {
	value, _ := in.Get(key)
	finding, _ := value.(*delegation.Finding)
	return finding
}
