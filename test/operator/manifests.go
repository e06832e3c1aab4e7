//go:build unix

package operator

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	apilabels "k8s.io/apimachinery/pkg/labels"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

// kustomization is the little of a kustomization that config/ uses.
type kustomization struct {
	Resources []string `json:"resources"`
	// Labels are given to each object.
	Labels []struct {
		Pairs map[string]string `json:"pairs"`
	} `json:"labels"`
}

// Load reads the objects of a kustomization of ours, or of a single file, in their order.
func Load(path string) ([]*unstructured.Unstructured, error) {
	if filepath.Ext(path) != "" {
		return loadFile(path)
	}
	raw, err := os.ReadFile(filepath.Join(path, "kustomization.yaml"))
	if err != nil {
		return nil, fmt.Errorf("reading the kustomization of %s: %w", path, err)
	}
	var k kustomization
	if err := yaml.UnmarshalStrict(raw, &k); err != nil {
		return nil, fmt.Errorf("reading the kustomization of %s: %w", path, err)
	}
	var all []*unstructured.Unstructured
	for _, resource := range k.Resources {
		objects, err := Load(filepath.Join(path, resource))
		if err != nil {
			return nil, err
		}
		all = append(all, objects...)
	}
	for _, object := range all {
		labels := object.GetLabels()
		for _, l := range k.Labels {
			labels = apilabels.Merge(labels, l.Pairs)
		}
		object.SetLabels(labels)
	}
	return all, nil
}

func loadFile(path string) ([]*unstructured.Unstructured, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading manifests: %w", err)
	}
	return Decode(raw)
}

// Decode reads the objects of a YAML text, in their order.
func Decode(raw []byte) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(raw), 4096)
	for {
		object := &unstructured.Unstructured{}
		err := decoder.Decode(object)
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, fmt.Errorf("decoding manifests: %w", err)
		}
		if len(object.Object) > 0 {
			objects = append(objects, object)
		}
	}
}
