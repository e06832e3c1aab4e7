package v1alpha1

import "maps"

// Reason says why an object is in its state. The list below is the one vocabulary: conditions, Events, audit lines,
// metrics and denials use only these words.
type Reason string

// Class says what to expect of a reason.
type Class string

const (
	// ClassFinal is for reasons that cannot be reversed.
	ClassFinal Class = "Final"
	// ClassFixable is for reasons that last until an object or a permission is changed.
	ClassFixable Class = "Fixable"
	// ClassWaiting is for reasons that resolve on their own, or once another object is created, ready or resumed.
	ClassWaiting Class = "Waiting"
	// ClassGood is for the desired states.
	ClassGood Class = "Good"
)

// Final reasons.
const (
	// ReasonRevoked: the path or a hop of the chain was revoked.
	ReasonRevoked Reason = "Revoked"
	// ReasonExpired: a lifetime along the chain has ended.
	ReasonExpired Reason = "Expired"
	// ReasonUsesExhausted: as many uses of the hop have begun as it allows.
	ReasonUsesExhausted Reason = "UsesExhausted"
	// ReasonApprovalDenied: somebody who may approve the path denied it.
	ReasonApprovalDenied Reason = "ApprovalDenied"
	// ReasonDurationExceeded: a use has lasted as long as the hop allows.
	ReasonDurationExceeded Reason = "DurationExceeded"
)

// Fixable reasons.
const (
	// ReasonScopeInvalid: a scope cannot be evaluated as it is written: an empty list, or more than its bounds allow.
	ReasonScopeInvalid Reason = "ScopeInvalid"
	// ReasonScopeAmplifies: a scope contains an escalation risk: with it a hop could leave its path.
	ReasonScopeAmplifies Reason = "ScopeAmplifies"
	// ReasonScopeExceedsParent: the scope of a hop exceeds that of its parent.
	ReasonScopeExceedsParent Reason = "ScopeExceedsParent"
	// ReasonScopeExceedsPath: the scope of a first hop exceeds that of its path.
	ReasonScopeExceedsPath Reason = "ScopeExceedsPath"
	// ReasonScopeExceedsOrigin: the scope of a path exceeds what its origin may do now.
	ReasonScopeExceedsOrigin Reason = "ScopeExceedsOrigin"
	// ReasonScopeExceedsCeiling: the scope of a hop exceeds what the controller may grant.
	ReasonScopeExceedsCeiling Reason = "ScopeExceedsCeiling"
	// ReasonHopNamespaceNotBound: the controller may not make accounts and end workloads in the namespace of a hop, since
	// no RoleBinding gives it ClusterRole wayleave-hop-namespace there.
	ReasonHopNamespaceNotBound Reason = "HopNamespaceNotBound"
	// ReasonLifetimeExceedsParent: a hop declares a longer lifetime than its path or a hop above it.
	ReasonLifetimeExceedsParent Reason = "LifetimeExceedsParent"
	// ReasonLifetimeExceedsCeiling: a path declares a longer lifetime than a ceiling allows that it uses.
	ReasonLifetimeExceedsCeiling Reason = "LifetimeExceedsCeiling"
	// ReasonLifetimeTooShort: a hop lives less long than a token for an audience other than the API server, which cannot be
	// revoked.
	ReasonLifetimeTooShort Reason = "LifetimeTooShort"
	// ReasonNamespaceNotFound: a namespace of the scope of a hop does not exist, or is being deleted.
	ReasonNamespaceNotFound Reason = "NamespaceNotFound"
	// ReasonDepthExceeded: the chain is longer than the path allows, or a path allows a longer one than a ceiling that it uses.
	ReasonDepthExceeded Reason = "DepthExceeded"
	// ReasonNamespaceNotAllowed: a hop is in a namespace that its path does not name.
	ReasonNamespaceNotAllowed Reason = "NamespaceNotAllowed"
	// ReasonChainBroken: the chain is not the one that was first resolved: a cycle, a parent on another path, or a path
	// or parent that was deleted or recreated.
	ReasonChainBroken Reason = "ChainBroken"
	// ReasonOriginUnauthorized: a path has no origin, or declares one that its author may not act as.
	ReasonOriginUnauthorized Reason = "OriginUnauthorized"
	// ReasonOriginGone: the ServiceAccount that is the origin of a path, or the author of a hop, was deleted or recreated.
	ReasonOriginGone Reason = "OriginGone"
	// ReasonNotPermittedToDelegate: the author of a hop is neither the path's origin nor has delegate on the path.
	ReasonNotPermittedToDelegate Reason = "NotPermittedToDelegate"
	// ReasonNotPermittedToUse: the author of a workload does not have use on the hop.
	ReasonNotPermittedToUse Reason = "NotPermittedToUse"
	// ReasonNotPermittedToApprove: whoever decides on a path may not, or decides on another path than the one that exists.
	ReasonNotPermittedToApprove Reason = "NotPermittedToApprove"
	// ReasonWorkloadNotAllowed: the hop does not allow this kind of workload, or the workload requires more than the hop
	// has, or asks for more than such a pod may have.
	ReasonWorkloadNotAllowed Reason = "WorkloadNotAllowed"
	// ReasonImageNotAllowed: the hop does not list the image of a container.
	ReasonImageNotAllowed Reason = "ImageNotAllowed"
	// ReasonPodSecurityViolated: a pod does not keep the Pod Security level of its hop, or a hop names a weaker one than a hop above it.
	ReasonPodSecurityViolated Reason = "PodSecurityViolated"
	// ReasonSecretNotInScope: a workload reads a Secret that its hop does not list, or a hop lists one that its path, a hop above
	// it or its author may not.
	ReasonSecretNotInScope Reason = "SecretNotInScope"
	// ReasonSecretTaken: the Secret that a hop names for its token exists and does not belong to the hop, or a path names
	// it, in its scope or in hops.secrets.
	ReasonSecretTaken Reason = "SecretTaken"
	// ReasonNameTaken: an object that the controller did not create has a name that the grant needs.
	ReasonNameTaken Reason = "NameTaken"
	// ReasonGrantDenied: the API server did not accept an object of a grant: a quota, a policy or a webhook denies it.
	ReasonGrantDenied Reason = "GrantDenied"
	// ReasonNotIsolated: others can act as the account of a hop, or read its token.
	ReasonNotIsolated Reason = "NotIsolated"
	// ReasonNotExclusive: somebody bound rights to the account of a hop.
	ReasonNotExclusive Reason = "NotExclusive"
	// ReasonOverwritten: a client, a policy or a webhook changed an object of a grant again right after it was put back.
	ReasonOverwritten Reason = "Overwritten"
	// ReasonWrongServiceAccount: a workload names an account other than default that is not the hop's, or names a hop's
	// account without declaring the hop.
	ReasonWrongServiceAccount Reason = "WrongServiceAccount"
)

