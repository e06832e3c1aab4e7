package controllers

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// A line of hops that is far longer than a chain may be, made leaf first below a path that does not exist, once cost
// seconds with each change of its first: each hop led to all below it.
func TestDescendantsAreFollowedAsDeepAsAChain(t *testing.T) {
	const length = 5 * delegation.MaxChain
	var objects []client.Object
	for i := range length {
		hop := &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: fmt.Sprintf("h%d", i)}}
		hop.Spec.PathRef.Name = "contain"
		if i > 0 {
			hop.Spec.ParentRef = &v1alpha1.ObjectRef{Name: fmt.Sprintf("h%d", i-1)}
		}
		objects = append(objects, hop)
	}
	lists := 0
	r := reconciler(t, interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, o ...client.ListOption) error {
		lists++
		return c.List(ctx, l, o...)
	}}, objects...)
	keys, err := r.hops.withDescendants(t.Context(), client.ObjectKey{Namespace: "agents", Name: "h0"})
	if err != nil || len(keys) != delegation.MaxChain || lists > delegation.MaxChain {
		t.Errorf("%d hops by %d lists, %v, want %d", len(keys), lists, err, delegation.MaxChain)
	}
}

// Hops of another path that name a hop as their parent are none of its descendants' descendants.
func TestDescendantsAreOfOnePath(t *testing.T) {
	hop := func(name, path, parent string) *v1alpha1.DelegationHop {
		h := &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: name}}
		h.Spec.PathRef.Name = path
		if parent != "" {
			h.Spec.ParentRef = &v1alpha1.ObjectRef{Name: parent}
		}
		return h
	}
	r := reconciler(t, interceptor.Funcs{}, hop("first", "contain", ""), hop("second", "contain", "first"),
		hop("third", "contain", "second"), hop("foreign", "evil", "second"), hop("below", "evil", "foreign"))
	keys, err := r.hops.withDescendants(t.Context(), client.ObjectKey{Namespace: "agents", Name: "first"})
	if err != nil || len(keys) != 3 {
		t.Errorf("%v, %v, want first, second and third", keys, err)
	}
}
