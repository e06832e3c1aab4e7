package delegation

import (
	"encoding/json"
	"fmt"

	rbacv1 "k8s.io/api/rbac/v1"

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

// AccountContent is the comparable form of a hop's account. Owned says whether the hop is among its owners.
func AccountContent(owned bool, automount *bool) string {
	return content(struct {
		Owned     bool
		Automount *bool
	}{owned, automount})
}

// DifferentLabels are the keys of those labels of a grant that an object does not have, or has with another value.
func DifferentLabels(labels, want map[string]string) []string {
	var keys []string
	for _, key := range ownLabels {
		if labels[key] != want[key] {
			keys = append(keys, key)
		}
	}
	return keys
}

func content(v any) string {
	raw, err := json.Marshal(v)
	if err != nil { // plain structs of strings always marshal; should that change, nothing compares equal
		return fmt.Sprintf("unreadable: %v", err)
	}
	return string(raw)
}
