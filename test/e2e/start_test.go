//go:build unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestCertificateExpires: a webhook that nobody can call any more is not ready, and says why.
func TestCertificateExpires(t *testing.T) {
	f := setup(t)
	const name = "expiring"
	dir := t.TempDir()
	put := func(life time.Duration) {
		for file, content := range issue(t, life) {
			if err := os.WriteFile(filepath.Join(dir, file), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(time.Hour)
	if _, err := suite.operator.StartAnotherWebhook(t.Context(), name, "--cert-dir", dir); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { suite.operator.Kill(name) })
	put(-time.Minute)
	f.eventually("a webhook with an expired certificate not to be ready", func() error {
		if err := suite.operator.Ready(t.Context(), name); err == nil {
			return errors.New("it is")
		}
		return nil
	})
	printed, err := os.ReadFile(suite.operator.Log(name))
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(printed), "has expired at"); n != 1 {
		t.Errorf("it says %d times that its certificate has expired:\n%s", n, printed)
	}
}

// TestOtherKinds: a process does not run with kinds that have a field which it does not know. It runs alone, since it changes the kinds.
func TestOtherKinds(t *testing.T) {
	f := setup(t)
	const field = "onlyOnSundays"
	f.changeHopFields(func(fields map[string]any) { fields[field] = map[string]any{"type": "boolean"} })
	defer f.changeHopFields(func(fields map[string]any) { delete(fields, field) })
	for _, process := range []string{"controller", "webhook"} {
		f.eventually(process+" not to run", func() error {
			ctx, cancel := context.WithTimeout(f.Context(), 30*time.Second) // it may start before the API server serves the field
			defer cancel()
			out, err := suite.operator.Attempt(ctx, process)
			if err == nil || !strings.Contains(out, "wayleave: the kinds that are installed are newer than this program, "+
				"which does not know DelegationHop.spec."+field+": run the image of their release, or install the kinds of this one") {
				return fmt.Errorf("%w: %s", err, out)
			}
			return nil
		})
	}
}

// changeHopFields changes the fields that the spec of a hop has in the kind that is installed.
func (f *fixture) changeHopFields(change func(fields map[string]any)) {
	f.Helper()
	f.eventually("the kind to be changed", func() error {
		kind := &unstructured.Unstructured{}
		kind.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
		if err := suite.admin.Get(f.Context(), client.ObjectKey{Name: "delegationhops.delegation.wayleave.dev"}, kind); err != nil {
			return err
		}
		versions, _, err := unstructured.NestedSlice(kind.Object, "spec", "versions")
		if err != nil {
			return err
		}
		version, _ := versions[0].(map[string]any)
		fields, _, err := unstructured.NestedFieldNoCopy(version, "schema", "openAPIV3Schema", "properties", "spec", "properties")
		if err != nil {
			return err
		}
		change(fields.(map[string]any))
		if err := unstructured.SetNestedSlice(kind.Object, versions, "spec", "versions"); err != nil {
			return err
		}
		return suite.admin.Update(f.Context(), kind)
	})
}
