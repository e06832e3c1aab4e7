package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// DelegationHopSpec is one node of a delegated execution path: its place in the chain, its narrower scope and
// lifetime, and what may run under it.
//
// +kubebuilder:validation:XValidation:rule="has(self.scope) != (has(self.inheritScope) && self.inheritScope)",message="say what the hop may do: either scope, or inheritScope: true"
// +kubebuilder:validation:XValidation:rule="has(self.parentRef) == has(oldSelf.parentRef) && (!has(self.parentRef) || self.parentRef == oldSelf.parentRef)",message="parentRef is immutable: create a new hop",fieldPath=".parentRef",reason="FieldValueForbidden"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.revoked) || (has(self.revoked) && self.revoked == oldSelf.revoked)",message="revoked is final: it can be set, never changed or unset",fieldPath=".revoked",reason="FieldValueForbidden"
// +kubebuilder:validation:XValidation:rule="!has(self.token) || !has(self.token.audience) || !has(self.scope) || (has(self.scope.audiences) && self.token.audience in self.scope.audiences)",message="the token's audience must be one of scope.audiences",fieldPath=".token.audience"
// +kubebuilder:validation:XValidation:rule="!has(self.workload) || !has(self.workload.maxDuration) || !has(self.lifetime) || !has(self.lifetime.duration) || duration(self.workload.maxDuration) <= duration(self.lifetime.duration)",message="must not be longer than lifetime.duration",fieldPath=".workload.maxDuration"
// +kubebuilder:validation:XValidation:rule="!has(self.scope) || !has(self.scope.acceptedRisks)",message="a hop accepts no risks: those of its path apply, so name them there",fieldPath=".scope.acceptedRisks",reason="FieldValueForbidden"
type DelegationHopSpec struct {
	// pathRef names the path that this hop belongs to.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="pathRef is immutable: create a new hop"
	PathRef ObjectRef `json:"pathRef,omitempty,omitzero"`

	// parentRef names the hop before this one; absent on a first hop.
	// +optional
	ParentRef *ObjectRef `json:"parentRef,omitempty"`

	// author is the user who created the hop, or last changed a field other than revoked. If absent, it is stamped from
	// the request's user. To declare another one requires the right to impersonate it. The author must be the path's
	// origin, have the verb delegate on the path, or be the identity of the parent, whose delegation allows it.
	// +optional
	Author *Subject `json:"author,omitempty"`

	// lifetime bounds the hop; its duration counts from the hop's own first Allow. It never exceeds the parent's.
	// If absent, the parent's applies.
	// +optional
	Lifetime *Lifetime `json:"lifetime,omitempty"`

	// scope is what the hop may do: a subset of the parent's scope, of the path's for a first hop.
	// +optional
	Scope *Scope `json:"scope,omitempty"`

	// inheritScope gives the hop the whole scope of its parent.
	// +optional
	InheritScope *bool `json:"inheritScope,omitempty"`

	// workload says what may run under this hop. If absent, nothing may.
	// +optional
	Workload *Workload `json:"workload,omitempty"`

	// delegation lets the identity of this hop make hops below it, in its own namespace, and run workloads under those. If
	// absent, it makes none.
	// +optional
	Delegation *Delegation `json:"delegation,omitempty"`

	// token requests a credential in a Secret, for a delegate that is not a pod.
	// +optional
	Token *Token `json:"token,omitempty"`

	// revoked permanently ends the hop and all its descendants.
	// +optional
	Revoked *Revocation `json:"revoked,omitempty"`
}

// ObjectRef names an object of Wayleave's own kinds.
type ObjectRef struct {
	// name is the object's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`
	Name string `json:"name,omitempty"`

	// namespace is the object's namespace. If absent, that of the hop.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace,omitempty"`
}

// WorkloadKind is a kind of workload that may declare a hop.
//
// +kubebuilder:validation:Enum=Pod;Job;CronJob
type WorkloadKind string

// The kinds of workload that may declare a hop.
const (
	WorkloadPod     WorkloadKind = "Pod"
	WorkloadJob     WorkloadKind = "Job"
	WorkloadCronJob WorkloadKind = "CronJob"
)

// PodSecurityLevel is a level of the Pod Security Standards of Kubernetes.
//
// +kubebuilder:validation:Enum=privileged;baseline;restricted
type PodSecurityLevel string

// The levels, from the least to the most that a pod is kept from.
const (
	PodSecurityPrivileged PodSecurityLevel = "privileged"
	PodSecurityBaseline   PodSecurityLevel = "baseline"
	PodSecurityRestricted PodSecurityLevel = "restricted"
)

