package webhooks

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// TestTooLarge: an object is bounded as a whole when it is created and when it grows.
func TestTooLarge(t *testing.T) {
	of := func(size int) []byte { return []byte(strings.Repeat("x", size)) }
	for name, test := range map[string]struct {
		size, old int
		want      bool
	}{
		"created at the bound":           {size: maxObjectBytes},
		"created beyond it":              {size: maxObjectBytes + 1, want: true},
		"grown beyond it":                {size: maxObjectBytes + 1, old: maxObjectBytes, want: true},
		"older than the bound":           {size: 2 * maxObjectBytes, old: 2 * maxObjectBytes},
		"older than the bound, and less": {size: maxObjectBytes + 1, old: 2 * maxObjectBytes},
	} {
		var req admission.Request
		req.Operation, req.Object.Raw = "CREATE", of(test.size)
		if test.old > 0 {
			req.Operation, req.OldObject.Raw = "UPDATE", of(test.old)
		}
		if got := tooLarge(req); (got != "") != test.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}
