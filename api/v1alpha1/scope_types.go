package v1alpha1

// The bounds below cap each list; internal/scope caps their product in Go, since CEL cannot afford to multiply them.
// Without both, one object could name millions of permissions and stall every process that reads it.

// Risk names permissions with which a bearer could leave its path, and which have legitimate uses all the same.
//
// +kubebuilder:validation:Enum=Streams;Exec;Workloads;CustomResources
type Risk string

// The risks that a path may accept. All but Streams have to be approved.
const (
	// RiskStreams is to watch, and to read logs: an open stream outlives revocation.
	RiskStreams Risk = "Streams"
	// RiskExec is to enter running pods.
	RiskExec Risk = "Exec"
	// RiskWorkloads is to make or change pods that declare no hop.
	RiskWorkloads Risk = "Workloads"
	// RiskCustomResources is to write what controllers of others act upon.
	RiskCustomResources Risk = "CustomResources"
)

// Scope is a bound on authority: its holder may do what it names and nothing else. It is a plain list of what is
// allowed, without wildcards.
//
// +kubebuilder:validation:MinProperties=1
type Scope struct {
	// namespaced lists what may be done in which namespaces.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Namespaced []NamespacedScope `json:"namespaced,omitempty"`

	// cluster lists what may be done with cluster-scoped resources and non-resource URLs. Each hop that has such a
	// rule costs a ClusterRoleBinding, which the API server evaluates on every request in the cluster.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Cluster []ClusterRule `json:"cluster,omitempty"`

	// audiences lists the token audiences, beyond the API server's own, for which tokens may be issued. A token for
	// another audience cannot be revoked before it expires.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Audiences []string `json:"audiences,omitempty"`

	// acceptedRisks names the risks that the path accepts, for itself and all its hops; a hop cannot name any. Streams
	// allows watch and pods/log, for hops without a token: a stream that is open when the path is revoked goes on until
	// the API server ends it. Exec allows to enter running pods, for hops without a token. Workloads allows to make and change
	// pods and what makes them, without declaring a hop. CustomResources allows to write kinds that are not built in, ingresses
	// and autoscalers, on which controllers of others act. For each but Streams, the path has to be approved.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	AcceptedRisks []Risk `json:"acceptedRisks,omitempty"`
}

// NamespacedScope allows each of its rules in each of its namespaces.
type NamespacedScope struct {
	// namespaces are the namespaces in which the rules apply. Name each one: there is no wildcard.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	// +kubebuilder:validation:items:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespaces []string `json:"namespaces,omitempty"`

	// rules are what may be done in each of the namespaces.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Rules []ResourceRule `json:"rules,omitempty"`
}

// ResourceRule allows each of its verbs on each of its resources in each of its API groups, with the meaning of an
// RBAC rule. Wildcards are rejected.
type ResourceRule struct {
	// apiGroups are the API groups of the resources; "" is the core group.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=0
	// +kubebuilder:validation:items:MaxLength=253
	APIGroups []string `json:"apiGroups,omitempty"`

	// resources are plural resource names, with a subresource after a slash: pods, deployments/scale.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	Resources []string `json:"resources,omitempty"`

	// verbs are API verbs: get, list, watch, create, update, patch, delete, deletecollection.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Verbs []string `json:"verbs,omitempty"`

	// resourceNames narrows the rule to objects of these names; absent means any name.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	ResourceNames []string `json:"resourceNames,omitempty"`
}

// ClusterRule allows verbs either on cluster-scoped resources or on non-resource URLs.
//
// +kubebuilder:validation:XValidation:rule="has(self.nonResourceURLs) ? !has(self.apiGroups) && !has(self.resources) && !has(self.resourceNames) : has(self.apiGroups) && has(self.resources)",message="a cluster rule has either apiGroups and resources, or nonResourceURLs alone"
type ClusterRule struct {
	// apiGroups are the API groups of the resources; "" is the core group.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=0
	// +kubebuilder:validation:items:MaxLength=253
	APIGroups []string `json:"apiGroups,omitempty"`

	// resources are plural names of cluster-scoped resources.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	Resources []string `json:"resources,omitempty"`

	// resourceNames narrows the rule to objects of these names; absent means any name.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	ResourceNames []string `json:"resourceNames,omitempty"`

	// nonResourceURLs are URL paths such as /metrics. A rule with URLs names no resources.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^/`
	NonResourceURLs []string `json:"nonResourceURLs,omitempty"`

	// verbs are API verbs, or lower-case HTTP methods for URLs.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Verbs []string `json:"verbs,omitempty"`
}