// Workload says what may run under a hop.
type Workload struct {
	// kinds are the kinds that may declare the hop on their pod template.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Kinds []WorkloadKind `json:"kinds,omitempty"`

	// images are the images that may run or be mounted, compared with the image as it is written in the pod. A `*` is
	// allowed as the last character, after the repository's : or @, and matches the rest of the tag or digest. An image with
	// a digest matches by its digest alone, since that is what runs: `agent@sha256:*` allows `agent:1.0@sha256:…`, and
	// no tag does.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:Pattern=`^[^*\s]+([:@][^*/\s]*\*)?$`
	Images []string `json:"images,omitempty"`

	// secrets are the Secrets of the hop's namespace that its containers may read, by name: as volumes, and in env and envFrom.
	// Each is one of hops.secrets of the path, and of those of the hops above that run workloads, and the author of the hop may
	// get it. If absent, none. Those that pull images are not meant.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Secrets []string `json:"secrets,omitempty"`

	// podSecurity is the level of the Pod Security Standards that pods under the hop keep, as the newest release that this program knows
	// has it. It is no weaker than that of the nearest hop above that runs workloads. If absent, baseline.
	// +optional
	PodSecurity PodSecurityLevel `json:"podSecurity,omitempty"`

	// maxUses is how many uses of the hop may begin, one after another or at the same time. A use is one Job with its retries
	// and its parallel pods, where each run of a CronJob is a Job of its own, or one Pod that no controller made. If absent,
	// there is no limit.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000000
	MaxUses int32 `json:"maxUses,omitempty"`

	// maxDuration is how long one use may last, from 1s to 8784h; then it is ended. It is never longer than the lifetime of
	// the hop. If absent, a use ends with the hop at the latest.
	// +optional
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('1s') && duration(self) <= duration('8784h')",message="must be from 1s to 8784h, in h, m, s or ms; days are not a unit: 7 days are 168h"
	MaxDuration *metav1.Duration `json:"maxDuration,omitempty"`
}

// Delegation says how far the identity of a hop may delegate on.
type Delegation struct {
	// maxDepth is how many levels of hops identities may make below this one. With 1, the hops that this one makes may not have a
	// delegation themselves; with n, they may have one of n-1 at most.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=15
	MaxDepth int32 `json:"maxDepth,omitempty"`
}

// Token requests a short-lived credential in a Secret of the hop's namespace. With the API server as audience the
// Secret also holds a kubeconfig. The controller creates the Secret, and never changes one that it did not create.
type Token struct {
	// secretName is the name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`
	SecretName string `json:"secretName,omitempty"`

	// expiration is how long each token is valid, from 10m to 1h; it is rotated at 80 % of that. A token for the API server
	// authenticates no longer than the hop lives, whatever it says itself. If absent, 10m.
	// +optional
	// +default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+([.][0-9]+)?(ms|s|m|h))+$') && duration(self) >= duration('10m') && duration(self) <= duration('1h')",message="must be from 10m to 1h, in h, m, s or ms; days are not a unit"
	Expiration *metav1.Duration `json:"expiration,omitempty"`

	// audience is one of scope.audiences. If absent, the API server. A token for another audience cannot be revoked and lives
	// for ten minutes at least. So none is issued in the last ten minutes of a hop, and a hop that lives for less than eleven
	// is LifetimeTooShort.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Audience string `json:"audience,omitempty"`
}

