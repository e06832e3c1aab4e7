package v1alpha1

// Labels and annotations.
const (
	// LabelHop declares, on a pod template, the hop of its namespace under which the pod runs. Whoever writes the
	// workload sets it; nothing that the controller creates has it.
	LabelHop = GroupName + "/hop"
	// LabelHopName names, on what the controller creates for a hop, that hop.
	LabelHopName = GroupName + "/hop-name"
	// LabelHopNamespace names, on what the controller makes, the hop's namespace.
	LabelHopNamespace = GroupName + "/hop-namespace"
	// LabelHopUID names, on what the controller makes, the hop's UID.
	LabelHopUID = GroupName + "/hop-uid"
	// LabelPathUID names, on what the controller makes, the path's UID.
	LabelPathUID = GroupName + "/path-uid"
	// LabelIncarnation counts, on what the controller makes, the hop's identities.
	LabelIncarnation = GroupName + "/incarnation"
	// LabelCeiling marks a ClusterRole, with the value "true", as one that bounds what the controller may grant where
	// it is bound to the controller.
	LabelCeiling = GroupName + "/ceiling"

	// AnnotationRequires holds, on a pod template, what the workload needs: PolicyRules as YAML.
	AnnotationRequires = GroupName + "/requires"
	// AnnotationChangedBy is stamped at admission with the user who last changed the spec.
	AnnotationChangedBy = GroupName + "/changed-by"
	// AnnotationCredentialID names, on the Secret of a token, the token that it holds.
	AnnotationCredentialID = GroupName + "/credential-id"
	// AnnotationAudience names, on the Secret of a token, the audience of the token; empty is the API server's.
	AnnotationAudience = GroupName + "/audience"

	// AccountPrefix begins the name of each hop's ServiceAccount, and of each pod that runs under a hop.
	AccountPrefix = "dhop-"
)

// Virtual verbs: rights that no API request stands for. They are asked by SubjectAccessReview.
const (
	// VerbUse on a delegationhop lets somebody make a workload that declares it.
	VerbUse = "use"
	// VerbDelegate on a delegationpath lets somebody who is not its origin add hops to it and change them.
	VerbDelegate = "delegate"
)
