package webhooks

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// stamps are the fields of an origin or author that people do not write.
var stamps = []string{"uid", "declaredBy"}

// keepStamps gives a declared origin or author the stamps that it has, where nothing else of it changes: what people and GitOps tools apply
// does not say them.
func keepStamps(declared, old any) {
	subject, ok := declared.(map[string]any)
	before, also := old.(map[string]any)
	if !ok || !also || !equality.Semantic.DeepEqual(without(subject, stamps), without(before, stamps)) {
		return
	}
	for _, field := range stamps {
		if before[field] != nil && (field == "declaredBy" || subject[field] == nil) {
			subject[field] = before[field]
		}
	}
}

// stampDeclarer names who declares an origin or author that they are not themselves: they must not approve what it begins.
func stampDeclarer(who, by string, stamped any, changed bool) {
	raw, ok := stamped.(map[string]any)
	if !ok || !changed {
		return
	}
	delete(raw, "declaredBy")
	if raw["user"] != who && by != "" {
		raw["declaredBy"] = by
	}
}

// stampUID names the ServiceAccount that an origin or author is. One that was recreated since is taken for the old one only if somebody
// applies the object anew who may act as it. What cannot be looked up now is pinned by the controller when it is found.
func (m *delegationMutator) stampUID(ctx context.Context, who v1alpha1.Subject, stamped, old any) {
	raw, ok := stamped.(map[string]any)
	if !ok {
		return
	}
	subject, err := subjectFrom(raw)
	if err != nil || !delegation.AsksForAccount(&subject) {
		return
	}
	unchanged := equality.Semantic.DeepEqual(stamped, old)
	if subject.UID != "" && !unchanged { // it is declared, or the requester's own
		return
	}
	uid := who.UID
	if who.User != subject.User || uid == "" {
		if uid, err = m.facts.AccountUID(ctx, subject.User); err != nil || uid == "" {
			return
		}
	}
	if uid == subject.UID || unchanged && !m.actsAs(ctx, who, subject) {
		return
	}
	raw["uid"] = uid
}

func (m *delegationMutator) actsAs(ctx context.Context, who, subject v1alpha1.Subject) bool {
	return isSelf(who, subject) || m.facts.MayImpersonate(ctx, who, subject).Outcome == delegation.Allow
}
