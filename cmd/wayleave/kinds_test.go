package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

// object is an object as JSON has it.
type object = map[string]any

// openAPI is the document of OpenAPI 3 in which an API server says what our kinds are, with a change to that of hops.
func openAPI(t *testing.T, change func(hop object)) []byte {
	t.Helper()
	schemas := object{}
	for kind, plural := range map[string]string{"DelegationPath": "delegationpaths", "DelegationHop": "delegationhops",
		"DelegationApproval": "delegationapprovals"} {
		raw, err := os.ReadFile("../../config/crd/bases/delegation.wayleave.dev_" + plural + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var crd object
		if err := yaml.Unmarshal(raw, &crd); err != nil {
			t.Fatal(err)
		}
		versions, _, _ := unstructured.NestedSlice(crd, "spec", "versions")
		version, _ := versions[0].(object)
		of, found, err := unstructured.NestedMap(version, "schema", "openAPIV3Schema")
		if !found || err != nil {
			t.Fatalf("there is no schema of %s: %v", kind, err)
		}
		if kind == "DelegationHop" {
			change(of)
		}
		of["x-kubernetes-group-version-kind"] = []object{{"group": "delegation.wayleave.dev", "version": "v1alpha1", "kind": kind}}
		schemas["dev.wayleave.delegation.v1alpha1."+kind] = of
	}
	schemas["io.k8s.ObjectMeta"] = object{"properties": object{"annotations": object{"additionalProperties": true}}}
	raw, err := json.Marshal(object{"components": object{"schemas": schemas}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestSameKinds: a program with other kinds than those that are installed does not start, and says which field it is about.
func TestSameKinds(t *testing.T) {
	properties := func(hop object, of string) object {
		some, _, _ := unstructured.NestedFieldNoCopy(hop, "properties", of, "properties")
		return some.(object)
	}
	for name, test := range map[string]struct {
		code   int
		change func(hop object)
		want   string
	}{
		"the same": {code: 200, change: func(object) {}},
		"newer": {code: 200, change: func(hop object) {
			properties(hop, "spec")["onlyOn"] = object{"type": "array", "items": object{"type": "string"}}
		}, want: "newer than this program, which does not know DelegationHop.spec.onlyOn: run the image of their release"},
		"older": {
			code: 200, change: func(hop object) { delete(properties(hop, "status"), "uses") },
			want: "older than this program and lack DelegationHop.status.uses and ",
		},
		"hidden":        {code: 403, change: func(object) {}},
		"not installed": {code: 404, change: func(object) {}, want: "does not say which fields the kinds of delegation.wayleave.dev have"},
		"at bay":        {code: 500, change: func(object) {}, want: "for the fields of our kinds"},
	} {
		t.Run(name, func(t *testing.T) {
			document := openAPI(t, test.change)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if r.URL.Path != "/openapi/v3/apis/delegation.wayleave.dev/v1alpha1" {
					t.Errorf("it asks for %s", r.URL.Path)
				}
				w.WriteHeader(test.code)
				_, _ = w.Write(document)
			}))
			defer server.Close()
			expect(t, sameKinds(t.Context(), &rest.Config{Host: server.URL}, 50*time.Millisecond), test.want)
		})
	}
}
