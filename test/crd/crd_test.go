//go:build unix

package crd

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

const root = "../.."

func read(t *testing.T, folder string) []File {
	t.Helper()
	names, err := Names(root, folder)
	if err != nil {
		t.Fatal(err)
	}
	var files []File
	for _, name := range names {
		f, err := Read(root, name, strings.NewReplacer())
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	return files
}

// TestFilesAreWhole: a typo in a comment would leave a file untested.
func TestFilesAreWhole(t *testing.T) {
	bases := map[string]bool{}
	for _, f := range read(t, "base") {
		bases[f.Name] = true
		if len(f.Denied) > 0 || len(f.Objects) != 1 {
			t.Errorf("%s: denied %q, %d objects", f.Name, f.Denied, len(f.Objects))
		}
	}
	files := read(t, "")
	if len(files) == 0 || len(bases) == 0 {
		t.Fatalf("%d files, %d bases", len(files), len(bases))
	}
	for _, f := range append(files, read(t, "base")...) {
		for _, given := range f.Given {
			if !bases[given] {
				t.Errorf("%s: no such file: %s", f.Name, given)
			}
		}
		if bases[f.Name] {
			continue
		}
		want := 1
		if f.Update {
			want = 2
		}
		if len(f.Denied) == 0 || len(f.Objects) != want {
			t.Errorf("%s: denied %q, %d objects of %d", f.Name, f.Denied, len(f.Objects), want)
		}
	}
}

// notInFiles are the rules that no file can break, and where they are tried.
var notInFiles = map[string]string{
	"DelegationApproval: a decision is final: to decide anew, create another DelegationApproval": "it names the UID of a path: test/e2e",
}

// TestEveryRuleHasAFile: each CEL rule of each kind, by its message.
func TestEveryRuleHasAFile(t *testing.T) {
	broken := map[string]bool{}
	for _, f := range read(t, "") {
		for _, text := range f.Denied {
			broken[f.Objects[0].GetKind()+": "+text] = true
		}
	}
	paths, err := filepath.Glob(filepath.Join(root, "config", "crd", "bases", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, path := range paths {
		crds, err := operator.Load(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, crd := range crds {
			kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
			rules := rulesOf(crd.Object)
			total += len(rules)
			for _, message := range rules {
				if rule := kind + ": " + message; !broken[rule] && notInFiles[rule] == "" {
					t.Errorf("no file in config/invalid violates the rule of %s %q", kind, message)
				}
			}
		}
	}
	if total == 0 {
		t.Error("no rules found in config/crd/bases")
	}
	t.Logf("%d rules", total)
}

// rulesOf returns the messages of all CEL rules in a schema.
func rulesOf(schema any) []string {
	var messages []string
	switch s := schema.(type) {
	case map[string]any:
		for key, value := range s {
			if rules, ok := value.([]any); ok && key == "x-kubernetes-validations" {
				for _, rule := range rules {
					message, _ := rule.(map[string]any)["message"].(string)
					messages = append(messages, message)
				}
				continue
			}
			messages = append(messages, rulesOf(value)...)
		}
	case []any:
		for _, value := range s {
			messages = append(messages, rulesOf(value)...)
		}
	}
	slices.Sort(messages)
	return messages
}

// notAtAdmission are the fixable reasons for which admission denies nothing: another user's action can fix the cause
// without a change of the object.
var notAtAdmission = map[v1alpha1.Reason]string{
	v1alpha1.ReasonScopeExceedsCeiling:    "the platform team may bind more to the controller; until then the hop is not granted",
	v1alpha1.ReasonHopNamespaceNotBound:   "the platform team may bind the namespace; until then the hop is not granted",
	v1alpha1.ReasonOriginGone:             "the account may be created after the path or hop",
	v1alpha1.ReasonLifetimeExceedsCeiling: "the platform team may change the ceiling; until then the path is granted nothing",
	v1alpha1.ReasonSecretTaken:            "only the controller reads Secrets",
	v1alpha1.ReasonNamespaceNotFound:      "the namespace may be created after the hop",
	v1alpha1.ReasonNotIsolated:            "the rights in the namespace may change; until then the hop is not granted",
	v1alpha1.ReasonNotExclusive:           "somebody else binds rights to the account of a hop",
	v1alpha1.ReasonGrantDenied:            "the API server answers when the controller writes",
	v1alpha1.ReasonOverwritten:            "who overwrites an object is seen when the controller writes it",
	v1alpha1.ReasonNameTaken:              "the name is random, and taken only after the controller has written it to the status",
}

// TestEveryReasonHasAFile: each reason for which admission denies, by its name.
func TestEveryReasonHasAFile(t *testing.T) {
	covered := map[v1alpha1.Reason]bool{}
	for _, f := range read(t, "") {
		for _, text := range f.Denied {
			for reason := range v1alpha1.Reasons() {
				if strings.Contains(text, string(reason)) {
					covered[reason] = true
				}
			}
		}
	}
	for reason, class := range v1alpha1.Reasons() {
		if class == v1alpha1.ClassFixable && !covered[reason] && notAtAdmission[reason] == "" {
			t.Errorf("no file in config/invalid is denied for the reason %s", reason)
		}
	}
}
