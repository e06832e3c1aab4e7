package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Subject is an identity as the API server knows it: a user name with its groups. A ServiceAccount is the user
// system:serviceaccount:<namespace>:<name>; the groups that follow from a name (system:authenticated and those of
// ServiceAccounts) are implied and never listed.
type Subject struct {
	// user is the user name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	User string `json:"user,omitempty"`

	// groups are the groups of this subject, beyond those implied by its name.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=1024
	Groups []string `json:"groups,omitempty"`

	// uid is the UID of a ServiceAccount. It is stamped at admission, so that another account made under the name of one that was
	// deleted is not taken for it. Of other users it says nothing.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	UID string `json:"uid,omitempty"`

	// declaredBy is the user who named this subject, where that was somebody else, who may impersonate it. It is stamped at admission.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	DeclaredBy string `json:"declaredBy,omitempty"`
}

// Lifetime bounds how long an object is valid. If both duration and notAfter are set, the earlier end wins.
//
// +kubebuilder:validation:MinProperties=1
type Lifetime struct {
	// duration counts from the moment its holder first becomes valid: Go notation, from 1s to 8784h (a year).
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('8784h')",message="must be from 1s to 8784h, in h, m, s or ms; days are not a unit: 7 days are 168h"
	Duration *metav1.Duration `json:"duration,omitempty"`

	// notAfter is a point in time, to the second.
	// +optional
	NotAfter *metav1.Time `json:"notAfter,omitempty"`
}

// Revocation permanently ends the object that carries it and everything below it. It can be set, but never changed or
// unset.
type Revocation struct {
	// reason says why, for later reviews.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Reason string `json:"reason,omitempty"`

	// by is the user who revoked, as far as the name fits. Stamped at admission; a value in the request is overwritten. If
	// no webhook answers, it stays absent, and a request that names another user is rejected.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	By string `json:"by,omitempty"`

	// at is when it was revoked. Stamped at admission; a value in the request is overwritten. If no webhook answers, it
	// is what the request says.
	// +optional
	At *metav1.Time `json:"at,omitempty"`
}

// Withdrawal records when a withdrawal was asked for, and when each of its steps was done, by the controller's clock. It is
// removed when the object becomes valid again.
type Withdrawal struct {
	// reason is why it is withdrawn.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Reason Reason `json:"reason,omitempty"`

	// askedAt is when it was asked for: when it was revoked, or expired; otherwise when the controller found the reason.
	// +required
	AskedAt *metav1.MicroTime `json:"askedAt,omitempty"`

	// unboundAt is when the bindings were deleted: of the hop and of all hops below it, or of all hops of the path.
	// +optional
	UnboundAt *metav1.MicroTime `json:"unboundAt,omitempty"`

	// identityDeletedAt is when ServiceAccount, Secret and Roles were seen to be gone. Absent on a path.
	// +optional
	IdentityDeletedAt *metav1.MicroTime `json:"identityDeletedAt,omitempty"`

	// workloadsStoppedAt is when the Jobs of the hop were suspended and its pods deleted. Absent on a path.
	// +optional
	WorkloadsStoppedAt *metav1.MicroTime `json:"workloadsStoppedAt,omitempty"`

	// completedAt is when nothing was seen to be left: no object of the grant, and no pod that runs; on a path, of none of its
	// hops.
	// +optional
	CompletedAt *metav1.MicroTime `json:"completedAt,omitempty"`
}
