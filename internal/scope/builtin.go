package scope

import "strings"

// kinds is a set of resources by API group.
type kinds map[string]map[string]bool

func (k kinds) has(group, resource string) bool {
	return k[group][resource]
}

// list makes kinds out of a group and its resources, separated by spaces.
func list(resources map[string]string) kinds {
	k := kinds{}
	for group, names := range resources {
		k[group] = map[string]bool{}
		for name := range strings.FieldsSeq(names) {
			k[group][name] = true
		}
	}
	return k
}

// builtinGroups are the API groups that Kubernetes serves itself. Any other group belongs to a CustomResourceDefinition
// or to an aggregated API server, and what its controllers do is not known here.
var builtinGroups = map[string]bool{
	"":                             true,
	"admissionregistration.k8s.io": true,
	"apiextensions.k8s.io":         true,
	"apiregistration.k8s.io":       true,
	"apps":                         true,
	"authentication.k8s.io":        true,
	"authorization.k8s.io":         true,
	"autoscaling":                  true,
	"batch":                        true,
	"certificates.k8s.io":          true,
	"coordination.k8s.io":          true,
	"discovery.k8s.io":             true,
	"events.k8s.io":                true,
	"flowcontrol.apiserver.k8s.io": true,
	"internal.apiserver.k8s.io":    true,
	"lifecycle.k8s.io":             true,
	"networking.k8s.io":            true,
	"node.k8s.io":                  true,
	"policy":                       true,
	"rbac.authorization.k8s.io":    true,
	"resource.k8s.io":              true,
	"scheduling.k8s.io":            true,
	"storage.k8s.io":               true,
	"storagemigration.k8s.io":      true,
}

// clusterScoped are the built-in cluster-scoped kinds. All others are treated as namespaced.
var clusterScoped = list(map[string]string{
	"": "componentstatuses namespaces nodes persistentvolumes",
	"admissionregistration.k8s.io": "mutatingadmissionpolicies mutatingadmissionpolicybindings " +
		"mutatingwebhookconfigurations validatingadmissionpolicies validatingadmissionpolicybindings " +
		"validatingwebhookconfigurations",
	"apiextensions.k8s.io":         "customresourcedefinitions",
	"apiregistration.k8s.io":       "apiservices",
	"authentication.k8s.io":        "selfsubjectreviews tokenreviews",
	"authorization.k8s.io":         "selfsubjectaccessreviews selfsubjectrulesreviews subjectaccessreviews",
	"certificates.k8s.io":          "certificatesigningrequests clustertrustbundles signers",
	"flowcontrol.apiserver.k8s.io": "flowschemas prioritylevelconfigurations",
	"internal.apiserver.k8s.io":    "storageversions",
	"networking.k8s.io":            "ingressclasses ipaddresses servicecidrs",
	"node.k8s.io":                  "runtimeclasses",
	"rbac.authorization.k8s.io":    "clusterrolebindings clusterroles",
	"resource.k8s.io":              "deviceclasses devicetaintrules resourcepoolstatusrequests resourceslices",
	"scheduling.k8s.io":            "priorityclasses",
	"storage.k8s.io":               "csidrivers csinodes storageclasses volumeattachments volumeattributesclasses",
	"storagemigration.k8s.io":      "storageversionmigrations",
})

// podTemplates are the kinds from which pods are created, and ControllerRevisions, from which a StatefulSet takes the
// template of its next pod.
var podTemplates = list(map[string]string{
	"":      "pods podtemplates replicationcontrollers",
	"apps":  "controllerrevisions daemonsets deployments replicasets statefulsets",
	"batch": "cronjobs jobs",
})

// declarable are the kinds that can declare a hop.
var declarable = list(map[string]string{"": "pods", "batch": "cronjobs jobs"})

// actForOthers are the built-in kinds whose controllers do, with their own permissions, what is written in them: an autoscaler
// scales whatever it names, and an ingress controller reads Secrets and sends traffic.
var actForOthers = list(map[string]string{
	"autoscaling":       "horizontalpodautoscalers",
	"networking.k8s.io": "ingresses",
})

// harmless are the built-in kinds whose writes stay within the path, each reviewed. Secrets, and the kinds that hold
// pod templates, are listed for the verbs that the table of escalation risks allows on them.
//
// scale is listed although it starts pods: it starts more of what another user was allowed to start, under an identity
// and a template that the hop cannot choose, and scaling down is the first step in many incidents.
// pods/resize changes how much a container may use and nothing of what runs in it.
// Reviews are questions: they are created, answered and not stored.
var harmless = list(map[string]string{
	"": "configmaps events limitranges persistentvolumeclaims pods pods/eviction pods/resize podtemplates " +
		"replicationcontrollers replicationcontrollers/scale resourcequotas secrets services",
	"apps": "controllerrevisions daemonsets deployments deployments/scale replicasets replicasets/scale statefulsets " +
		"statefulsets/scale",
	"authentication.k8s.io": "selfsubjectreviews tokenreviews",
	"authorization.k8s.io": "localsubjectaccessreviews selfsubjectaccessreviews selfsubjectrulesreviews " +
		"subjectaccessreviews",
	"batch":               "cronjobs jobs",
	"coordination.k8s.io": "leases",
	"events.k8s.io":       "events",
	"networking.k8s.io":   "networkpolicies",
	"policy":              "poddisruptionbudgets",
	"resource.k8s.io":     "resourceclaims resourceclaimtemplates",
})
