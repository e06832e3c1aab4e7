package webhooks

import (
	"net/http"
	"slices"
	"time"

	admissionv1 "k8s.io/api/admission/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/metrics"
)

// forbidden denies a request with the status of apierrors.NewForbidden, whose details name the resource.
func forbidden(req admission.Request, message string, causes ...metav1.StatusCause) admission.Response {
	name, _ := objectNames(req)
	return denied(http.StatusForbidden, metav1.StatusReasonForbidden, message, &metav1.StatusDetails{
		Group: req.Resource.Group, Kind: req.Resource.Resource, Name: name, Causes: causes,
	})
}

// invalid denies a request with the status of apierrors.NewInvalid, whose details name the kind. kubectl prints its
// causes in place of its message.
func invalid(req admission.Request, message string, causes ...metav1.StatusCause) admission.Response {
	name, _ := objectNames(req)
	return denied(http.StatusUnprocessableEntity, metav1.StatusReasonInvalid, message, &metav1.StatusDetails{
		Group: req.Kind.Group, Kind: req.Kind.Kind, Name: name, Causes: causes,
	})
}

// malformed denies with a 400: the request cannot be read.
func malformed(err error) admission.Response {
	return denied(http.StatusBadRequest, metav1.StatusReasonBadRequest, err.Error(), nil)
}

// failed denies with a 500: a fact that the answer depends on could not be read.
func failed(err error) admission.Response {
	return denied(http.StatusInternalServerError, metav1.StatusReasonInternalError, err.Error(),
		&metav1.StatusDetails{Causes: []metav1.StatusCause{{Message: err.Error()}}})
}

func denied(code int32, reason metav1.StatusReason, message string, details *metav1.StatusDetails) admission.Response {
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{Result: &metav1.Status{
		Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message, Details: details,
	}}}
}

// maxCauses bounds the causes of an answer: a scope can be wrong in a thousand places.
const maxCauses = 16

// inObject are the reasons for which an object is wrong whatever else exists in the cluster.
var inObject = []v1alpha1.Reason{v1alpha1.ReasonScopeInvalid, v1alpha1.ReasonScopeAmplifies}

// isInvalid says whether all that is wrong is wrong in the object of the request itself. An unanswered question does not
// count: what a scope that cannot be read would need is unknown.
func isInvalid(findings []delegation.Finding) bool {
	wrong := slices.DeleteFunc(slices.Clone(findings), func(f delegation.Finding) bool {
		return f.Reason == v1alpha1.ReasonUndetermined
	})
	return len(wrong) > 0 && !slices.ContainsFunc(wrong, func(f delegation.Finding) bool {
		return f.Node != "" || !slices.Contains(inObject, f.Reason)
	})
}

// fieldOf is the field of a finding in the object of the request; empty where it is in another object.
func fieldOf(f delegation.Finding) string {
	if f.Node != "" {
		return ""
	}
	return f.Field
}

// causes are findings as the API server reports them, with the field of each in the object of the request. What is not
// there is named in the sentence.
func causes(now time.Time, field func(delegation.Finding) string, findings ...delegation.Finding) []metav1.StatusCause {
	list := make([]metav1.StatusCause, 0, min(len(findings), maxCauses))
	for _, f := range findings[:min(len(findings), maxCauses)] {
		cause := metav1.StatusCause{Type: metav1.CauseTypeForbidden, Field: field(f)}
		if slices.Contains(inObject, f.Reason) {
			cause.Type = metav1.CauseTypeFieldValueInvalid
		}
		if cause.Field != "" {
			f.Field = ""
		}
		cause.Message = f.Relative(now)
		list = append(list, cause)
	}
	return list
}

// recorder writes the audit line of each answer, and counts it.
type recorder struct {
	log     *audit.Log
	clock   clock.PassiveClock
	metrics *metrics.Admission
	// reportOnly lets workloads pass that would be denied.
	reportOnly bool
}

