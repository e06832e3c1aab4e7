package v1alpha1

import "maps"

// Reason is why something is as it is. The list below is the one vocabulary: conditions, Events, audit lines, metrics
// and denials use these words and no others.
type Reason string

// Class says what can be expected to come of a reason.
type Class string

const (
	// ClassFinal is for reasons that never turn back.
	ClassFinal Class = "Final"
	// ClassFixable is for reasons that somebody has to mend by changing an object or a right.
	ClassFixable Class = "Fixable"
	// ClassWaiting is for reasons that pass without a change to the object that has them.
	ClassWaiting Class = "Waiting"
	// ClassGood is for the states that people want.
	ClassGood Class = "Good"
)

// Final reasons.
const (
	// ReasonRevoked: somebody revoked the path or a hop of the chain.
	ReasonRevoked Reason = "Revoked"
	// ReasonExpired: a lifetime along the chain has ended.
	ReasonExpired Reason = "Expired"
)

// Fixable reasons.
const (
	// ReasonScopeInvalid: a scope cannot be judged as it is written: an empty list, or more than its bounds allow.
	ReasonScopeInvalid Reason = "ScopeInvalid"
	// ReasonScopeAmplifies: a scope holds what never fits in one, since with it a hop could leave its path.
	ReasonScopeAmplifies Reason = "ScopeAmplifies"
	// ReasonScopeExceedsParent: a hop's scope is not inside its parent's.
	ReasonScopeExceedsParent Reason = "ScopeExceedsParent"
	// ReasonScopeExceedsPath: a first hop's scope is not inside its path's.
	ReasonScopeExceedsPath Reason = "ScopeExceedsPath"
	// ReasonScopeExceedsOrigin: a path's scope is not inside what its origin may do now.
	ReasonScopeExceedsOrigin Reason = "ScopeExceedsOrigin"
	// ReasonScopeExceedsCeiling: a hop's scope is not inside what the controller was given to grant.
	ReasonScopeExceedsCeiling Reason = "ScopeExceedsCeiling"
	// ReasonLifetimeExceedsParent: a hop's lifetime is longer than its parent's or its path's.
	ReasonLifetimeExceedsParent Reason = "LifetimeExceedsParent"
	// ReasonDepthExceeded: the chain is longer than the path allows.
	ReasonDepthExceeded Reason = "DepthExceeded"
	// ReasonNamespaceNotAllowed: a hop lives in a namespace that its path does not name.
	ReasonNamespaceNotAllowed Reason = "NamespaceNotAllowed"
	// ReasonChainBroken: the chain is not the one that was linked: a cycle, a parent of another path, an object made
	// anew under an old name, a link that is gone.
	ReasonChainBroken Reason = "ChainBroken"
	// ReasonOriginUnauthorized: a path has no origin, or one that nobody vouched for.
	ReasonOriginUnauthorized Reason = "OriginUnauthorized"
	// ReasonNotPermittedToDelegate: a hop's author is not the path's origin and does not hold delegate on the path.
	ReasonNotPermittedToDelegate Reason = "NotPermittedToDelegate"
	// ReasonNotPermittedToUse: the author of a workload does not hold use on the hop.
	ReasonNotPermittedToUse Reason = "NotPermittedToUse"
	// ReasonWorkloadNotAllowed: the hop does not allow this kind of workload, or the workload asks for more than the hop has.
	ReasonWorkloadNotAllowed Reason = "WorkloadNotAllowed"
	// ReasonImageNotAllowed: the hop does not list a container's image.
	ReasonImageNotAllowed Reason = "ImageNotAllowed"
	// ReasonSecretTaken: the Secret that a hop names for its token exists and is not the hop's.
	ReasonSecretTaken Reason = "SecretTaken"
	// ReasonWrongServiceAccount: a workload names an account that is not the hop's, or a hop's account without declaring it.
	ReasonWrongServiceAccount Reason = "WrongServiceAccount"
)

// Waiting reasons.
const (
	// ReasonPathNotFound: the hop's path does not exist (any more).
	ReasonPathNotFound Reason = "PathNotFound"
	// ReasonHopNotFound: the hop that a workload declares does not exist (any more).
	ReasonHopNotFound Reason = "HopNotFound"
	// ReasonNotYetValid: the path is not active yet, or the hop's identity is not there yet.
	ReasonNotYetValid Reason = "NotYetValid"
	// ReasonParentNotReady: the parent hop is not there or not valid yet.
	ReasonParentNotReady Reason = "ParentNotReady"
	// ReasonSuspended: somebody suspended the path.
	ReasonSuspended Reason = "Suspended"
	// ReasonUndetermined: a question that decides could not be answered. Unknown is never yes.
	ReasonUndetermined Reason = "Undetermined"
)

// Good reasons.
const (
	// ReasonActive: the path is active.
	ReasonActive Reason = "Active"
	// ReasonGranted: the hop is valid and holds its grant.
	ReasonGranted Reason = "Granted"
	// ReasonOriginAuthorized: the path's origin may do all that the path allows.
	ReasonOriginAuthorized Reason = "OriginAuthorized"
)

var classes = map[Reason]Class{
	ReasonRevoked: ClassFinal,
	ReasonExpired: ClassFinal,

	ReasonScopeInvalid:           ClassFixable,
	ReasonScopeAmplifies:         ClassFixable,
	ReasonScopeExceedsParent:     ClassFixable,
	ReasonScopeExceedsPath:       ClassFixable,
	ReasonScopeExceedsOrigin:     ClassFixable,
	ReasonScopeExceedsCeiling:    ClassFixable,
	ReasonLifetimeExceedsParent:  ClassFixable,
	ReasonDepthExceeded:          ClassFixable,
	ReasonNamespaceNotAllowed:    ClassFixable,
	ReasonChainBroken:            ClassFixable,
	ReasonOriginUnauthorized:     ClassFixable,
	ReasonNotPermittedToDelegate: ClassFixable,
	ReasonNotPermittedToUse:      ClassFixable,
	ReasonWorkloadNotAllowed:     ClassFixable,
	ReasonImageNotAllowed:        ClassFixable,
	ReasonSecretTaken:            ClassFixable,
	ReasonWrongServiceAccount:    ClassFixable,

	ReasonPathNotFound:   ClassWaiting,
	ReasonHopNotFound:    ClassWaiting,
	ReasonNotYetValid:    ClassWaiting,
	ReasonParentNotReady: ClassWaiting,
	ReasonSuspended:      ClassWaiting,
	ReasonUndetermined:   ClassWaiting,

	ReasonActive:           ClassGood,
	ReasonGranted:          ClassGood,
	ReasonOriginAuthorized: ClassGood,
}

// Class returns the class of a reason. A word that is not in the vocabulary is fixable: it never passes for good.
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
