package v1alpha1

// Condition types. Ready, Reconciling and Stalled follow kstatus, so that kubectl wait and GitOps tools understand
// them. Only the controller sets any of them.
const (
	// ConditionReady is True while the object does what it is for: a path is active, a hop holds its grant. Its reason
	// is the object's state: Active or Granted, or why not.
	ConditionReady = "Ready"
	// ConditionReconciling is True while the object is expected to become ready by itself: a waiting reason.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True while the object will not become ready unless somebody changes something, or never: a
	// fixable or a final reason.
	ConditionStalled = "Stalled"

	// ConditionOriginAuthorized says of a path whether its scope lies inside what its origin may do. Unknown while
	// nobody could be asked.
	ConditionOriginAuthorized = "OriginAuthorized"

	// ConditionValid says of a hop whether its whole chain holds. Unknown while a fact that decides is missing.
	ConditionValid = "Valid"
	// ConditionGranted says of a hop whether its identity and rights stand in the cluster.
	ConditionGranted = "Granted"
)
