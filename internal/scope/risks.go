package scope

// Risk names an escalation risk that has honest uses, so that a path may accept it one day. Nothing accepts one yet.
type Risk string

// The risks.
const (
	// RiskExec is to enter running pods.
	RiskExec Risk = "Exec"
	// RiskWorkloads is to start pods that declare no hop.
	RiskWorkloads Risk = "Workloads"
	// RiskCustomResources is to write kinds whose controllers may do anything.
	RiskCustomResources Risk = "CustomResources"
)

// escalationRisk is one row of what does not fit in a scope.
type escalationRisk struct {
	risk   Risk      // "" if there is no honest use
	blame  field     // the list to point at
	meets  condition // what the row is about
	attack string    // what a bearer could do with it, after "… does not fit in a scope: "
	remedy string
}

const (
	rbacGroup         = "rbac.authorization.k8s.io"
	admissionGroup    = "admissionregistration.k8s.io"
	certificatesGroup = "certificates.k8s.io"
	resourceGroup     = "resource.k8s.io"
	storageGroup      = "storage.k8s.io"
	ownGroup          = "delegation.wayleave.dev"

	leaveOut  = "leave it out"
	nameIt    = "name each one"
	byOthers  = "leave it to the people who run the cluster"
	inPod     = "give it to a hop whose workload is a pod, without `token`"
	notYet    = "no path can accept this risk yet, so leave it out"
	readAlone = "get, list and watch fit"
	outlives  = "an open stream outlives revocation, and what holds a token to take away cannot be ended by us"
)

