package webhooks

import (
	"strings"
	"testing"

	admissionv1 "k8s.io/api/admission/v1"
)

// TestHostileInput: whatever comes in, the webhooks answer, and do not allow what they cannot read.
func TestHostileInput(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 20000) + "1" + strings.Repeat("}", 20000)
	for name, raw := range map[string]string{
		"nothing":         "",
		"null":            "null",
		"a list":          "[]",
		"a number":        "7",
		"text":            `"pod"`,
		"half an object":  `{"spec":{`,
		"the wrong types": `{"metadata":{"labels":"delegation.wayleave.dev/hop"},"spec":[]}`,
		"very deep":       `{"metadata":` + deep + `}`,
		"empty":           "{}",
	} {
		for _, kind := range []string{"Pod", "Job", "CronJob", "PodTemplate", "DelegationPath", "DelegationHop", "Secret"} {
			w := newWorld(t)
			for handler, h := range handlers(w.Options) {
				for _, operation := range []admissionv1.Operation{admissionv1.Create, admissionv1.Update} {
					req := request(t, "mallory", kind, nil, nil)
					req.Operation, req.Object.Raw, req.OldObject.Raw = operation, []byte(raw), []byte(raw)
					got := h.Handle(t.Context(), req)
					if got.Allowed && name != "empty" && name != "null" {
						t.Errorf("%s lets %s as %s pass", handler, name, kind)
					}
				}
			}
		}
	}
}
