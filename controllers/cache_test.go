package controllers

import (
	"testing"

	"github.com/google/go-cmp/cmp"
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

// TestOthersCostNoMemory: where Wayleave only reports, anybody may have large pods with the label of a hop.
func TestOthersCostNoMemory(t *testing.T) {
	large := func(account string) *corev1.Pod {
		return &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p", UID: "1", Labels: map[string]string{v1alpha1.LabelHop: "h", "x": "y"}},
			Spec:       corev1.PodSpec{ServiceAccountName: account, Containers: []corev1.Container{{Name: "main"}}},
		}
	}
	for account, want := range map[string]*corev1.Pod{
		"dhop-h.1.2": large("dhop-h.1.2"),
		"own":        {ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p", UID: "1", Labels: map[string]string{v1alpha1.LabelHop: "h"}}},
	} {
		kept, err := namesOfOthers(large(account))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(any(want), kept); diff != "" {
			t.Errorf("of a pod that runs as %s (-want +got):\n%s", account, diff)
		}
	}
}
