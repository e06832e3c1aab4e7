package delegation

import (
	"strings"
	"testing"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestFloorGap: while a policy is not in effect, nothing is allowed, and what ended has ended.
func TestFloorGap(t *testing.T) {
	open := but(ask(path(), hop("isolate")), func(in *Input) { in.Facts.FloorGap = FloorGap("gate", "is not bound", 2) })
	v := Evaluate(open)
	f, found := v.Find(v1alpha1.ReasonUndetermined)
	if v.Outcome != Undetermined || !found || !strings.Contains(f.Message, "policy gate is not bound, and 2 more are not in effect: apply") {
		t.Errorf("the verdict is %+v", v)
	}
	open.Path.Spec.Revoked = revoked("false alarm")
	if v := Evaluate(open); v.Outcome != Deny || v.Class() != v1alpha1.ClassFinal {
		t.Errorf("the verdict on a revoked path is %+v", v)
	}
}