// Waiting reasons.
const (
	// ReasonPathNotFound: the hop's path does not exist, or no longer exists.
	ReasonPathNotFound Reason = "PathNotFound"
	// ReasonHopNotFound: the namespace of a workload has no hop with the name that the workload declares.
	ReasonHopNotFound Reason = "HopNotFound"
	// ReasonNotYetValid: the path is not active yet, or the hop has no identity yet.
	ReasonNotYetValid Reason = "NotYetValid"
	// ReasonParentNotReady: the parent hop does not exist, or has no grant yet.
	ReasonParentNotReady Reason = "ParentNotReady"
	// ReasonApprovalMissing: not enough people have approved the path.
	ReasonApprovalMissing Reason = "ApprovalMissing"
	// ReasonApprovalStale: the path, or with covers Hops one of its hops, was changed since it was approved.
	ReasonApprovalStale Reason = "ApprovalStale"
	// ReasonApprovalExpired: an approval ended before the path became active.
	ReasonApprovalExpired Reason = "ApprovalExpired"
	// ReasonSuspended: the path is suspended.
	ReasonSuspended Reason = "Suspended"
	// ReasonFrozen: the cluster, the path's origin, the hop's author or its namespace is frozen.
	ReasonFrozen Reason = "Frozen"
	// ReasonTooManyLiveUses: 64 uses of the hop are live; one more waits until one of them has ended.
	ReasonTooManyLiveUses Reason = "TooManyLiveUses"
	// ReasonUndetermined: a question that decides could not be answered. Unknown never means yes.
	ReasonUndetermined Reason = "Undetermined"
)

