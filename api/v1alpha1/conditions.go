package v1alpha1

// Condition types. Ready, Reconciling and Stalled follow kstatus, so that kubectl wait and GitOps tools understand
// them. Only the controller sets any of them.
const (
	// ConditionReady is True while a path is active, or a hop may be used. Its reason is the object's state: Active; Granted or
	// Idle; or why not.
	ConditionReady = "Ready"
	// ConditionReconciling is True while the object is expected to become ready on its own: a waiting reason.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True while the object becomes ready only after a change, or never: a fixable or a final reason.
	ConditionStalled = "Stalled"

	// ConditionOriginAuthorized reports whether the scope of a path lies within what its origin may do. Unknown while
	// that could not be evaluated. Its reasons are OriginAuthorized and Unbounded; OriginUnauthorized, OriginGone and
	// ScopeExceedsOrigin; Undetermined; and, once the path has ended and nothing is asked any more, why it has.
	ConditionOriginAuthorized = "OriginAuthorized"

	// ConditionApproved reports whether the approvals that a path requires were given, for the path as it is. Its reasons are Approved
	// and ApprovalNotRequired; ApprovalMissing, ApprovalStale, ApprovalExpired and ApprovalDenied; Undetermined; and, once the path has
	// ended and nothing is asked any more, why it has.
	ConditionApproved = "Approved"

	// ConditionValid reports whether the whole chain of a hop is valid. Unknown while a fact that decides is missing.
	ConditionValid = "Valid"
	// ConditionGranted reports whether the permissions of a hop exist in the cluster, and its identity has them. While a hop is
	// valid and not in use it is False with reason Idle.
	ConditionGranted = "Granted"

	// ConditionExclusive reports whether the account of a hop may do what its hop gives it alone.
	ConditionExclusive = "Exclusive"

	// ConditionIsolated reports whether nobody else can act as the account of a hop, or read its token.
	ConditionIsolated = "Isolated"

	// ConditionPodGranted is a condition of a pod that waits at the gate of its hop. It is False with the reason for which the
	// pod waits.
	ConditionPodGranted = GroupName + "/Granted"
)
