package webhooks

import (
	"net/http"
	"slices"

	admissionv1 "k8s.io/api/admission/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/rbac"
)

// requester is who makes a request, without the groups that the name implies.
func requester(user authenticationv1.UserInfo) v1alpha1.Subject {
	s := v1alpha1.Subject{User: user.Username}
	for _, group := range user.Groups {
		if !rbac.Implied(group) && !slices.Contains(s.Groups, group) {
			s.Groups = append(s.Groups, group)
		}
	}
	return s
}

// refuse is a 403 with a sentence that reads like help.
func refuse(message string, warnings ...string) admission.Response {
	return admission.Response{AdmissionResponse: admissionv1.AdmissionResponse{
		Allowed:  false,
		Warnings: warnings,
		Result:   &metav1.Status{Status: metav1.StatusFailure, Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: message},
	}}
}

// malformed is a 400: the request cannot be read.
func malformed(err error) admission.Response { return admission.Errored(http.StatusBadRequest, err) }

// failed is a 500: something that the answer depends on could not be found out. The API server refuses the request.
func failed(err error) admission.Response {
	return admission.Errored(http.StatusInternalServerError, err)
}

// answered writes the audit line of an answer and returns the answer. What cannot be told is not allowed.
func (b *base) answered(req admission.Request, in delegation.Input, reason v1alpha1.Reason, response admission.Response) admission.Response {
	record := audit.Record{
		Time: b.Clock.Now(), Verb: "admit", Actor: req.UserInfo.Username, Operation: string(req.Operation),
		Object:   req.Kind.Kind + " " + req.Namespace + "/" + nameOf(req),
		Decision: string(delegation.Deny), Reason: reason,
		DryRun: req.DryRun != nil && *req.DryRun,
	}
	if response.Allowed {
		record.Decision = string(delegation.Allow)
	}
	if response.Result != nil {
		record.Message = response.Result.Message
	}
	if err := b.Audit.Write(record.About(in)); err != nil {
		return failed(err)
	}
	return response
}

// nameOf is the name of the object in a request; before the API server has made one up, what it begins with.
func nameOf(req admission.Request) string {
	if req.Name != "" {
		return req.Name
	}
	var meta metav1.PartialObjectMetadata
	if err := decodeInto(req.Object.Raw, &meta); err != nil {
		return ""
	}
	if meta.Name == "" && meta.GenerateName != "" {
		return meta.GenerateName + "*"
	}
	return meta.Name
}
