// Package rbac reads the permissions of a subject from the RBAC objects in the informer cache.
package rbac

import (
	"context"
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// SubjectIndex is the field index of bindings by the subjects that they name.
const SubjectIndex = "subject"

// Index adds the indexes that a Reader needs.
func Index(ctx context.Context, indexer client.FieldIndexer) error {
	if err := indexer.IndexField(ctx, &rbacv1.RoleBinding{}, SubjectIndex, func(o client.Object) []string {
		binding, ok := o.(*rbacv1.RoleBinding)
		if !ok {
			return nil
		}
		return subjectKeys(binding.Subjects, binding.Namespace)
	}); err != nil {
		return fmt.Errorf("indexing RoleBindings by subject: %w", err)
	}
	if err := indexer.IndexField(ctx, &rbacv1.ClusterRoleBinding{}, SubjectIndex, func(o client.Object) []string {
		binding, ok := o.(*rbacv1.ClusterRoleBinding)
		if !ok {
			return nil
		}
		return subjectKeys(binding.Subjects, "")
	}); err != nil {
		return fmt.Errorf("indexing ClusterRoleBindings by subject: %w", err)
	}
	return indexRoles(ctx, indexer)
}

// Reader reads rights from a cache that has the indexes of Index.
type Reader struct {
	Cache client.Reader
}

// Of returns what RBAC allows a subject in some namespaces and on the cluster, by all bindings and all forms in which they
// can name it. Other authorizers may allow more. It is incomplete where reading it all would cost too much.
func (r Reader) Of(ctx context.Context, s v1alpha1.Subject, namespaces []string) (rights scope.Rights, complete bool, err error) {
	return r.collect(ctx, Keys(s), namespaces, func(*rbacv1.ClusterRole) bool { return true })
}

// Ceiling returns what the controller, a user name, may grant in some namespaces and on the cluster: the rules of the
// ClusterRoles labelled as a ceiling, where they are bound to it. Its other permissions do not count. It is incomplete
// where reading it all would cost too much.
func (r Reader) Ceiling(ctx context.Context, controller string, namespaces []string) (rights scope.Rights, complete bool, err error) {
	return r.collect(ctx, Keys(v1alpha1.Subject{User: controller}), namespaces, func(role *rbacv1.ClusterRole) bool {
		return role != nil && IsCeiling(role)
	})
}

// Bound returns what one ClusterRole gives a user, where it is bound to that user. Other permissions do not count.
func (r Reader) Bound(
	ctx context.Context, user, role string, namespaces []string,
) (rights scope.Rights, complete bool, err error) {
	return r.collect(ctx, Keys(v1alpha1.Subject{User: user}), namespaces, func(c *rbacv1.ClusterRole) bool {
		return c != nil && c.Name == role
	})
}

// IsCeiling reports whether an object has the label of a ceiling.
func IsCeiling(o client.Object) bool { return o.GetLabels()[v1alpha1.LabelCeiling] == "true" }

func ignoreNotFound(err error, ref rbacv1.RoleRef) error {
	if err == nil || apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("reading %s %q: %w", ref.Kind, ref.Name, err)
}

const serviceAccountPrefix = "system:serviceaccount:"

// ServiceAccountUser is the user name of a ServiceAccount.
func ServiceAccountUser(namespace, name string) string {
	return serviceAccountPrefix + namespace + ":" + name
}

// ServiceAccountOf parses the user name of a ServiceAccount.
func ServiceAccountOf(user string) (types.NamespacedName, bool) {
	rest, ok := strings.CutPrefix(user, serviceAccountPrefix)
	if !ok {
		return types.NamespacedName{}, false
	}
	namespace, name, ok := strings.Cut(rest, ":")
	valid := ok && namespace != "" && name != "" && !strings.Contains(name, ":")
	return types.NamespacedName{Namespace: namespace, Name: name}, valid
}

// Groups returns all groups of a subject: those that it lists, and those that its name implies.
func Groups(s v1alpha1.Subject) []string {
	groups := slices.Clone(s.Groups)
	if s.User != "system:anonymous" {
		groups = append(groups, "system:authenticated")
	}
	if account, ok := ServiceAccountOf(s.User); ok {
		groups = append(groups, "system:serviceaccounts", "system:serviceaccounts:"+account.Namespace)
	}
	return groups
}

// Implied reports whether a group follows from the name of a user and is therefore never listed.
func Implied(group string) bool {
	return group == "system:authenticated" || group == "system:unauthenticated" ||
		group == "system:serviceaccounts" || strings.HasPrefix(group, "system:serviceaccounts:")
}

// Keys are the index keys under which bindings can name a subject: its user name and all of its groups.
func Keys(s v1alpha1.Subject) []string {
	keys := []string{UserKey(s.User)}
	for _, group := range Groups(s) {
		keys = append(keys, groupKey(group))
	}
	return keys
}

// UserKey is the index key of a user name.
func UserKey(user string) string { return "user/" + user }

func groupKey(group string) string { return groupPrefix + group }

const groupPrefix = "group/"

// IsGroupKey says whether an index key is that of a group.
func IsGroupKey(key string) bool { return strings.HasPrefix(key, groupPrefix) }

// subjectKeys returns the index keys of a binding's subjects. A ServiceAccount can be named as such or by its user
// name, with one key for both; without a namespace it is in the binding's namespace.
func subjectKeys(subjects []rbacv1.Subject, namespace string) []string {
	var keys []string
	for _, s := range subjects {
		switch s.Kind {
		case rbacv1.UserKind:
			keys = append(keys, UserKey(s.Name))
		case rbacv1.GroupKind:
			keys = append(keys, groupKey(s.Name))
		case rbacv1.ServiceAccountKind:
			in := s.Namespace
			if in == "" {
				in = namespace
			}
			keys = append(keys, UserKey(ServiceAccountUser(in, s.Name)))
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// UsersNamed are the user names that a binding in a namespace names, as users and as ServiceAccounts.
func UsersNamed(subjects []rbacv1.Subject, namespace string) []string {
	var users []string
	for _, key := range subjectKeys(subjects, namespace) {
		if user, ok := strings.CutPrefix(key, UserKey("")); ok {
			users = append(users, user)
		}
	}
	return users
}

// Names reports whether a binding in a namespace names the user as a subject, other than through a group.
func Names(subjects []rbacv1.Subject, namespace, user string) bool {
	return slices.Contains(subjectKeys(subjects, namespace), UserKey(user))
}