// Good reasons.
const (
	// ReasonActive: the path is active.
	ReasonActive Reason = "Active"
	// ReasonGranted: the hop is valid and has its grant.
	ReasonGranted Reason = "Granted"
	// ReasonIdle: the hop is valid and not in use. Its permissions exist only while it is.
	ReasonIdle Reason = "Idle"
	// ReasonIsolated: nobody else can act as the account of the hop, or read its token.
	ReasonIsolated Reason = "Isolated"
	// ReasonExclusive: the account of the hop may do what its hop gives it alone.
	ReasonExclusive Reason = "Exclusive"
	// ReasonOriginAuthorized: the path's origin may do all that the path allows.
	ReasonOriginAuthorized Reason = "OriginAuthorized"
	// ReasonApproved: the path was approved as it is.
	ReasonApproved Reason = "Approved"
	// ReasonApprovalNotRequired: the path needs no approval.
	ReasonApprovalNotRequired Reason = "ApprovalNotRequired"
	// ReasonUnbounded: the path's origin may do everything, so that it bounds nothing.
	ReasonUnbounded Reason = "Unbounded"
)

var classes = map[Reason]Class{
	ReasonRevoked: ClassFinal,
	ReasonExpired: ClassFinal,

	ReasonUsesExhausted:    ClassFinal,
	ReasonDurationExceeded: ClassFinal,
	ReasonApprovalDenied:   ClassFinal,

	ReasonScopeInvalid:           ClassFixable,
	ReasonScopeAmplifies:         ClassFixable,
	ReasonScopeExceedsParent:     ClassFixable,
	ReasonScopeExceedsPath:       ClassFixable,
	ReasonScopeExceedsOrigin:     ClassFixable,
	ReasonScopeExceedsCeiling:    ClassFixable,
	ReasonHopNamespaceNotBound:   ClassFixable,
	ReasonLifetimeExceedsParent:  ClassFixable,
	ReasonLifetimeExceedsCeiling: ClassFixable,
	ReasonLifetimeTooShort:       ClassFixable,
	ReasonNamespaceNotFound:      ClassFixable,
	ReasonDepthExceeded:          ClassFixable,
	ReasonNamespaceNotAllowed:    ClassFixable,
	ReasonChainBroken:            ClassFixable,
	ReasonOriginUnauthorized:     ClassFixable,
	ReasonOriginGone:             ClassFixable,
	ReasonNotPermittedToDelegate: ClassFixable,
	ReasonNotPermittedToUse:      ClassFixable,
	ReasonNotPermittedToApprove:  ClassFixable,
	ReasonWorkloadNotAllowed:     ClassFixable,
	ReasonImageNotAllowed:        ClassFixable,
	ReasonPodSecurityViolated:    ClassFixable,
	ReasonSecretNotInScope:       ClassFixable,
	ReasonSecretTaken:            ClassFixable,
	ReasonNameTaken:              ClassFixable,
	ReasonGrantDenied:            ClassFixable,
	ReasonNotIsolated:            ClassFixable,
	ReasonNotExclusive:           ClassFixable,
	ReasonOverwritten:            ClassFixable,
	ReasonWrongServiceAccount:    ClassFixable,

	ReasonPathNotFound:   ClassWaiting,
	ReasonHopNotFound:    ClassWaiting,
	ReasonNotYetValid:    ClassWaiting,
	ReasonParentNotReady: ClassWaiting,
	ReasonSuspended:      ClassWaiting,
	ReasonFrozen:         ClassWaiting,
	ReasonUndetermined:   ClassWaiting,

	ReasonTooManyLiveUses: ClassWaiting,

	ReasonApprovalMissing: ClassWaiting,
	ReasonApprovalStale:   ClassWaiting,
	ReasonApprovalExpired: ClassWaiting,

	ReasonActive:           ClassGood,
	ReasonGranted:          ClassGood,
	ReasonIdle:             ClassGood,
	ReasonIsolated:         ClassGood,
	ReasonExclusive:        ClassGood,
	ReasonOriginAuthorized: ClassGood,
	ReasonUnbounded:        ClassGood,

	ReasonApproved:            ClassGood,
	ReasonApprovalNotRequired: ClassGood,
}

// Class returns the class of a reason. A reason outside the vocabulary is fixable, so that it is never
// taken for good.
func (r Reason) Class() Class {
	if c, ok := classes[r]; ok {
		return c
	}
	return ClassFixable
}

// Reasons returns the whole vocabulary, with the class of each.
func Reasons() map[Reason]Class {
	all := make(map[Reason]Class, len(classes))
	maps.Copy(all, classes)
	return all
}