// DelegationHopStatus is the observed state of a hop and of its grant. Only the controller writes it.
//
// +kubebuilder:validation:MinProperties=1
type DelegationHopStatus struct {
	// conditions are Ready, Reconciling and Stalled with the meaning of kstatus, Valid and Granted. Their reasons come
	// from the one vocabulary of this group.
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

	// pathUID is the UID of the path that the hop first resolved. A recreated path of the same name does not revive the
	// hop.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	PathUID string `json:"pathUID,omitempty"`

	// parentUID is the UID of the parent that the hop first resolved.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	ParentUID string `json:"parentUID,omitempty"`

	// authorUID is the UID of the ServiceAccount that is the author, as it was first found, where spec.author does not say it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	AuthorUID string `json:"authorUID,omitempty"`

	// activeSince is when the hop was first allowed. Its duration counts from here. It is written once.
	// +optional
	ActiveSince *metav1.Time `json:"activeSince,omitempty"`

	// expiresAt is when the hop expires: the earliest end along its chain.
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`

	// ended is the final reason for which the hop has ended. It is written once, so that the hop stays ended when the object
	// that the reason was derived from is deleted or changed.
	// +optional
	Ended *Ended `json:"ended,omitempty"`

	// undeterminedSince is since when a question that decides about the hop has had no answer; absent while all have one.
	// A hop that holds a grant loses it when this is longer ago than the controller's --max-fact-age.
	// +optional
	UndeterminedSince *metav1.Time `json:"undeterminedSince,omitempty"`

	// incarnation counts the identities that the hop has had. Each has a name of its own, and no name is used twice.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Incarnation int64 `json:"incarnation,omitempty"`

	// serviceAccountName is the hop's identity in its namespace. It exists only while the hop is valid.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// serviceAccountUID is the UID of that ServiceAccount. An account of the same name with another UID is not the hop's.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=36
	ServiceAccountUID string `json:"serviceAccountUID,omitempty"`

	// credential describes the token in the Secret; it never contains the token.
	// +optional
	Credential *Credential `json:"credential,omitempty"`

	// uses counts the uses of the hop. Its permissions exist while one is live, or while the hop keeps a token.
	// +optional
	Uses *Uses `json:"uses,omitempty"`

	// withdrawal records how what the hop held was withdrawn; absent while the hop is valid.
	// +optional
	Withdrawal *Withdrawal `json:"withdrawal,omitempty"`
}

// Uses counts the uses of a hop.
type Uses struct {
	// summary is how many uses began, and of how many where their number is limited, such as 1/3.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Summary string `json:"summary,omitempty"`

	// begun is how many uses began.
	// +required
	// +kubebuilder:validation:Minimum=0
	Begun *int32 `json:"begun,omitempty"`

	// incarnation is the identity under which the last use ran. Once no use is live, that identity is replaced, so that no token
	// of a use that has ended works in a later one.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Incarnation int64 `json:"incarnation,omitempty"`

	// live are the uses that began and have not ended, at most 64.
	// +optional
	// +listType=map
	// +listMapKey=uid
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Live []Use `json:"live,omitempty"`
}

// Use is a use of a hop: one Job with its pods, or one Pod that no controller made.
type Use struct {
	// kind is Job or Pod.
	// +required
	Kind WorkloadKind `json:"kind,omitempty"`

	// name is the name of the Job or Pod, in the namespace of the hop.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`

	// uid is the UID of the Job or Pod.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=36
	UID string `json:"uid,omitempty"`

	// since is when the use began: its first pod passed the gate.
	// +required
	Since metav1.Time `json:"since,omitempty,omitzero"`

	// by is the user on whose right to use the hop it began.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	By string `json:"by,omitempty"`

	// suspendedFor is why the use is suspended while the hop is not: that user may no longer use the hop. It goes on once they may.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	SuspendedFor Reason `json:"suspendedFor,omitempty"`
}

// Ended says why and since when a hop has ended.
type Ended struct {
	// reason is a final reason.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Reason Reason `json:"reason,omitempty"`

	// at is when the controller found it.
	// +required
	At metav1.Time `json:"at,omitempty,omitzero"`

	// message says what ended it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// Credential describes a token.
type Credential struct {
	// secretName is the Secret that holds it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`

	// digest is the SHA-256 of the token, in hexadecimal digits. The controller recognizes the token by it.
	// +optional
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	Digest string `json:"digest,omitempty"`

	// id is the token's id (its jti claim), as it appears in the API server's audit log.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	ID string `json:"id,omitempty"`

	// issuedAt is when the token was issued.
	// +required
	IssuedAt metav1.Time `json:"issuedAt,omitempty,omitzero"`

	// expiresAt is when the token expires.
	// +required
	ExpiresAt metav1.Time `json:"expiresAt,omitempty,omitzero"`
}

// DelegationHop is one node of a delegated execution path. While it is valid it has its own identity, which has exactly its
// scope while a workload runs under it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=dhop,categories=delegation
// +kubebuilder:printcolumn:name="Path",type=string,JSONPath=`.spec.pathRef.name`
// +kubebuilder:printcolumn:name="Parent",type=string,JSONPath=`.spec.parentRef.name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Uses",type=string,JSONPath=`.status.uses.summary`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.status.expiresAt`
// +kubebuilder:printcolumn:name="Account",type=string,JSONPath=`.status.serviceAccountName`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="the name must be a DNS label of at most 63 characters: workloads declare it in a label"
type DelegationHop struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty,omitzero"`

	// spec is the desired bounds of the hop.
	// +required
	Spec DelegationHopSpec `json:"spec,omitempty,omitzero"`

	// status is the observed state of the hop.
	// +optional
	Status DelegationHopStatus `json:"status,omitempty,omitzero"`
}

// DelegationHopList is a list of hops.
//
// +kubebuilder:object:root=true
type DelegationHopList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []DelegationHop `json:"items"`
}
