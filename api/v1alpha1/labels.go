package v1alpha1

// Labels and annotations.
const (
	// LabelHop declares, on a pod template, the hop of its namespace under which the pod runs. The author of the
	// workload sets it; no object that the controller creates has it.
	LabelHop = GroupName + "/hop"
	// LabelHopName names, on each object that the controller creates for a hop, that hop.
	LabelHopName = GroupName + "/hop-name"
	// LabelHopNamespace names, on the same objects, the hop's namespace.
	LabelHopNamespace = GroupName + "/hop-namespace"
	// LabelHopUID names, on the same objects, the hop's UID.
	LabelHopUID = GroupName + "/hop-uid"
	// LabelPathUID names, on the same objects, the path's UID.
	LabelPathUID = GroupName + "/path-uid"
	// LabelIncarnation counts, on the same objects, the hop's identities.
	LabelIncarnation = GroupName + "/incarnation"
	// LabelCeiling marks a ClusterRole, with the value "true", as one that bounds what the controller may grant where
	// it is bound to the controller.
	LabelCeiling = GroupName + "/ceiling"

	// AnnotationRequiresApproval on a ceiling has each path that uses it be approved: "true", or by how many people.
	AnnotationRequiresApproval = GroupName + "/requires-approval"
	// AnnotationMaxLifetime on a ceiling is the longest duration of the lifetime of a path that uses it, in Go notation.
	AnnotationMaxLifetime = GroupName + "/max-lifetime"
	// AnnotationMaxDepth on a ceiling is how deep the chain of a path may be that uses it.
	AnnotationMaxDepth = GroupName + "/max-depth"

	// LabelRecord is on a path or hop with what its status says that must survive a restore from a backup, which brings objects
	// back without status: since when it is active, how many uses of those that it allows have begun, and why it has ended. The
	// controller writes it, and reads it where there is no status.
	LabelRecord = GroupName + "/record"

	// AnnotationRequires holds, on a pod template, what the workload needs: PolicyRules as YAML.
	AnnotationRequires = GroupName + "/requires"
	// AnnotationDeclaredBy is stamped at admission on a Pod, Job or CronJob that declares a hop, with the user who created it or
	// last changed what runs: that user's right to use the hop is asked for again whenever a pod of it starts.
	AnnotationDeclaredBy = GroupName + "/declared-by"
	// AnnotationDeclaredByGroups is stamped beside it with the groups of that user, as a JSON list.
	AnnotationDeclaredByGroups = GroupName + "/declared-by-groups"
	// AnnotationDeclaredHop is stamped beside it with the UID of the hop, unless the hop does not exist yet: then the controller
	// adds it to the Job when its first pod starts. A hop that is recreated is another one.
	AnnotationDeclaredHop = GroupName + "/declared-hop-uid"
	// AnnotationUseEnded is on a Job whose use of its hop was ended by the controller, with the reason. It starts no other one.
	AnnotationUseEnded = GroupName + "/use-ended"

	// AnnotationChangedBy is stamped at admission with the user who last changed the spec.
	AnnotationChangedBy = GroupName + "/changed-by"
	// AnnotationChangedGeneration is stamped beside it with the generation that the change made. An object of another
	// generation was changed by an unknown user, while no webhook answered.
	AnnotationChangedGeneration = GroupName + "/changed-generation"
	// AnnotationCredentialID names, on the Secret of a token, the token that it holds.
	AnnotationCredentialID = GroupName + "/credential-id"
	// AnnotationAudience names, on the Secret of a token, the audience of the token; empty is the API server's.
	AnnotationAudience = GroupName + "/audience"

	// AnnotationSuspendedFor is on a Job that the controller suspended because its hop was withdrawn for a reason that may
	// pass: the value is that reason. The Job is resumed when the hop is granted again, unless the annotation was removed.
	AnnotationSuspendedFor = GroupName + "/suspended-for"
	// AnnotationSuspendedHop is beside it with the UID of that hop: a hop that is recreated resumes nothing.
	AnnotationSuspendedHop = GroupName + "/suspended-hop-uid"

	// GateGrant is the scheduling gate of each pod that declares a hop. The controller removes it once the pod may start.
	GateGrant = GroupName + "/grant"

	// AccountPrefix begins the name of each hop's ServiceAccount, and of each pod that runs under a hop.
	AccountPrefix = "dhop-"
)

// Virtual verbs: permissions that correspond to no API request. They are checked by SubjectAccessReview.
const (
	// VerbUse on a delegationhop permits creating workloads that declare it.
	VerbUse = "use"
	// VerbDelegate on a delegationpath permits users other than its origin to add hops to it and to change them.
	VerbDelegate = "delegate"
	// VerbApprove on a delegationpath permits approving and denying it.
	VerbApprove = "approve"
	// VerbDeploy on delegationpaths, given by the controller to hops of a path that accepts Workloads, lets the floor pass what they
	// make without a hop.
	VerbDeploy = "deploy"
)
