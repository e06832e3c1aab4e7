//go:build unix

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestHopReplacedAtOnce: a GitOps tool replaces a hop by deleting and recreating it, long before the garbage
// collector deletes the Secret of the first one. The second still gets its own token.
func TestHopReplacedAtOnce(t *testing.T) {
	f := setup(t)
	p, first := f.path("contain"), f.hop("isolate", "contain", "")
	f.apply(f.by, p, first)
	f.valid(first)
	old := f.token(first)
	if err := f.as(f.by).Delete(f.Context(), first); err != nil {
		t.Fatal(err)
	}
	second := f.hop("isolate", "contain", "")
	f.apply(f.by, second)
	f.valid(second)
	if fresh := f.token(second); fresh == old {
		t.Error("the second hop holds the token of the first")
	}
	var secret corev1.Secret
	if err := suite.admin.Get(f.Context(), client.ObjectKey{Namespace: f.ns, Name: "isolate-token"}, &secret); err != nil {
		t.Fatal(err)
	}
	if got := secret.Labels[v1alpha1.LabelHopUID]; got != string(second.UID) {
		t.Errorf("the Secret is of hop %s, not of %s", got, second.UID)
	}
}