// record writes the audit line of an answer and returns the answer. What cannot be recorded is not allowed.
func (r recorder) record(
	req admission.Request, in delegation.Input, reason v1alpha1.Reason, response admission.Response,
) admission.Response {
	message := ""
	if response.Result != nil {
		message = response.Result.Message
	}
	if err := r.write(req, in, reason, outcomeOf(response), message); err != nil {
		reason, response = v1alpha1.ReasonUndetermined, failed(err)
	}
	r.metrics.Decided(req.Kind.Kind, outcomeOf(response), reason)
	return response
}

// outcomeOf is what an answer says. An open question is denied, too.
func outcomeOf(response admission.Response) string {
	if response.Allowed {
		return delegation.Allow.String()
	}
	return delegation.Deny.String()
}

// write writes the audit line of an answer.
func (r recorder) write(
	req admission.Request, in delegation.Input, reason v1alpha1.Reason, decision, message string,
) error {
	record := audit.Record{
		Time: r.clock.Now(), Verb: audit.Admit, Actor: req.UserInfo.Username, Operation: string(req.Operation),
		Object:   req.Kind.Kind + " " + req.Namespace + "/" + recordedName(req),
		Decision: decision, Reason: reason, Message: message, DryRun: isDryRun(req),
	}
	return r.log.Write(record.About(in))
}

// unanswered records a request that was denied before there was a verdict, with what of the chain was known by then.
func (r recorder) unanswered(req admission.Request, in delegation.Input, response admission.Response) admission.Response {
	return r.record(req, in, v1alpha1.ReasonUndetermined, response)
}

// noted records an update that is allowed in any case: no one is kept from revoking by a line that cannot be written.
func (r recorder) noted(req admission.Request, in delegation.Input, reason v1alpha1.Reason) admission.Response {
	response := admission.Allowed("")
	if err := r.write(req, in, reason, outcomeOf(response), ""); err != nil {
		response = response.WithWarnings(unwritten(err))
	}
	r.metrics.Decided(req.Kind.Kind, outcomeOf(response), reason)
	return response
}

// unwritten is the warning on a request that passes although its audit line could not be written.
func unwritten(err error) string { return "no audit line of this request was written: " + err.Error() }

// knownOf is what the object of a request says itself of path and hop; nothing where it cannot be read. Its status is that
// of the stored object, which no request can write.
func knownOf(req admission.Request) delegation.Input {
	switch req.Kind.Kind {
	case "DelegationPath":
		if path, _, err := decodeTyped[v1alpha1.DelegationPath](req); err == nil {
			return delegation.Input{Path: path}
		}
	case "DelegationHop":
		if hop, old, err := decodeTyped[v1alpha1.DelegationHop](req); err == nil {
			return delegation.Input{Chain: delegation.Chain{Hops: []*v1alpha1.DelegationHop{asStored(hop, old)}}}
		}
	}
	return delegation.Input{}
}

// asStored is a hop with its stored status.
func asStored(hop, old *v1alpha1.DelegationHop) *v1alpha1.DelegationHop {
	hop = hop.DeepCopy()
	hop.Status = v1alpha1.DelegationHopStatus{}
	if old != nil {
		hop.Status = *old.Status.DeepCopy()
	}
	return hop
}

// namedHop is an input that knows no more of a hop than its name.
func namedHop(key types.NamespacedName) delegation.Input {
	hop := &v1alpha1.DelegationHop{}
	hop.Namespace, hop.Name = key.Namespace, key.Name
	return delegation.Input{Chain: delegation.Chain{Hops: []*v1alpha1.DelegationHop{hop}}}
}

// recordedName is the name of the object in a request; where the API server has not generated it yet, its beginning.
func recordedName(req admission.Request) string {
	name, generateName := objectNames(req)
	if name == "" && generateName != "" {
		return generateName + "*"
	}
	return name
}
