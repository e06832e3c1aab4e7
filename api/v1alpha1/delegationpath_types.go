package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// DelegationPathSpec is the envelope of a delegated execution path: who started it, why, what it may do at most,
// and until when.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.revoked) || (has(self.revoked) && self.revoked == oldSelf.revoked)",message="revoked is final: it can be set, never changed or unset",fieldPath=".revoked",reason="FieldValueForbidden"
type DelegationPathSpec struct {
	// reason says what the path is for. It is shown wherever the path is shown.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason,omitempty"`

	// origin is the identity whose authority the path delegates. If absent, it is stamped from the request's user. To
	// declare another one requires the right to impersonate that user and each of its groups (at most 8 declared, never
	// system:masters). A user who changes scope, lifetime or hops becomes the origin, unless they may impersonate the
	// old one.
	// +optional
	Origin *Subject `json:"origin,omitempty"`

	// lifetime bounds the path; its duration counts from the moment the path becomes active.
	// +required
	Lifetime Lifetime `json:"lifetime,omitempty,omitzero"`

	// scope is the most that any hop of this path may do. It must lie within what the origin may do.
	// +required
	// +kubebuilder:validation:XValidation:rule="has(self.namespaced) || has(self.cluster) || has(self.audiences) || !has(self.acceptedRisks)",message="acceptedRisks allows nothing by itself: say what may be done in namespaced, cluster or audiences"
	Scope Scope `json:"scope,omitempty,omitzero"`

	// hops bounds the chain: how deep it may grow and in which namespaces its hops may be.
	// +optional
	Hops *HopBounds `json:"hops,omitempty"`

	// approval says who has to approve the path before any of its hops is granted something. Accepted risks other than Streams, and the
	// ceiling of the platform team, may require an approval where it is absent: then that of one person, of the path with its hops.
	// +optional
	Approval *ApprovalRule `json:"approval,omitempty"`

	// isolation says whether hops of this path may be granted something where others can act as them: Required means not. Others
	// can who may impersonate accounts of the namespace of a hop, request their tokens, or read the Secret of a hop's token. If
	// absent, they are named in the condition Isolated of each hop.
	// +optional
	Isolation Isolation `json:"isolation,omitempty"`

	// suspend withdraws the path reversibly: any user who may patch the path may resume it. Against an adversary,
	// revoke.
	// +optional
	Suspend *bool `json:"suspend,omitempty"`

	// revoked permanently ends the path and all its hops.
	// +optional
	Revoked *Revocation `json:"revoked,omitempty"`
}

// Isolation says what becomes of hops as which others can act.
//
// +kubebuilder:validation:Enum=Required
type Isolation string

// IsolationRequired has hops as which others can act be granted nothing.
const IsolationRequired Isolation = "Required"

// HopBounds bounds the hops of a path.
//
// +kubebuilder:validation:MinProperties=1
type HopBounds struct {
	// maxDepth is how many hops may follow one another; a first hop has depth 1.
	// +optional
	// +default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	MaxDepth int32 `json:"maxDepth,omitempty"`

	// namespaces are those in which hops may be created. If absent, only the path's own namespace.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespaces []string `json:"namespaces,omitempty"`

	// images are the most that hops may list in workload.images, with the same patterns. If absent, each hop lists its own; one
	// that the identity of a hop made lists what a hop above it does.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:Pattern=`^[^*\s]+([:@][^*/\s]*\*)?$`
	Images []string `json:"images,omitempty"`

	// secrets are the most that hops may list in workload.secrets. If absent, none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Secrets []string `json:"secrets,omitempty"`
}

// DelegationPathStatus is the observed state of a path. Only the controller writes it.
//
// +kubebuilder:validation:MinProperties=1
type DelegationPathStatus struct {
	// conditions are Ready, Reconciling and Stalled with the meaning of kstatus, OriginAuthorized, and Approved. Their reasons
	// come from the one vocabulary of this group.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// observedGeneration is the generation of the spec that the rest of the status describes.
	// +optional
	// +kubebuilder:validation:Minimum=1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// originUID is the UID of the ServiceAccount that is the origin, as it was first found, where spec.origin does not say it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	OriginUID string `json:"originUID,omitempty"`

	// activeSince is when the path first became active. Durations count from here. It is written once.
	// +optional
	ActiveSince *metav1.Time `json:"activeSince,omitempty"`

	// expiresAt is when the path expires.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// ended is why the path ended for good, once it has: it stays ended whatever a clock or a spec says later.
	// +optional
	Ended *Ended `json:"ended,omitempty"`

	// digest is that of all that decides what may happen under the path, where an approval is required: what an approval has to name.
	// +optional
	// +kubebuilder:validation:MinLength=71
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`

	// approval is where the approval of the path stands; absent where none was ever required.
	// +optional
	Approval *ApprovalStatus `json:"approval,omitempty"`

	// hops counts the path's hops by state.
	// +optional
	Hops *HopCounts `json:"hops,omitempty"`

	// withdrawal records how what the hops of the path held was withdrawn; absent while the path is active.
	// +optional
	Withdrawal *Withdrawal `json:"withdrawal,omitempty"`

	// history is the path's last 32 transitions, oldest first, or fewer where they are long.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	History []Transition `json:"history,omitempty"`
}

// HopCounts counts the hops of a path by state.
type HopCounts struct {
	// total is how many hops name this path.
	// +required
	// +kubebuilder:validation:Minimum=0
	Total *int32 `json:"total,omitempty"`

	// ready is how many of them have their grant.
	// +required
	// +kubebuilder:validation:Minimum=0
	Ready *int32 `json:"ready,omitempty"`

	// stalled is how many of them will not become ready on their own.
	// +required
	// +kubebuilder:validation:Minimum=0
	Stalled *int32 `json:"stalled,omitempty"`
}

// Transition is one change of a path's state.
type Transition struct {
	// time is when the controller observed it.
	// +required
	Time metav1.Time `json:"time,omitempty,omitzero"`

	// actor is the user who caused it, as far as the name fits; "unknown" where no admission webhook answered that could
	// have recorded the user, and the controller itself where no user did.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Actor string `json:"actor,omitempty"`

	// reason is the state's reason from the vocabulary.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Reason Reason `json:"reason,omitempty"`

	// message is a human-readable description.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// DelegationPath is a delegated execution path as a governed object: the envelope that no hop of it can leave.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=dpath,categories=delegation
// +kubebuilder:selectablefield:JSONPath=`.status.approval.state`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expiresAt`
// +kubebuilder:printcolumn:name="Approval",type=string,JSONPath=`.status.approval.state`
// +kubebuilder:printcolumn:name="Origin",type=string,JSONPath=`.spec.origin.user`,priority=1
// +kubebuilder:printcolumn:name="Risks",type=string,JSONPath=`.spec.scope.acceptedRisks`,priority=1
// +kubebuilder:printcolumn:name="For",type=string,JSONPath=`.spec.reason`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="the name must be at most 63 characters: it is used in labels"
type DelegationPath struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec is the desired envelope of the path.
	// +required
	Spec DelegationPathSpec `json:"spec,omitempty,omitzero"`

	// status is the observed state of the path.
	// +optional
	Status DelegationPathStatus `json:"status,omitempty,omitzero"`
}

// DelegationPathList is a list of paths.
//
// +kubebuilder:object:root=true
type DelegationPathList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DelegationPath `json:"items"`
}
