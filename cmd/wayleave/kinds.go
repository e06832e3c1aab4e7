package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// ourKinds are the types that this program reads and writes.
var ourKinds = map[string]reflect.Type{
	"DelegationApproval": reflect.TypeFor[v1alpha1.DelegationApproval](),
	"DelegationPath":     reflect.TypeFor[v1alpha1.DelegationPath](),
	"DelegationHop":      reflect.TypeFor[v1alpha1.DelegationHop](),
}

// sameKinds fails unless the kinds that are installed have the fields that this program knows, and no others: a field that it does
// not know may restrict a hop, and one that the API server does not know is dropped, such as how often a hop was used. It waits so
// long for kinds that were installed just now. A cluster may hide its schemas from us.
func sameKinds(ctx context.Context, cfg *rest.Config, patience time.Duration) error {
	client, err := discovery.NewDiscoveryClientForConfig(cfg)
	if err != nil {
		return fmt.Errorf("connecting to the API server %s: %w", cfg.Host, err)
	}
	var last error
	_ = wait.PollUntilContextTimeout(ctx, min(patience, 200*time.Millisecond), patience, true, func(context.Context) (bool, error) {
		raw, err := client.RESTClient().Get().AbsPath("/openapi/v3/apis/"+v1alpha1.SchemeGroupVersion.String()).
			SetHeader("Accept", runtime.ContentTypeJSON).Timeout(patience).Do(ctx).Raw()
		switch {
		case err == nil:
			last = compareKinds(raw)
		case apierrors.IsForbidden(err):
			ctrl.Log.Info("the API server does not let this process see the fields of its kinds, so they are not compared", "answer", err.Error())
			last = nil
		case apierrors.IsNotFound(err):
			last = fmt.Errorf("the API server %s does not say which fields the kinds of %s have", cfg.Host, v1alpha1.GroupName)
		default:
			last = fmt.Errorf("asking the API server %s for the fields of our kinds: %w", cfg.Host, cause(err))
		}
		return last == nil, nil
	}) // the last answer says whether it failed
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return last
}

// schema is what is read here of a schema in a document of OpenAPI 3.
type schema struct {
	Properties           map[string]schema `json:"properties"`
	Items                *schema           `json:"items"`
	AdditionalProperties *values           `json:"additionalProperties"`
	Kinds                []struct {
		Kind string `json:"kind"`
	} `json:"x-kubernetes-group-version-kind"`
}

// values is the schema of the values of a map. Some say only whether there may be any.
type values struct{ schema }

// UnmarshalJSON reads a schema, or true or false.
func (v *values) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] != '{' {
		return nil
	}
	return json.Unmarshal(raw, &v.schema)
}

// compareKinds says which fields of our kinds a document of OpenAPI 3 has, or lacks, other than this program.
func compareKinds(raw []byte) error {
	var document struct {
		Components struct {
			Schemas map[string]schema `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(raw, &document); err != nil {
		return fmt.Errorf("reading the fields of our kinds: %w", err)
	}
	served := map[string]bool{}
	for _, s := range document.Components.Schemas {
		if len(s.Kinds) == 1 && ourKinds[s.Kinds[0].Kind] != nil {
			s.collect(s.Kinds[0].Kind, served)
		}
	}
	known := map[string]bool{}
	for kind, t := range ourKinds {
		collect(t, kind, known)
	}
	if extra := without(served, known); len(extra) > 0 {
		return fmt.Errorf("the kinds that are installed are newer than this program, which does not know %s: "+
			"run the image of their release, or install the kinds of this one", some(extra))
	}
	if missing := without(known, served); len(missing) > 0 {
		return fmt.Errorf("the kinds that are installed are older than this program and lack %s: install the kinds of its release",
			some(missing))
	}
	return nil
}

// collect adds the fields below a path. What metadata has is Kubernetes' own.
func (s schema) collect(path string, into map[string]bool) {
	for name, below := range s.Properties {
		if field := path + "." + name; !strings.HasSuffix(field, ".metadata") {
			into[field] = true
			below.collect(field, into)
		}
	}
	if s.Items != nil {
		s.Items.collect(path, into)
	}
	if s.AdditionalProperties != nil {
		s.AdditionalProperties.collect(path, into)
	}
}

// collect adds the fields of a type below a path.
func collect(t reflect.Type, path string, into map[string]bool) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Map:
		collect(t.Elem(), path, into)
		return
	case reflect.Struct:
	default:
		return
	}
	if reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]()) { // a time, for example, is a string
		return
	}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			collect(f.Type, path, into)
		case name != "" && name != "-" && name != "metadata":
			into[path+"."+name] = true
			collect(f.Type, path+"."+name, into)
		}
	}
}

// without are the elements of a set that another one has not, in order.
func without(set, other map[string]bool) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(set)), func(one string) bool { return other[one] })
}

// some names the first of some fields, and how many more there are.
func some(fields []string) string {
	if len(fields) == 1 {
		return fields[0]
	}
	return fmt.Sprintf("%s and %d more", fields[0], len(fields)-1)
}
