// Package chart shows that the chart renders what its values say, refuses values that cannot be meant, and installs the same as
// config/default.
package chart

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/wayleave/wayleave/test/operator"
)

const (
	root  = "../.."
	chart = root + "/charts/wayleave"
	ns    = "wayleave-system"
)

func stderrOf(err error) error {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return errors.New(string(exit.Stderr))
	}
	return nil
}

// helm runs a version of Helm, without settings of the user, and without a cluster.
func helm(t *testing.T, version string, args ...string) (string, error) {
	t.Helper()
	home := t.TempDir()
	cmd, err := operator.Helm(t.Context(), root, version, home, home+"/none", args...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.Output()
	return string(out), errors.Join(err, stderrOf(err))
}

// render renders the chart with some values.
func render(t *testing.T, version, values string, more ...string) ([]*unstructured.Unstructured, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{"template", "wayleave", chart, "--namespace", ns, "--values", file, "--kube-version", "1.37.0"}
	text, err := helm(t, version, append(args, more...)...)
	if err != nil {
		return nil, err
	}
	objects, err := operator.Decode([]byte(text))
	if err != nil {
		t.Fatalf("what Helm rendered cannot be read: %v\n%s", err, text)
	}
	return objects, nil
}

// key tells objects apart.
func key(o *unstructured.Unstructured) string {
	return strings.TrimSuffix(o.GetKind()+" "+o.GetNamespace(), " ") + "/" + o.GetName()
}

func byKey(objects []*unstructured.Unstructured) map[string]any {
	all := map[string]any{}
	for _, o := range objects {
		all[key(o)] = o.Object
	}
	return all
}

// TestLint: both versions of Helm find nothing to say.
func TestLint(t *testing.T) {
	for _, version := range operator.HelmVersions {
		if out, err := helm(t, version, "lint", "--strict", "--namespace", ns, chart); err != nil {
			t.Errorf("helm %s: %v\n%s", version, err, out)
		}
	}
}

// TestSameAsKustomize: the chart and the kustomizations install the same, but for the namespace, which Helm makes, and the labels that
// say that it was Helm.
func TestSameAsKustomize(t *testing.T) {
	for dir, values := range map[string]string{"default": "", "warn": "enforce: warn"} {
		objects := slices.DeleteFunc(kustomize(t, dir), func(o *unstructured.Unstructured) bool { return o.GetKind() == "Namespace" })
		for _, o := range objects {
			forget(o.Object)
		}
		for _, version := range operator.HelmVersions {
			ours, err := render(t, version, values, "--no-hooks")
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range ours {
				forget(o.Object)
			}
			if diff := cmp.Diff(byKey(objects), byKey(ours)); diff != "" {
				t.Errorf("helm %s and config/%s (-config +chart):\n%s", version, dir, diff)
			}
		}
	}
}

// kustomize builds a folder of config.
func kustomize(t *testing.T, dir string) []*unstructured.Unstructured {
	t.Helper()
	absolute, err := filepath.Abs(root + "/config/" + dir)
	if err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "-C", root+"/hack/tools", "run", "sigs.k8s.io/kustomize/kustomize/v5", "build", absolute)
	text, err := build.Output()
	if err != nil {
		t.Fatal(errors.Join(err, stderrOf(err)))
	}
	objects, err := operator.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	return objects
}

// forget removes from an object, at any depth, what only Helm or kustomize says, and how its expressions are broken into lines, which
// kustomize changes.
func forget(o map[string]any) {
	for name, value := range o {
		switch value := value.(type) {
		case map[string]any:
			forget(value)
			if name == "labels" && len(value) == 0 {
				delete(o, name)
			}
		case []any:
			for _, one := range value {
				if below, ok := one.(map[string]any); ok {
					forget(below)
				}
			}
		case string:
			o[name] = strings.Join(strings.Fields(value), " ")
			if name == "helm.sh/chart" || name == "helm.sh/resource-policy" ||
				name == "app.kubernetes.io/managed-by" && (value == "Helm" || value == "kustomize") {
				delete(o, name)
			}
		}
	}
}

// TestValuesHaveSchema: the schema knows each value, and no other.
func TestValuesHaveSchema(t *testing.T) {
	var values, schema map[string]any
	for file, into := range map[string]*map[string]any{"values.yaml": &values, "values.schema.json": &schema} {
		raw, err := os.ReadFile(filepath.Join(chart, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(raw, into); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(described("", schema), names("", values, schema)); diff != "" {
		t.Errorf("-schema +values:\n%s", diff)
	}
}

// below are the properties that a schema describes; nil if it describes none.
func below(schema map[string]any, name string) map[string]any {
	properties, _ := schema["properties"].(map[string]any)
	of, _ := properties[name].(map[string]any)
	return of
}

// described are the names of the values that a schema describes, but for what Helm gives itself.
func described(prefix string, schema map[string]any) []string {
	properties, _ := schema["properties"].(map[string]any)
	var all []string
	for name := range properties {
		switch full, of := prefix+name, below(schema, name); {
		case full == "global":
		case of["properties"] == nil || full == "certificate.issuerRef": // which may be left empty
			all = append(all, full)
		default:
			all = append(all, described(full+".", of)...)
		}
	}
	slices.Sort(all)
	return all
}

// names are the names of values, as deep as the schema describes them.
func names(prefix string, values, schema map[string]any) []string {
	var all []string
	for name, value := range values {
		of, held := below(schema, name), map[string]any{}
		if of["properties"] != nil {
			held, _ = value.(map[string]any)
		}
		if len(held) == 0 {
			all = append(all, prefix+name)
		} else {
			all = append(all, names(prefix+name+".", held, of)...)
		}
	}
	slices.Sort(all)
	return all
}

func encode(t *testing.T, v any) string {
	t.Helper()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		t.Fatal(err)
	}
	return text.String()
}
