package grants

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func TestHopOf(t *testing.T) {
	all := map[string]string{v1alpha1.LabelHopName: "isolate", v1alpha1.LabelHopNamespace: "other", v1alpha1.LabelHopUID: "1"}
	declares := map[string]string{v1alpha1.LabelHop: "isolate", v1alpha1.LabelHopNamespace: "other", v1alpha1.LabelHopUID: "1"}
	for name, c := range map[string]struct {
		name   string
		labels map[string]string
		want   string
	}{
		"nothing":                          {},
		"of a hop":                         {name: "dhop-isolate.86bb3358e0.1782910800", labels: all, want: "other/isolate"},
		"another tenant's with the labels": {name: "x", labels: all},
		"of a hop of another name":         {name: "dhop-isolate-all.86bb3358e0.1782910800", labels: all},
		"what only declares a hop was not created for it": {name: "dhop-isolate.86bb3358e0.1782910800", labels: declares},
		"a pod's label on another tenant's Role":          {labels: map[string]string{v1alpha1.LabelHop: "isolate"}},
	} {
		t.Run(name, func(t *testing.T) {
			role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: c.name, Labels: c.labels}}
			if key, ok := HopOf(role); ok != (c.want != "") || ok && key.String() != c.want {
				t.Errorf("it is of %s (%t), want %q", key, ok, c.want)
			}
		})
	}
}

// The account of a hop is in the hop's namespace. One elsewhere is another tenant's that pretends to be it.
func TestAccountElsewhere(t *testing.T) {
	for namespace, want := range map[string]bool{"agents": true, "evil": false} {
		labels := map[string]string{
			v1alpha1.LabelHopName: "isolate", v1alpha1.LabelHopNamespace: "agents", v1alpha1.LabelHopUID: "1",
		}
		name := "dhop-isolate.86bb3358e0.1782910800"
		o := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: labels}}
		if _, ok := HopOf(o); ok != want {
			t.Errorf("in %s: %t", namespace, ok)
		}
	}
}
