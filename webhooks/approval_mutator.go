package webhooks

import (
	"context"
	"fmt"

	authenticationv1 "k8s.io/api/authentication/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// credentialKey is where the API server says the id of the credential of a request.
const credentialKey = "authentication.kubernetes.io/credential-id"

// approvalMutator stamps a decision with who makes it. What the request says of that counts for nothing.
type approvalMutator struct{ recorder }

// Handle stamps one decision.
func (m *approvalMutator) Handle(_ context.Context, req admission.Request) admission.Response {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(req.Object.Raw); err != nil {
		return m.unanswered(req, delegation.Input{}, malformed(fmt.Errorf("decoding the object: %w", err)))
	}
	spec, ok := object.Object["spec"].(map[string]any)
	if !ok {
		return admission.Allowed("") // the schema denies it, in its own words
	}
	who := approver(req.UserInfo)
	stamp, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&who)
	if err != nil {
		return m.unanswered(req, delegation.Input{}, failed(fmt.Errorf("stamping spec.approver: %w", err)))
	}
	spec["approver"] = stamp
	stamped, err := object.MarshalJSON()
	if err != nil {
		return m.unanswered(req, delegation.Input{}, failed(fmt.Errorf("encoding the stamped object: %w", err)))
	}
	return admission.PatchResponseFromRaw(req.Object.Raw, stamped)
}

// approver is who makes a request, as somebody who decides.
func approver(user authenticationv1.UserInfo) v1alpha1.Approver {
	who := requester(user)
	decides := v1alpha1.Approver{User: who.User, Groups: who.Groups}
	if ids := user.Extra[credentialKey]; len(ids) > 0 {
		decides.CredentialID = ids[0]
	}
	return decides
}
