package facts

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/testutil"
)

// hopsOn reads hops from a fake cache and counts the lists.
func hopsOn(t *testing.T, objects ...client.Object) (hops Hops, lists *int) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	lists = new(int)
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, l client.ObjectList, o ...client.ListOption) error {
			*lists++
			return c.List(ctx, l, o...)
		},
	})
	if err := Index(t.Context(), testutil.Indexer{ClientBuilder: builder}); err != nil {
		t.Fatal(err)
	}
	return Hops{Reader: builder.Build()}, lists
}

func hopOf(path, parent, name string) *v1alpha1.DelegationHop {
	h := &v1alpha1.DelegationHop{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: name}}
	h.Spec.PathRef.Name = path
	if parent != "" {
		h.Spec.ParentRef = &v1alpha1.ObjectRef{Name: parent}
	}
	return h
}

// A line of hops that is far longer than a chain may be, created leaf first below a path that does not exist, once cost
// seconds with each change of its first: each hop led to all below it.
func TestDescendantsAreFollowedAsDeepAsAChain(t *testing.T) {
	var line []client.Object
	for i := range 5 * delegation.MaxChain {
		parent := ""
		if i > 0 {
			parent = fmt.Sprintf("h%d", i-1)
		}
		line = append(line, hopOf("contain", parent, fmt.Sprintf("h%d", i)))
	}
	hops, lists := hopsOn(t, line...)
	first := client.ObjectKey{Namespace: "agents", Name: "h0"}
	keys, err := hops.WithDescendants(t.Context(), first)
	if err != nil || len(keys) != delegation.MaxChain+1 || *lists > delegation.MaxChain+1 {
		t.Errorf("%d hops by %d lists, %v, want %d", len(keys), *lists, err, delegation.MaxChain+1)
	}
	if levels, err := hops.LevelsBelow(t.Context(), first); err != nil || levels != delegation.MaxChain {
		t.Errorf("%d levels below the first, %v", levels, err)
	}
	last := client.ObjectKey{Namespace: "agents", Name: fmt.Sprintf("h%d", len(line)-1)}
	if levels, err := hops.LevelsBelow(t.Context(), last); err != nil || levels != 0 {
		t.Errorf("%d levels below the last, %v", levels, err)
	}
}

// A hop that names a hop of another path as its parent is a child of it, which is broken, but leads no further into the
// other path.
func TestDescendantsAreOfOnePath(t *testing.T) {
	hops, _ := hopsOn(t, hopOf("contain", "", "first"), hopOf("contain", "first", "second"), hopOf("contain", "second", "third"),
		hopOf("evil", "second", "foreign"), hopOf("evil", "foreign", "below"))
	keys, err := hops.WithDescendants(t.Context(), client.ObjectKey{Namespace: "agents", Name: "first"})
	if err != nil || len(keys) != 3 {
		t.Errorf("%v, %v, want first, second and third", keys, err)
	}
}

// Parents that form a cycle end.
func TestDescendantsOfACycle(t *testing.T) {
	hops, _ := hopsOn(t, hopOf("contain", "second", "first"), hopOf("contain", "first", "second"))
	keys, err := hops.WithDescendants(t.Context(), client.ObjectKey{Namespace: "agents", Name: "first"})
	if err != nil || len(keys) != 2 {
		t.Errorf("%v, %v, want both", keys, err)
	}
}
