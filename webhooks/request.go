package webhooks

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
)

// hopFacts finds a hop, and gathers what the verdict on it depends on.
type hopFacts interface {
	FindHop(ctx context.Context, key types.NamespacedName) (*v1alpha1.DelegationHop, error)
	Hop(ctx context.Context, hop *v1alpha1.DelegationHop, now time.Time) (delegation.Input, error)
}

// impersonation answers whether the requester may act as another subject.
type impersonation interface {
	MayImpersonate(ctx context.Context, who, subject v1alpha1.Subject) delegation.Answer
	AccountUID(ctx context.Context, user string) (string, error)
}

// requester is the subject that makes a request, without the groups that its name implies.
func requester(user authenticationv1.UserInfo) v1alpha1.Subject {
	s := v1alpha1.Subject{User: user.Username}
	for _, group := range user.Groups {
		if !rbac.Implied(group) && !slices.Contains(s.Groups, group) {
			s.Groups = append(s.Groups, group)
		}
	}
	return s
}

// isSelf says whether a subject claims nothing that the requester is not anyway.
func isSelf(who, subject v1alpha1.Subject) bool {
	return subject.User == who.User && len(foreignGroups(subject, rbac.Groups(who))) == 0
}

// foreignGroups are the groups that a subject claims beyond some. A group such as system:serviceaccounts:<namespace>
// belongs only to the accounts whose name implies it.
func foreignGroups(subject v1alpha1.Subject, own []string) []string {
	return slices.DeleteFunc(slices.Clone(subject.Groups), func(group string) bool { return slices.Contains(own, group) })
}

func isUpdate(req admission.Request) bool { return req.Operation == admissionv1.Update }

func isDryRun(req admission.Request) bool { return req.DryRun != nil && *req.DryRun }

// hopKey is the key of a hop that a workload in the request names.
func hopKey(req admission.Request, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: req.Namespace, Name: name}
}

// objectNames are the name of the object in a request, and the beginning of the name that it gets where it has none.
func objectNames(req admission.Request) (name, generateName string) {
	if req.Name != "" {
		return req.Name, ""
	}
	var meta metav1.PartialObjectMetadata
	if err := json.Unmarshal(req.Object.Raw, &meta); err != nil {
		return "", ""
	}
	return meta.Name, meta.GenerateName
}

// decodeTyped reads the object of a request, and on an update the one that it replaces; old is nil where nothing is
// replaced. Field names are case-sensitive, as in the API server.
func decodeTyped[T any, P interface {
	*T
	runtime.Object
}](req admission.Request) (object, old P, err error) {
	if object, err = decodeKind[T, P](req.Object.Raw, req.Kind.Kind); err != nil {
		return nil, nil, fmt.Errorf("decoding the object: %w", err)
	}
	if !isUpdate(req) {
		return object, nil, nil
	}
	if old, err = decodeKind[T, P](req.OldObject.Raw, req.Kind.Kind); err != nil {
		return nil, nil, fmt.Errorf("decoding the old object: %w", err)
	}
	return object, old, nil
}

func decodeKind[T any, P interface {
	*T
	runtime.Object
}](raw []byte, kind string) (P, error) {
	if len(raw) == 0 {
		return nil, errors.New("there is none")
	}
	object := P(new(T))
	if err := json.Unmarshal(raw, object); err != nil {
		return nil, err
	}
	if got := object.GetObjectKind().GroupVersionKind(); got != v1alpha1.SchemeGroupVersion.WithKind(kind) {
		return nil, fmt.Errorf("it is %q, not a %s", got.String(), kind)
	}
	return object, nil
}
