package delegation

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// checkEnded reports what the path or a hop of the chain has ended for earlier, where nothing says so now: the object that the final
// reason was derived from may be deleted, or changed, or the clock may have been set back.
func (e *evaluation) checkEnded() {
	if slices.ContainsFunc(e.findings, isFinal) {
		return
	}
	if p := e.in.Path; p != nil && p.Status.Ended != nil {
		ended := p.Status.Ended
		e.report(Finding{
			Reason: ended.Reason, Node: e.pathNode().name, Field: "status.ended", At: ended.At.Time, Message: ended.Message,
		})
		return
	}
	for i, h := range e.in.Chain.Hops {
		if ended := h.Status.Ended; ended != nil {
			e.report(Finding{Reason: ended.Reason, Node: e.hopNode(i).name, Field: "status.ended", At: ended.At.Time, Message: ended.Message})
			return
		}
	}
}

func isFinal(f Finding) bool { return f.Reason.Class() == v1alpha1.ClassFinal }

// latchEnd records the final reason of a verdict. It is written once.
func latchEnd(ended **v1alpha1.Ended, v Verdict, now time.Time) {
	if *ended != nil || len(v.Findings) == 0 || !isFinal(v.Findings[0]) {
		return
	}
	f := v.Findings[0]
	*ended = &v1alpha1.Ended{Reason: f.Reason, At: metav1.NewTime(now.Truncate(time.Second)), Message: f.BoundedString()}
}
