package delegation

import (
	"errors"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// HopNamespaceRole is the ClusterRole with what the controller does in the namespaces of hops. A platform team binds it
// there: held for the whole cluster, its permissions are those of an administrator, by a token of a strong account.
const HopNamespaceRole = "wayleave-hop-namespace"

// HopNamespaceRights is what the controller needs in the namespace of a hop. The ClusterRole has the same rules.
func HopNamespaceRights(namespace string) v1alpha1.Scope {
	rule := func(group, resource string, verbs ...string) v1alpha1.ResourceRule {
		return v1alpha1.ResourceRule{APIGroups: []string{group}, Resources: []string{resource}, Verbs: verbs}
	}
	return v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{Namespaces: []string{namespace}, Rules: []v1alpha1.ResourceRule{
		rule("", "serviceaccounts", "create", "patch", "delete"),
		rule("", "serviceaccounts/token", "create"),
		rule("", "secrets", "get", "create", "update", "delete"),
		rule("", "pods", "get", "patch", "delete"),
		rule("", "pods/status", "patch"),
		rule("batch", "jobs", "get", "list", "patch"),
		rule("batch", "cronjobs", "get", "patch"),
	}}}}
}

// checkHopNamespace checks that the controller may work in the namespace of the hop asked about.
func (e *evaluation) checkHopNamespace() {
	hop := e.in.Chain.Last()
	if hop == nil {
		return
	}
	e.reportAnswer(e.in.Facts.HopNamespace, Finding{
		Reason: v1alpha1.ReasonHopNamespaceNotBound, Field: "metadata.namespace",
		Message: fmt.Sprintf(
			"in namespace %q the controller may not %s: RoleBinding %s is missing there, or its ClusterRole is incomplete: "+
				"have the platform team run `kubectl create rolebinding %s --clusterrole=%s %s -n %s`",
			hop.Namespace, scope.Describe(e.in.Facts.HopNamespace.Missing), HopNamespaceRole,
			HopNamespaceRole, HopNamespaceRole, subjectFlag(e.in.Controller), hop.Namespace),
	}, "what the controller may do in namespace "+hop.Namespace)
}

// subjectFlag names a user in the way of kubectl create rolebinding.
func subjectFlag(user string) string {
	if account, ok := strings.CutPrefix(user, "system:serviceaccount:"); ok {
		return "--serviceaccount=" + account
	}
	if user == "" {
		return "--serviceaccount=" + scope.DefaultOperatorNamespace + ":wayleave-controller"
	}
	return "--user=" + user
}

// OnlyUnbound says whether a withdrawal is incomplete for the one reason that the controller may not work in the
// namespace of the hop any more. Then no retry helps until the binding exists again.
func OnlyUnbound(v Verdict, err error) bool {
	_, unbound := v.Find(v1alpha1.ReasonHopNamespaceNotBound)
	return unbound && allForbidden(err)
}

// severalErrors is an error of errors.Join.
type severalErrors interface {
	error
	Unwrap() []error
}

func allForbidden(err error) bool {
	if several, ok := errors.AsType[severalErrors](err); ok {
		for _, e := range several.Unwrap() {
			if !allForbidden(e) {
				return false
			}
		}
		return true
	}
	return apierrors.IsForbidden(err)
}

// leftBehind says what a withdrawal leaves in a namespace in which the controller may not work any more, and why.
func leftBehind(status *v1alpha1.DelegationHopStatus, v Verdict) string {
	left := "ServiceAccount " + status.ServiceAccountName
	if c := status.Credential; c != nil {
		left += ", Secret " + c.SecretName
	}
	f, _ := v.Find(v1alpha1.ReasonHopNamespaceNotBound)
	f.Message = fmt.Sprintf("the rights are withdrawn; left are %s, and the Jobs and pods of the hop: %s", left, f.Message)
	return f.BoundedString()
}
