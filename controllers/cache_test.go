package controllers

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// A pod declares a hop of its own namespace, whatever else its labels say.
func TestDeclaredHop(t *testing.T) {
	for name, c := range map[string]struct {
		labels map[string]string
		want   string
	}{
		"nothing":                   {},
		"a pod that declares a hop": {labels: map[string]string{v1alpha1.LabelHop: "isolate"}, want: "agents/isolate"},
		"a pod that says it is elsewhere": {
			labels: map[string]string{v1alpha1.LabelHop: "isolate", v1alpha1.LabelHopNamespace: "other"}, want: "agents/isolate",
		},
		"what was created for a hop": {labels: map[string]string{v1alpha1.LabelHopName: "isolate", v1alpha1.LabelHopNamespace: "other"}},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "agents", Name: "x", Labels: c.labels}}
		if key, ok := declaredHop(pod); ok != (c.want != "") || ok && key.String() != c.want {
			t.Errorf("%s: it declares %s (%t), want %q", name, key, ok, c.want)
		}
	}
}
