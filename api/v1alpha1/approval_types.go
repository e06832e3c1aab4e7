package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ApprovalRule says who has to approve a path before any of its hops is granted something.
//
// +kubebuilder:validation:MinProperties=1
type ApprovalRule struct {
	// count is how many different people have to approve.
	// +optional
	// +default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=8
	Count int32 `json:"count,omitempty"`

	// covers is what they approve: Hops, which is the path with each of its hops, so that a hop that is new or changed voids the
	// approvals; or Envelope, which is the path alone.
	// +optional
	// +default="Hops"
	Covers ApprovalCovers `json:"covers,omitempty"`

	// within is how long the request waits before it expires: Go notation, from 1s to 8784h.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('8784h')",message="must be from 1s to 8784h, in h, m, s or ms; days are not a unit: 7 days are 168h"
	Within *metav1.Duration `json:"within,omitempty"`

	// approvers are those of whom alone an approval counts, if they hold the verb approve on the path. If absent, everybody who holds it
	// may approve, but no ServiceAccount: one may only that is named here.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Approvers []ApproverRef `json:"approvers,omitempty"`
}

// ApprovalCovers says what an approval covers.
//
// +kubebuilder:validation:Enum=Hops;Envelope
type ApprovalCovers string

const (
	// CoversHops is the path with each of its hops.
	CoversHops ApprovalCovers = "Hops"
	// CoversEnvelope is the path alone.
	CoversEnvelope ApprovalCovers = "Envelope"
)

// ApproverRef names who may approve: a user, or everybody in a group.
type ApproverRef struct {
	// kind is User or Group.
	// +required
	Kind ApproverKind `json:"kind,omitempty"`

	// name is the name of the user, or of the group.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Name string `json:"name,omitempty"`
}

// ApproverKind is what an ApproverRef names.
//
// +kubebuilder:validation:Enum=User;Group
type ApproverKind string

const (
	// ApproverUser is a user name.
	ApproverUser ApproverKind = "User"
	// ApproverGroup is a group of the user who approves.
	ApproverGroup ApproverKind = "Group"
)

// ApprovalState is where the approval of a path stands, for field selectors.
//
// +kubebuilder:validation:Enum=Pending;Approved;Denied;Closed
type ApprovalState string

const (
	// ApprovalPending says that the path waits for approval.
	ApprovalPending ApprovalState = "Pending"
	// ApprovalApproved says that the path is approved as it is.
	ApprovalApproved ApprovalState = "Approved"
	// ApprovalDenied says that somebody denied the path.
	ApprovalDenied ApprovalState = "Denied"
	// ApprovalClosed says that the path ended before it was approved.
	ApprovalClosed ApprovalState = "Closed"
)

// ApprovalStatus is where the approval of a path stands.
type ApprovalStatus struct {
	// state is Pending, Approved or Denied; or Closed, where the path ended before it was approved.
	// +required
	State ApprovalState `json:"state,omitempty"`

	// requestedDigest is the digest of the path as it waits, or waited.
	// +optional
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	RequestedDigest string `json:"requestedDigest,omitempty"`

	// requestedAt is since when the path waits for approval as it is.
	// +optional
	RequestedAt *metav1.Time `json:"requestedAt,omitempty"`

	// approvedDigest is the digest of the path as it was approved.
	// +optional
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	ApprovedDigest string `json:"approvedDigest,omitempty"`

	// spentAt is when the approvals were spent: the path became active with them.
	// +optional
	SpentAt *metav1.Time `json:"spentAt,omitempty"`

	// decisions are the approvals that were spent, or the denial. They stay when the records that they come from are deleted.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Decisions []RecordedDecision `json:"decisions,omitempty"`
}

// RecordedDecision is a decision that counted.
type RecordedDecision struct {
	// name is the name of the DelegationApproval.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// uid is its UID.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	UID string `json:"uid,omitempty"`

	// approver is the user who decided.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Approver string `json:"approver,omitempty"`

	// credentialID is the id of their credential, where the API server knew one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	CredentialID string `json:"credentialID,omitempty"`

	// reason is what they said.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason,omitempty"`

	// at is when they decided.
	// +required
	At metav1.Time `json:"at,omitempty,omitzero"`

	// expiresAt is until when the decision holds.
	// +required
	ExpiresAt metav1.Time `json:"expiresAt,omitempty,omitzero"`
}
