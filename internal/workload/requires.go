package workload

import (
	"errors"
	"fmt"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// maxRequires is the longest declaration that is parsed, in bytes.
const maxRequires = 16 << 10

// Requires reads what the workload says that it needs; nil if it says nothing.
func (w *Workload) Requires() ([]rbacv1.PolicyRule, error) {
	text := w.Meta.Annotations[v1alpha1.AnnotationRequires]
	if text == "" {
		return nil, nil
	}
	if len(text) > maxRequires {
		return nil, fmt.Errorf("it is longer than %d bytes", maxRequires)
	}
	// Aliases expand a few kilobytes to gigabytes, within the parser's own limits. No rule needs an ampersand.
	if strings.Contains(text, "&") {
		return nil, errors.New("it has an ampersand: write each rule out, without anchors and aliases")
	}
	var rules []rbacv1.PolicyRule
	if err := yaml.UnmarshalStrict([]byte(text), &rules); err != nil {
		return nil, fmt.Errorf("it is not a YAML list of PolicyRules: %w", err)
	}
	if len(rules) == 0 {
		return nil, errors.New("it names nothing: leave the annotation out if all of the hop's scope is needed")
	}
	return rules, nil
}
