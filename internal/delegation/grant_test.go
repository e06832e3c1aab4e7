package delegation

import (
	"regexp"
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
	isolate := hop("isolate")
	pattern := regexp.MustCompile(`^dhop-isolate\.[0-9a-f]{10}\.1782910800$`)
	name := AccountName(isolate, 1, end)
	if !pattern.MatchString(name) {
		t.Errorf("%q is not like %v", name, pattern)
	}
	if again := AccountName(hop("isolate"), 1, end.In(time.FixedZone("", 3600))); again != name {
		t.Errorf("the same hop is called %q and %q", name, again)
	}
	for how, other := range map[string]string{
		"another incarnation": AccountName(isolate, 2, end),
		"a recreated hop":     AccountName(hop("isolate", withUID("second")), 1, end),
		"another end":         AccountName(isolate, 1, end.Add(time.Second)),
		"another hop":         AccountName(hop("isolate-2", withUID(isolate.UID)), 1, end),
	} {
		if other == name {
			t.Errorf("%s has the same account %q", how, name)
		}
	}
	if a, b := AccountName(isolate, 11, end), AccountName(hop("isolate", withUID(isolate.UID+"1")), 1, end); a == b {
		t.Errorf("a UID and an incarnation run into one another: %q", a)
	}
}

// TestAccountNameIsOneForKubernetes: also for the longest hop, at the last time that an object can have.
func TestAccountNameIsOneForKubernetes(t *testing.T) {
	longest := AccountName(hop(strings.Repeat("x", 63)), 1<<62, time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC))
	if problems := validation.ValidateServiceAccountName(longest, false); len(problems) > 0 || len(longest) > 253 {
		t.Errorf("%q of %d bytes: %v", longest, len(longest), problems)
	}
}