// escalationRisks is what never fits in a scope: with it a bearer would leave its path, that is do more than its scope says,
// do it as somebody else, or go on after its end. The first row that a request meets is the one that is named. Each row
// must hold by itself: what accepts a risk one day skips the rows of that risk and no others.
var escalationRisks = []escalationRisk{
	// Wildcards.
	{
		blame: inVerbs, meets: wildcard(func(r request) string { return r.Verb }),
		attack: "a wildcard also means every verb that is yet to be invented, and escalate, bind and impersonate today",
		remedy: nameIt,
	}, {
		blame: inGroups, meets: wildcard(func(r request) string { return r.APIGroup }),
		attack: "a wildcard also means the groups that are installed tomorrow", remedy: nameIt,
	}, {
		blame: inResources, meets: wildcard(func(r request) string { return r.Resource }),
		attack: "a wildcard also means secrets, tokens and what is installed tomorrow", remedy: nameIt,
	}, {
		blame: inNames, meets: wildcard(func(r request) string { return r.Name }),
		attack: "RBAC has no wildcard for names, so it would not mean what it says",
		remedy: "name each object, or leave resourceNames out",
	}, {
		blame: inURLs, meets: wildcard(func(r request) string { return r.URL }),
		attack: "a wildcard also means what the server serves there tomorrow", remedy: nameIt,
	}, {
		blame: inAudiences, meets: wildcard(func(r request) string { return r.Audience }),
		attack: "whoever checks an audience by pattern would take the token for more than one service", remedy: nameIt,
	},

	// Verbs with a meaning of their own.
	{
		blame: inVerbs, meets: verb("escalate", "bind"),
		attack: "it lifts the rule that nobody grants more than he has, and the bearer could grant itself everything",
		remedy: leaveOut,
	}, {
		// All of constrained impersonation too: impersonate:user-info, impersonate-on:serviceaccount:list.
		blame: inVerbs, meets: impersonation,
		attack: "who acts as somebody else has left the path, and admission never sees it",
		remedy: leaveOut,
	}, {
		blame: inVerbs, meets: verb("sign", "approve", "attest"),
		attack: "it makes identities: a client certificate for any user is a credential that nothing here can revoke",
		remedy: byOthers,
	}, {
		// A hop may not change a path, a hop, or a decision, nor hold use, delegate or approve.
		blame: inVerbs, meets: all(group(ownGroup), write),
		attack: "the bearer could widen, extend, approve or start its own path", remedy: readAlone,
	}, {
		blame: inVerbs, meets: all(onResource, not(verb("get", "list", "watch", "create", "update", "patch", "delete",
			"deletecollection"))),
		attack: "it is no verb of the API, and the controller that asks for it may allow anything with it",
		remedy: "name get, list, watch, create, update, patch, delete or deletecollection",
	},

	// What a token to take away never does. This stands before the rows that a path may come to accept.
	{
		blame: inVerbs, meets: all(withToken, onResource, verb("watch")),
		attack: outlives, remedy: "let it list again and again, or " + inPod,
	}, {
		blame: inResources, meets: all(withToken, kind("", "pods/log", "pods/exec", "pods/attach", "pods/portforward")),
		attack: outlives, remedy: inPod,
	},

	// Other identities.
	{
		blame: inResources, meets: kind("", "serviceaccounts/token"),
		attack: "a token of another account is another identity, and one of its own outlives the hop's",
		remedy: leaveOut,
	}, {
		// A finalizer on the hop's account makes revocation take minutes, a new account takes part in no path, and
		// its imagePullSecrets and annotations (cloud roles) are what pods and clouds trust.
		blame: inResources, meets: all(tree("", "serviceaccounts"), write),
		attack: "accounts are what paths end by: with it the bearer could make one that stays, or hold on to its own",
		remedy: byOthers,
	}, {
		blame: inResources, meets: all(group(rbacGroup), write),
		attack: "the bearer could give what it has to an identity that is not revoked with it, or take it from others",
		remedy: byOthers,
	}, {
		// Creating a Secret of type service-account-token, with an annotation, has the control plane fill it with a
		// token without end for any account of the namespace.
		blame: inVerbs, meets: all(kind("", "secrets"), verb("create")),
		attack: "a new Secret may ask the control plane for a token without end of any account in the namespace",
		remedy: "create it beforehand, and let the hop update it by name",
	}, {
		// With names, list and watch work for a field selector on metadata.name alone.
		blame: inResources, meets: all(kind("", "secrets"), anyName),
		attack: "the Secrets of a namespace hold the credentials of everybody else there", remedy: "give resourceNames",
	}, {
		// CertificateSigningRequests, PodCertificateRequests, and ClusterTrustBundles, which say whom pods believe.
		blame: inResources, meets: all(group(certificatesGroup), write),
		attack: "a certificate is a credential that nothing here can revoke, and a trust bundle says whose are believed",
		remedy: byOthers,
	},

	// The rules and the machinery of the cluster.
	{
		blame: inResources, meets: all(group(admissionGroup), write),
		attack: "webhooks and policies see and change every request, and the floor of this system is made of them",
		remedy: byOthers,
	}, {
		// A conversion webhook sees and rewrites every object of its kind.
		blame: inResources, meets: all(group("apiextensions.k8s.io"), write),
		attack: "a definition decides what every object of its kind is, those of this system included", remedy: byOthers,
	}, {
		// An aggregated API server is sent the requests, and the tokens, of everyone who uses its group.
		blame: inResources, meets: all(group("apiregistration.k8s.io"), write),
		attack: "a server of the bearer's choice would be asked in the name of everybody", remedy: byOthers,
	}, {
		// Labels and taints draw pods with secrets to a node of choice; status.addresses and the kubelet's port turn
		// the API server's connections.
		blame: inResources, meets: all(tree("", "nodes"), write),
		attack: "who changes a node draws pods and the API server's connections to where it wants them", remedy: byOthers,
	}, {
		// A Role does reach the Namespace object that holds it: its labels choose the Pod Security level, which
		// policies and webhooks hold, and who may be reached.
		blame: inResources, meets: all(tree("", "namespaces"), inNamespaces),
		attack: "the labels of a Namespace choose the rules that hold in it",
		remedy: "to read one, write a cluster rule with its name in resourceNames",
	}, {
		blame: inResources, meets: all(tree("", "namespaces"), write),
		attack: "the labels of a Namespace choose the rules that hold in it, and its end takes everything in it along",
		remedy: byOthers,
	}, {
		blame: inResources, meets: all(tree("", "persistentvolumes"), write),
		attack: "a volume of type hostPath is a node's disk, with the credentials of all its pods", remedy: byOthers,
	}, {
		// csi.storage.k8s.io/node-publish-secret-namespace of a StorageClass; tokenRequests of a CSIDriver.
		blame: inResources, meets: all(group(storageGroup), write),
		attack: "storage drivers are handed Secrets of any namespace and tokens of pods, as these objects tell them",
		remedy: byOthers,
	}, {
		blame: inResources, meets: all(group("node.k8s.io"), write),
		attack: "a RuntimeClass chooses what isolates a pod from its node", remedy: byOthers,
	}, {
		// The flow of requests is what revocation itself is carried by.
		blame: inResources, meets: all(group("flowcontrol.apiserver.k8s.io"), write),
		attack: "who says which requests wait can make those wait that revoke", remedy: byOthers,
	}, {
		// Allocation, which is in the claims' status, and the classes are decided by the scheduler and by drivers.
		blame: inResources, meets: all(group(resourceGroup), write, not(in(harmless))),
		attack: "who says which device belongs to whom reaches the devices of others", remedy: byOthers,
	}, {
		// Priority classes, default ingress classes, service address ranges, storage versions and their like.
		blame: inResources, meets: all(ofClusterKind, write, not(in(harmless))),
		attack: "it configures the cluster for everybody in it", remedy: byOthers,
	}, {
		// aws-auth maps cloud identities to system:masters; extension-apiserver-authentication says whose word
		// aggregated servers take for a user; kube-dns is everybody's DNS; Leases say who is the control plane.
		blame: inResources, meets: all(namespace("kube-system", "kube-public", "kube-node-lease"), write,
			tree("", "configmaps", "services")),
		attack: "in the namespaces of the control plane these say whose identity and whose answers are believed",
		remedy: byOthers,
	}, {
		blame: inResources, meets: all(namespace("kube-system", "kube-public", "kube-node-lease"), write,
			group("coordination.k8s.io")),
		attack: "these Leases say who is the control plane and which nodes live", remedy: byOthers,
	}, {
		blame: inResources, meets: all(ofOperator, write),
		attack: "who changes or stops the operator is not revoked by it", remedy: "leave its namespace out",
	}, {
		blame: inResources, meets: all(ofOperator, tree("", "secrets")),
		attack: "the keys of the operator's webhook are there", remedy: "leave its namespace out",
	},

	// Ways around: the same reach by another door.
	{
		// nodes/proxy runs commands in any pod of the node, with get alone; services/proxy and pods/proxy send
		// requests from the API server's place in the network, and proxied streams stay open.
		blame: inResources, meets: kind("", "nodes/proxy", "pods/proxy", "services/proxy"),
		attack: "what is reached through the API server is reached past network policies, and on a node it is every pod",
		remedy: "let the workload connect by itself",
	}, {
		// What the kubelet gives out by these names: host and container logs, memory, specs, of every pod of the node.
		blame: inResources, meets: kind("", "nodes/checkpoint", "nodes/log", "nodes/pods"),
		attack: "it reads of every pod on the node, in whatever namespace", remedy: "read the pods of a namespace",
	}, {
		blame: inResources, meets: all(kind("", "bindings", "pods/binding"), write),
		attack: "it puts a pod on a node of choice, past the scheduler and the taints that keep it off",
		remedy: "leave it to the scheduler",
	}, {
		// CVE-2021-25740. The built-in edit has lost them for the same reason.
		blame: inResources, meets: all(tree("", "endpoints"), write),
		attack: "a Service can be made to forward to addresses in other namespaces, past network policies",
		remedy: "let the Service select its pods",
	}, {
		blame: inResources, meets: all(group("discovery.k8s.io"), write),
		attack: "a Service can be made to forward to addresses in other namespaces, past network policies",
		remedy: "let the Service select its pods",
	}, {
		// pods/status gives a pod an address, services/status an address to the cluster (CVE-2020-8554), jobs/status
		// ends or prolongs a use.
		blame: inResources, meets: all(builtin, write, status),
		attack: "status is what controllers believe: false addresses draw traffic, a false end hides what still runs",
		remedy: "leave status to its controller",
	}, {
		// A Role for a cluster-scoped kind is dead letters; a ClusterRole for a namespaced one is every namespace.
		blame: inResources, meets: all(onCluster, not(foreign), not(ofClusterKind)),
		attack: "in a cluster rule it would hold in every namespace, those yet to be made included",
		remedy: "move the rule to `namespaced` and name the namespaces",
	},

	// URLs.
	{
		blame: inURLs, meets: unclean,
		attack: "servers disagree on which path that is", remedy: "write the path in its shortest form",
	}, {
		blame: inURLs, meets: url("/logs"),
		attack: "there the API server gives out its host's logs, the audit log among them", remedy: leaveOut,
	}, {
		blame: inURLs, meets: url("/debug"),
		attack: "there the API server gives out its memory and takes orders on what it logs", remedy: leaveOut,
	}, {
		blame: inVerbs, meets: all(onURL, not(verb("get", "head", "options", "post", "put", "patch", "delete"))),
		attack: "it is no HTTP method in small letters, so it would not mean what it says",
		remedy: "name get, head, options, post, put, patch or delete",
	},

	// What has honest uses.
	{
		// get is enough for each of them: a websocket opens with it.
		risk: RiskExec, blame: inResources,
		meets:  kind("", "pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers"),
		attack: "who is inside a pod acts with all that the pod may do", remedy: notYet,
	}, {
		// delete and deletecollection start nothing.
		risk: RiskWorkloads, blame: inResources, meets: all(in(podTemplates), write, not(verb("delete", "deletecollection"))),
		attack: "it can start a pod outside the path, under any account and with any Secret of its namespace",
		remedy: notYet,
	}, {
		risk: RiskCustomResources, blame: inResources, meets: all(foreign, write),
		attack: "the controller of a kind that is not built in may make pods or credentials out of what is written",
		remedy: notYet,
	}, {
		// A CustomResourceDefinition has status and scale alone; every other subresource is an aggregated server's, and
		// a console or a port may be behind its get.
		risk: RiskCustomResources, blame: inResources, meets: all(foreign, read, servedSubresource),
		attack: "the server of a kind that is not built in may open a console behind it", remedy: notYet,
	},

	// What is left: no write goes unjudged.
	{
		blame: inResources, meets: all(builtin, write, not(in(harmless))),
		attack: "whether it stays within a path is not known", remedy: "leave it out, or check its apiGroup",
	},
}
