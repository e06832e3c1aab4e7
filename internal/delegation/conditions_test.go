package delegation

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func TestSetSummary(t *testing.T) {
	for reason, want := range map[v1alpha1.Reason]string{
		v1alpha1.ReasonGranted:     "Ready=True Reconciling=False Stalled=False",
		v1alpha1.ReasonSuspended:   "Ready=False Reconciling=True Stalled=False",
		v1alpha1.ReasonRevoked:     "Ready=False Reconciling=False Stalled=True",
		v1alpha1.ReasonChainBroken: "Ready=False Reconciling=False Stalled=True",
		"NotInTheVocabulary":       "Ready=False Reconciling=False Stalled=True",
	} {
		var conditions []metav1.Condition
		conditionSetter{&conditions, 3, *at(0)}.setSummary(reason, "because")
		var got []string
		for _, c := range conditions {
			got = append(got, c.Type+"="+string(c.Status))
			if c.ObservedGeneration != 3 || c.Reason != string(reason) || c.Message != "because" || !c.LastTransitionTime.Equal(at(0)) {
				t.Errorf("%s: %+v", reason, c)
			}
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s: %s, want %s", reason, got, want)
		}
		conditionSetter{&conditions, 4, *at(time.Hour)}.setSummary(reason, "because")
		for _, c := range conditions {
			if !c.LastTransitionTime.Equal(at(0)) {
				t.Errorf("%s: %s says that it changed and did not", reason, c.Type)
			}
		}
	}
}
