package workload

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func TestRequires(t *testing.T) {
	listPods := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}}
	// Each of these stays below the parser's own limit on aliases, and expands to about a gigabyte.
	bomb := "- [" + strings.Repeat("1,", 4200) + "]\n- &a \"" + strings.Repeat("x", 5000) + "\"\n- &b [" +
		strings.Repeat("*a,", 100) + "]\n- &c [" + strings.Repeat("*b,", 50) + "]\n- [" + strings.Repeat("*c,", 35) + "]\n"
	padded := "- {apiGroups: [\"\"], resources: [pods], verbs: [list]}\n#"
	for name, test := range map[string]struct {
		text        string
		want        []rbacv1.PolicyRule
		wantProblem string
	}{
		"nothing is said":            {},
		"one rule":                   {text: `[{apiGroups: [""], resources: [pods], verbs: [list]}]`, want: listPods},
		"rules as JSON":              {text: `[{"apiGroups":[""],"resources":["pods"],"verbs":["list"]}]`, want: listPods},
		"no list":                    {text: `{apiGroups: [""]}`, wantProblem: "not a YAML list of PolicyRules"},
		"prose":                      {text: "list pods, please", wantProblem: "not a YAML list of PolicyRules"},
		"a field that rules lack":    {text: `[{resource: pods, verbs: [list]}]`, wantProblem: `unknown field "resource"`},
		"a key that is there twice":  {text: `[{verbs: [list], verbs: [get]}]`, wantProblem: "already set"},
		"an empty list":              {text: "[]", wantProblem: "names nothing"},
		"only a comment":             {text: "# later", wantProblem: "names nothing"},
		"as long as it may be":       {text: padded + strings.Repeat("x", maxRequires-len(padded)), want: listPods},
		"one byte longer":            {text: padded + strings.Repeat("x", maxRequires-len(padded)+1), wantProblem: "longer than 16384 bytes"},
		"kilobytes that are a bomb":  {text: bomb, wantProblem: "anchors and aliases"},
		"an alias without an anchor": {text: "[*a]", wantProblem: "not a YAML list of PolicyRules"},
		"a merge key":                {text: "- &a {verbs: [list]}\n- {<<: *a}", wantProblem: "anchors and aliases"},
		"lists in lists in lists":    {text: strings.Repeat("[", maxRequires), wantProblem: "not a YAML list of PolicyRules"},
		"maps in maps in maps":       {text: strings.Repeat("{a: ", maxRequires/4), wantProblem: "not a YAML list of PolicyRules"},
		"a binary that is no text":   {text: "\x00\xff", wantProblem: "not a YAML list of PolicyRules"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &Workload{Meta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.AnnotationRequires: test.text}}}
			got, err := w.Requires()
			if (err != nil) != (test.wantProblem != "") || err != nil && !strings.Contains(err.Error(), test.wantProblem) {
				t.Fatalf("problem %v, want %q", err, test.wantProblem)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
