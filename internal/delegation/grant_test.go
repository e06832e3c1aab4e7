package delegation

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/validation"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func clusterRule(verb, resource string) v1alpha1.ClusterRule {
	return v1alpha1.ClusterRule{APIGroups: []string{""}, Resources: []string{resource}, Verbs: []string{verb}}
}

func TestAccountName(t *testing.T) {
	end := time.Unix(1782910800, 0)
	name := AccountName(hop("isolate"), "0123456789", end)
	if want := "dhop-isolate.0123456789.1782910800"; name != want {
		t.Errorf("%q, want %q", name, want)
	}
	if again := AccountName(hop("isolate"), "0123456789", end.In(time.FixedZone("", 3600))); again != name {
		t.Errorf("the same name is %q and %q", name, again)
	}
	if !endsAt(name, end) || endsAt(name, end.Add(time.Second)) || endsAt("", end) {
		t.Errorf("the end of %q is not %d", name, end.Unix())
	}
}

// TestAccountNameIsOneForKubernetes: also for the longest hop, at the last time that an object can have.
func TestAccountNameIsOneForKubernetes(t *testing.T) {
	longest := AccountName(hop(strings.Repeat("x", 63)), "0123456789", time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))
	if problems := validation.ValidateServiceAccountName(longest, false); len(problems) > 0 || len(longest) > 253 {
		t.Errorf("%q of %d bytes: %v", longest, len(longest), problems)
	}
}
