package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Decision is what a person decided about a path.
//
// +kubebuilder:validation:Enum=Approved;Denied
type Decision string

const (
	// DecisionApproved lets the path begin, once enough people have decided so.
	DecisionApproved Decision = "Approved"
	// DecisionDenied ends the path. It is final.
	DecisionDenied Decision = "Denied"
)

// DelegationApprovalSpec is one person's decision on one path, exactly as it was shown to them.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a decision is final: to decide anew, create another DelegationApproval",reason="FieldValueForbidden"
type DelegationApprovalSpec struct {
	// path is the path decided on, in the namespace of the approval.
	// +required
	Path ApprovedPath `json:"path,omitempty,omitzero"`

	// digest is that of the path as it was shown, as its status.digest says: sha256:, and 64 hexadecimal digits. A path that was changed
	// since has another one.
	// +required
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	Digest string `json:"digest,omitempty"`

	// decision is Approved or Denied.
	// +required
	Decision Decision `json:"decision,omitempty"`

	// reason says why.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason,omitempty"`

	// expiresAt is until when the approval holds: before it the path must become active, and at it the path ends.
	// +required
	ExpiresAt metav1.Time `json:"expiresAt,omitempty,omitzero"`

	// approver is the person who decided, as the API server knows them. It is stamped at admission; a request that names somebody else is
	// rejected.
	// +optional
	Approver *Approver `json:"approver,omitempty"`
}

// ApprovedPath names a path. One made anew under the same name is another path.
type ApprovedPath struct {
	// name is the name of the path.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name,omitempty"`

	// uid is its UID.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	UID string `json:"uid,omitempty"`
}

// Approver is a person who decided.
type Approver struct {
	// user is the user name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	User string `json:"user,omitempty"`

	// groups are the groups of that user, beyond those implied by the name.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Groups []string `json:"groups,omitempty"`

	// credentialID is the id of the credential with which the request was made, where the API server knows one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	CredentialID string `json:"credentialID,omitempty"`
}

// DelegationApproval is one person's decision on one exact path. It never changes.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=dapproval,categories=delegation
// +kubebuilder:selectablefield:JSONPath=`.spec.path.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.path.uid`
// +kubebuilder:printcolumn:name="Path",type=string,JSONPath=`.spec.path.name`
// +kubebuilder:printcolumn:name="Decision",type=string,JSONPath=`.spec.decision`
// +kubebuilder:printcolumn:name="Approver",type=string,JSONPath=`.spec.approver.user`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:printcolumn:name="For",type=string,JSONPath=`.spec.reason`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type DelegationApproval struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec is the decision.
	// +required
	Spec DelegationApprovalSpec `json:"spec,omitempty,omitzero"`
}

// DelegationApprovalList is a list of approvals.
//
// +kubebuilder:object:root=true
type DelegationApprovalList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DelegationApproval `json:"items"`
}
