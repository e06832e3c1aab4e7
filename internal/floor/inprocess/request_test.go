package inprocess

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Who asks: root is in system:masters, and may do everything; eve may write what she likes, and nothing else that a policy asks about.
const (
	root   = "root"
	eve    = "eve"
	ours   = "system:serviceaccount:wayleave-system:wayleave-controller"
	node   = "system:node:n1"
	hop    = "system:serviceaccount:team:" + account
	server = "system:serviceaccount:kube-system:job-controller"

	masters = "system:masters"
)

// request is what an API server knows about a request when it asks the policies. It answers their questions about rights.
type request struct {
	operation admission.Operation
	user      string
	groups    []string
	may       []string // verb resource/name
	// on is empty for the resource of the objects.
	on, subresource, namespace, name string
	object, old                      runtime.Object
	options                          runtime.Object
}

func create(o client.Object, with ...func(*request)) request {
	return asked(request{operation: admission.Create, object: o, options: &metav1.CreateOptions{}}, o, with)
}

// update changes a copy of an object.
func update[T client.Object](old T, change func(T), with ...func(*request)) request {
	changed := old.DeepCopyObject().(T)
	change(changed)
	return asked(request{operation: admission.Update, object: changed, old: old, options: &metav1.UpdateOptions{}}, old, with)
}

func remove(o client.Object, with ...func(*request)) request {
	return asked(request{operation: admission.Delete, old: o, options: &metav1.DeleteOptions{}}, o, with)
}

// enter connects to a pod.
func enter(pod, way string, with ...func(*request)) request {
	o := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: pod}}
	r := request{operation: admission.Connect, object: &corev1.PodExecOptions{Command: []string{"sh"}}, on: "pods", subresource: way}
	return asked(r, o, with)
}

// token asks for a token of an account.
func token(account string, seconds int64, with ...func(*request)) request {
	o := &authenticationv1.TokenRequest{
		ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: account, CreationTimestamp: began},
		Spec:       authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds},
	}
	r := request{operation: admission.Create, object: o, on: "serviceaccounts", subresource: "token", options: &metav1.CreateOptions{}}
	return asked(r, o, with)
}

func asked(r request, o client.Object, with []func(*request)) request {
	r.user, r.groups, r.namespace, r.name = root, []string{masters}, o.GetNamespace(), o.GetName()
	for _, w := range with {
		w(&r)
	}
	return r
}

func by(name string, groups ...string) func(*request) {
	return func(r *request) { r.user, r.groups = name, slices.Concat(groups, []string{"system:authenticated"}) }
}

func may(what ...string) func(*request) { return func(r *request) { r.may = append(r.may, what...) } }

func at(subresource string) func(*request) { return func(r *request) { r.subresource = subresource } }

func cascading(policy metav1.DeletionPropagation) func(*request) {
	return func(r *request) { r.options = &metav1.DeleteOptions{PropagationPolicy: &policy} }
}

// leavingOrphans asks for it as the oldest clients do.
func leavingOrphans(orphans bool) func(*request) {
	return func(r *request) {
		r.options = &metav1.DeleteOptions{OrphanDependents: &orphans} //nolint:staticcheck // the API server still takes it
	}
}

// Authorize answers what RBAC would: this is not what is tested.
func (r request) Authorize(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
	if slices.Contains(r.groups, masters) || slices.Contains(r.may, a.GetVerb()+" "+a.GetResource()+"/"+a.GetName()) {
		return authorizer.DecisionAllow, "", nil
	}
	return authorizer.DecisionNoOpinion, "", nil
}

var scheme = func() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	return s
}()

// question is a request as an API server hands it to each policy.
type question struct {
	request
	*admission.VersionedAttributes
}

// asks has the objects of the request as the API server has them: of custom resources, and in older releases of all, it has maps.
func (r request) asks(t *testing.T, objectsAsMaps bool) question {
	t.Helper()
	var kind schema.GroupVersionKind
	converted := func(o runtime.Object) runtime.Object {
		if o == nil {
			return nil
		}
		var err error
		if kind, err = apiutil.GVKForObject(o, scheme); err != nil {
			t.Fatal(err)
		}
		if !objectsAsMaps && kind.Group != v1alpha1.GroupName {
			return o
		}
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
		if err != nil {
			t.Fatal(err)
		}
		return &unstructured.Unstructured{Object: fields}
	}
	old, object := converted(r.old), converted(r.object)
	resource, _ := meta.UnsafeGuessKindToResource(kind)
	if r.on != "" {
		resource = corev1.SchemeGroupVersion.WithResource(r.on)
	}
	if strings.HasPrefix(r.subresource, "binding") {
		resource.Resource = "pods"
	}
	who := &user.DefaultInfo{Name: r.user, Groups: r.groups}
	a := admission.NewAttributesRecord(
		object, old, kind, r.namespace, r.name, resource, r.subresource, r.operation, r.options, false, who,
	)
	return question{r, &admission.VersionedAttributes{
		Attributes: a, VersionedKind: kind, VersionedObject: admission.NewLazyObject(object), VersionedOldObject: admission.NewLazyObject(old),
	}}
}

// forPod binds a token to a pod; late asks a second before the account has ten minutes left.
func forPod(r *request) {
	bound := &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: "dhop-x"}
	r.object.(*authenticationv1.TokenRequest).Spec.BoundObjectRef = bound
}

func late(r *request) {
	r.object.(*authenticationv1.TokenRequest).CreationTimestamp = metav1.NewTime(began.Add(50*time.Minute + time.Second))
}
