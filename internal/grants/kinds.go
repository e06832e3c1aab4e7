package grants

import (
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	rbacac "k8s.io/client-go/applyconfigurations/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/wayleave/wayleave/internal/delegation"
)

// kind is what this package knows about one kind of object of a grant.
type kind struct {
	kind delegation.Kind
	// empty is an object of the kind with name and namespace alone.
	empty func(metav1.ObjectMeta) client.Object
	// list is an empty list; nil for Secrets, which are read by name: listing and watching them is to be able to read all.
	list func() client.ObjectList
	// content is what an object says, as a plan compares it.
	content func(o client.Object, hop types.UID) string
	// changed is the field of an object whose content is not as its grant says.
	changed func(client.Object, delegation.Grant) fieldpath.Path
	// apply is how an object of a grant is applied; nil for Secrets, which are created.
	apply func(g delegation.Grant, o delegation.Object) runtime.ApplyConfiguration
}

// kinds are the kinds of a grant.
var kinds = []kind{
	{
		kind:  delegation.ServiceAccount,
		empty: func(m metav1.ObjectMeta) client.Object { return &corev1.ServiceAccount{ObjectMeta: m} },
		list:  func() client.ObjectList { return &corev1.ServiceAccountList{} },
		content: func(o client.Object, hop types.UID) string {
			return delegation.AccountContent(isOwnedBy(o, hop), as[*corev1.ServiceAccount](o).AutomountServiceAccountToken)
		},
		changed: changedAccount,
		apply:   applyAccount,
	},
	{
		kind:    delegation.Secret,
		empty:   func(m metav1.ObjectMeta) client.Object { return &corev1.Secret{ObjectMeta: m} },
		content: secretContent,
		changed: changedSecret,
	},
	{
		kind:  delegation.Role,
		empty: func(m metav1.ObjectMeta) client.Object { return &rbacv1.Role{ObjectMeta: m} },
		list:  func() client.ObjectList { return &rbacv1.RoleList{} },
		content: func(o client.Object, _ types.UID) string {
			return delegation.RoleContent(as[*rbacv1.Role](o).Rules)
		},
		changed: always("rules"),
		apply: func(g delegation.Grant, o delegation.Object) runtime.ApplyConfiguration {
			return rbacac.Role(o.Key.Name, o.Key.Namespace).WithLabels(g.Labels).WithRules(rules(g.Rules[o.Key.Namespace])...)
		},
	},
	{
		kind:  delegation.RoleBinding,
		empty: func(m metav1.ObjectMeta) client.Object { return &rbacv1.RoleBinding{ObjectMeta: m} },
		list:  func() client.ObjectList { return &rbacv1.RoleBindingList{} },
		content: func(o client.Object, _ types.UID) string {
			binding := as[*rbacv1.RoleBinding](o)
			return delegation.BindingContent(binding.RoleRef, binding.Subjects)
		},
		changed: always("subjects"),
		apply: func(g delegation.Grant, o delegation.Object) runtime.ApplyConfiguration {
			return rbacac.RoleBinding(o.Key.Name, o.Key.Namespace).WithLabels(g.Labels).
				WithRoleRef(roleRef(g.RoleRef(o.Key.Namespace))).WithSubjects(subjects(g.Subjects())...)
		},
	},
	{
		kind:  delegation.ClusterRole,
		empty: func(m metav1.ObjectMeta) client.Object { return &rbacv1.ClusterRole{ObjectMeta: m} },
		list:  func() client.ObjectList { return &rbacv1.ClusterRoleList{} },
		content: func(o client.Object, _ types.UID) string {
			return delegation.RoleContent(as[*rbacv1.ClusterRole](o).Rules)
		},
		changed: always("rules"),
		apply: func(g delegation.Grant, o delegation.Object) runtime.ApplyConfiguration {
			return rbacac.ClusterRole(o.Key.Name).WithLabels(g.Labels).WithRules(rules(g.Rules[""])...)
		},
	},
	{
		kind:  delegation.ClusterRoleBinding,
		empty: func(m metav1.ObjectMeta) client.Object { return &rbacv1.ClusterRoleBinding{ObjectMeta: m} },
		list:  func() client.ObjectList { return &rbacv1.ClusterRoleBindingList{} },
		content: func(o client.Object, _ types.UID) string {
			binding := as[*rbacv1.ClusterRoleBinding](o)
			return delegation.BindingContent(binding.RoleRef, binding.Subjects)
		},
		changed: always("subjects"),
		apply: func(g delegation.Grant, o delegation.Object) runtime.ApplyConfiguration {
			return rbacac.ClusterRoleBinding(o.Key.Name).WithLabels(g.Labels).
				WithRoleRef(roleRef(g.RoleRef(""))).WithSubjects(subjects(g.Subjects())...)
		},
	},
}

// WatchedTypes are the types of a grant that the cache holds.
func WatchedTypes() []client.Object {
	var watched []client.Object
	for _, k := range listed() {
		watched = append(watched, k.empty(metav1.ObjectMeta{}))
	}
	return watched
}

// listed are the kinds that can be listed.
func listed() []kind {
	var some []kind
	for _, k := range kinds {
		if k.list != nil {
			some = append(some, k)
		}
	}
	return some
}

// bindings are the kinds whose absence the API server notices at once.
func bindings() []kind {
	return []kind{kindOf(delegation.RoleBinding), kindOf(delegation.ClusterRoleBinding)}
}

func kindOf(name delegation.Kind) kind {
	for _, k := range kinds {
		if k.kind == name {
			return k
		}
	}
	return kind{}
}

// always is for kinds of which one field alone can differ.
func always(field ...any) func(client.Object, delegation.Grant) fieldpath.Path {
	return func(client.Object, delegation.Grant) fieldpath.Path { return fieldpath.MakePathOrDie(field...) }
}

// as is an object as the type that its kind lists; the zero value, which equals nothing that is desired, if it is not.
func as[T client.Object](o client.Object) T {
	typed, _ := o.(T)
	return typed
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
