package webhooks

import (
	"errors"

	"gomodules.xyz/jsonpatch/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/workload"
)

// unstamped denies what cannot be stamped, also where Wayleave only reports: what has no stamp would count as made by a built-in
// controller, on the right of another user.
func (r recorder) unstamped(req admission.Request, in delegation.Input, err error) admission.Response {
	if tooLong, ok := errors.AsType[unstampableError](err); ok {
		cause := metav1.StatusCause{Type: metav1.CauseTypeForbidden, Message: tooLong.Error()}
		return r.record(req, in, v1alpha1.ReasonNotPermittedToUse, forbidden(req, tooLong.Error(), cause))
	}
	return r.unanswered(req, in, failed(err))
}

// stampWorkload is the patch that stamps a workload with its author and the hop, which is nil if it does not exist. What a
// built-in controller creates has no author, and what an update leaves as it runs keeps its stamp: whatever a request says
// itself is overwritten.
func stampWorkload(
	req admission.Request, w, old *workload.Workload, hop *v1alpha1.DelegationHop,
) ([]jsonpatch.Operation, error) {
	switch {
	case fromTemplate(req, w):
		return w.Stamping(nil)
	case w.Unchanged(old):
		return w.KeepingStamp(old), nil
	}
	author := requester(req.UserInfo)
	if err := stampable(author, "create it as a user in fewer groups"); err != nil {
		return nil, err
	}
	return w.Stamping(&workload.Stamp{Author: author, HopUID: uidOf(hop)})
}

// uidOf is the UID of a hop; empty where there is none.
func uidOf(hop *v1alpha1.DelegationHop) string {
	if hop == nil {
		return ""
	}
	return string(hop.UID)
}
