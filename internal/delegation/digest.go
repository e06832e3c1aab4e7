package delegation

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/gowebpki/jcs"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// SpecOf is an object as its digest has it.
type SpecOf struct {
	Namespace string         `json:"namespace"`
	Name      string         `json:"name"`
	Spec      map[string]any `json:"spec"`
}

// shown are the fields of a spec that decide nothing about what may happen, or only end it.
var shown = []string{"reason", "suspend", "revoked"}

// Decisive is the spec of a path or hop, as the API server has it, without what is only for show.
func Decisive(spec map[string]any) map[string]any {
	decisive := maps.Clone(spec)
	for _, field := range shown {
		delete(decisive, field)
	}
	return decisive
}

// Digest is what an approval of a path has to name: the SHA-256 of the canonical JSON (RFC 8785) of the path and of the hops that the
// approval covers, whose order does not matter. See docs/approvals.md.
func Digest(path SpecOf, hops []SpecOf) (string, error) {
	sorted := slices.SortedFunc(slices.Values(hops), func(a, b SpecOf) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	if sorted == nil {
		sorted = []SpecOf{}
	}
	raw, err := json.Marshal(struct {
		APIVersion string   `json:"apiVersion"`
		Path       SpecOf   `json:"path"`
		Hops       []SpecOf `json:"hops"`
	}{v1alpha1.SchemeGroupVersion.String(), path, sorted})
	if err != nil {
		return "", fmt.Errorf("encoding a path: %w", err)
	}
	if raw, err = jcs.Transform(raw); err != nil {
		return "", fmt.Errorf("encoding a path canonically: %w", err)
	}
	sum := sha256.Sum256(raw)
	return "sha256:" + hex.EncodeToString(sum[:]), nil
}
