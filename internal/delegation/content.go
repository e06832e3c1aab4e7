package delegation

import (
	"encoding/json"
	"fmt"
	"slices"

	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// ownLabels are the keys of Labels; labels that others add do not matter.
var ownLabels = []string{
	v1alpha1.LabelHopName, v1alpha1.LabelHopNamespace, v1alpha1.LabelHopUID, v1alpha1.LabelPathUID, v1alpha1.LabelIncarnation,
}

// RoleContent is the comparable form of a role's rules.
func RoleContent(rules []rbacv1.PolicyRule) string { return content(rules) }

// BindingContent is the comparable form of a binding.
func BindingContent(ref rbacv1.RoleRef, subjects []rbacv1.Subject) string {
	return content(struct {
		Ref      rbacv1.RoleRef
		Subjects []rbacv1.Subject
	}{ref, subjects})
}

// AccountContent is the comparable form of how a hop's account was created. Owners are the UIDs of its owners.
func AccountContent(labels map[string]string, owners []types.UID, hop types.UID, automount *bool) string {
	own := make(map[string]string, len(ownLabels))
	for _, key := range ownLabels {
		own[key] = labels[key]
	}
	return content(struct {
		Labels    map[string]string
		Owned     bool
		Automount *bool
	}{own, slices.Contains(owners, hop), automount})
}

// HasLabels says whether an object has all labels of its grant.
func HasLabels(labels, want map[string]string) bool {
	for _, key := range ownLabels {
		if labels[key] != want[key] {
			return false
		}
	}
	return true
}

func content(v any) string {
	raw, err := json.Marshal(v)
	if err != nil { // plain structs of strings always marshal; should that change, nothing compares equal
		return fmt.Sprintf("unreadable: %v", err)
	}
	return string(raw)
}
