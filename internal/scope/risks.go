package scope

import "github.com/wayleave/wayleave/api/v1alpha1"

// Risk names an escalation risk with legitimate uses.
type Risk = v1alpha1.Risk

// AcceptableRisks are the risks that a path may accept.
var AcceptableRisks = []Risk{v1alpha1.RiskStreams, v1alpha1.RiskExec, v1alpha1.RiskWorkloads, v1alpha1.RiskCustomResources}

// escalationRisk is one row of the table of permissions that do not fit in a scope.
type escalationRisk struct {
	risk   Risk      // "" if there is no legitimate use
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
	byOthers  = "leave it to the cluster administrators"
	inPod     = "give it to a hop whose workload is a pod, without `token`"
	readAlone = "get, list and watch fit"
	toAccept  = " to scope.acceptedRisks of the path, or "
	outlives  = "an open stream outlives revocation, and Wayleave cannot end a process outside its pods"
)

// escalationRisks lists what never fits in a scope: with it a bearer would leave its path, that is do more than its
// scope says, act as another user, or continue after its end. The first row that a request meets is reported. Each row
// must be complete without the others: accepting a risk skips only the rows of that risk.
var escalationRisks = []escalationRisk{
	// Wildcards.
	{
		blame: inVerbs, meets: wildcard(func(r request) string { return r.Verb }),
		attack: "a wildcard also means every verb of the future, and escalate, bind and impersonate today",
		remedy: nameIt,
	}, {
		blame: inGroups, meets: wildcard(func(r request) string { return r.APIGroup }),
		attack: "a wildcard also means the groups that are installed later", remedy: nameIt,
	}, {
		blame: inResources, meets: wildcard(func(r request) string { return r.Resource }),
		attack: "a wildcard also means secrets, tokens and what is installed later", remedy: nameIt,
	}, {
		blame: inNames, meets: wildcard(func(r request) string { return r.Name }),
		attack: "RBAC has no wildcard for names, so it would not mean what it says",
		remedy: "name each object, or leave resourceNames out",
	}, {
		blame: inURLs, meets: wildcard(func(r request) string { return r.URL }),
		attack: "a wildcard also means what the server serves there later", remedy: nameIt,
	}, {
		blame: inAudiences, meets: wildcard(func(r request) string { return r.Audience }),
		attack: "a service that matches audiences by pattern would take the token for more than one service", remedy: nameIt,
	},

	// Verbs with a meaning of their own.
	{
		blame: inVerbs, meets: verb("escalate", "bind"),
		attack: "it lifts the rule that no user grants more than they have, and the bearer could grant itself everything",
		remedy: leaveOut,
	}, {
		// All of constrained impersonation too: impersonate:user-info, impersonate-on:serviceaccount:list.
		blame: inVerbs, meets: impersonation,
		attack: "a bearer that acts as another user has left the path, and admission never sees it",
		remedy: leaveOut,
	}, {
		blame: inVerbs, meets: all(group(certificatesGroup), verb("sign", "approve", "attest")),
		attack: "it makes identities: a client certificate for any user is a credential that nothing here can revoke",
		remedy: byOthers,
	}, {
		// approve on signers.cert-manager.io, for one.
		blame: inVerbs, meets: verb("sign", "approve", "attest"),
		attack: "what is issued on it is a credential, which nothing here can revoke", remedy: byOthers,
	}, {
		// A hop may not change a path, a hop, or a decision, nor hold use, delegate or approve.
		blame: inVerbs, meets: all(group(ownGroup), write),
		attack: "the bearer could widen, extend, approve or start its own path", remedy: readAlone,
	}, {
		blame: inVerbs, meets: all(onResource, not(verb("get", "list", "watch", "create", "update", "patch", "delete",
			"deletecollection"))),
		attack: "it is not a verb of the API, and the controller that checks it may allow anything with it",
		remedy: "name get, list, watch, create, update, patch, delete or deletecollection",
	},

	// What a bearer with a token may never do. These rows precede those that a path may accept.
	{
		blame: inVerbs, meets: all(withToken, onResource, verb("watch")),
		attack: outlives, remedy: "poll with list, or " + inPod,
	}, {
		blame: inResources, meets: all(withToken, not(all(not(kind("", "pods/log")), not(entersPods)))),
		attack: outlives, remedy: inPod,
	},

	// Other identities.
	{
		blame: inResources, meets: kind("", "serviceaccounts/token"),
		attack: "a token of another account is another identity, and one of its own outlives the hop's",
		remedy: leaveOut,
	}, {
		// A finalizer on the hop's account delays revocation by minutes, a new account belongs to no path, and pods and
		// clouds trust its imagePullSecrets and annotations (cloud roles).
		blame: inResources, meets: all(tree("", "serviceaccounts"), write),
		attack: "a path ends when its accounts do: the bearer could create one that stays, or keep its own",
		remedy: byOthers,
	}, {
		blame: inResources, meets: all(group(rbacGroup), write),
		attack: "the bearer could give what it has to an identity that is not revoked with it, or take it from others",
		remedy: byOthers,
	}, {
		// Creating a Secret of type service-account-token, with an annotation, makes the control plane fill it
		// with a token without expiry for any account of the namespace.
		blame: inVerbs, meets: all(kind("", "secrets"), verb("create")),
		attack: "a new Secret may ask the control plane for a token without expiry of any account in the namespace",
		remedy: "create it beforehand, and let the hop update it by name",
	}, {
		// With names, list and watch work for a field selector on metadata.name alone.
		blame: inResources, meets: all(kind("", "secrets"), anyName),
		attack: "the Secrets of a namespace hold the credentials of all other workloads there", remedy: "give resourceNames",
	}, {
		// CertificateSigningRequests, PodCertificateRequests, and ClusterTrustBundles, which say which certificates pods
		// trust.
		blame: inResources, meets: all(group(certificatesGroup), write),
		attack: "a certificate is a credential that nothing here can revoke, and a trust bundle says which are trusted",
		remedy: byOthers,
	},

	// The rules and the machinery of the cluster.
	{
		blame: inResources, meets: all(group(admissionGroup), write),
		attack: "webhooks and policies see and change every request, and Wayleave's own are among them",
		remedy: byOthers,
	}, {
		// A conversion webhook sees and rewrites every object of its kind.
		blame: inResources, meets: all(group("apiextensions.k8s.io"), write),
		attack: "a definition decides what every object of its kind is, Wayleave's included", remedy: byOthers,
	}, {
		// An aggregated API server receives the requests, and the tokens, of all users of its group.
		blame: inResources, meets: all(group("apiregistration.k8s.io"), write),
		attack: "a server of the bearer's choice would receive the requests of all users", remedy: byOthers,
	}, {
		// Labels and taints draw pods with secrets to a chosen node; status.addresses and the kubelet's port redirect
		// the API server's connections.
		blame: inResources, meets: all(tree("", "nodes"), write),
		attack: "a bearer that changes a node can draw pods and the API server's connections to it", remedy: byOthers,
	}, {
		// A Role does reach the Namespace object that contains it: its labels choose the Pod Security level, and which
		// policies, webhooks and network policies apply.
		blame: inResources, meets: all(tree("", "namespaces"), write),
		attack: "the labels of a Namespace choose the rules that apply in it, and deleting it deletes everything in it",
		remedy: byOthers,
	}, {
		blame: inResources, meets: all(tree("", "persistentvolumes"), write),
		attack: "a volume of type hostPath is a node's disk, with the credentials of all its pods", remedy: byOthers,
	}, {
		// csi.storage.k8s.io/node-publish-secret-namespace of a StorageClass; tokenRequests of a CSIDriver.
		blame: inResources, meets: all(group(storageGroup), write),
		attack: "storage drivers receive Secrets of any namespace and tokens of pods, as these objects instruct",
		remedy: byOthers,
	}, {
		blame: inResources, meets: all(group("node.k8s.io"), write),
		attack: "a RuntimeClass chooses what isolates a pod from its node", remedy: byOthers,
	}, {
		// Revocation itself depends on the flow of requests.
		blame: inResources, meets: all(group("flowcontrol.apiserver.k8s.io"), write),
		attack: "the bearer could delay the requests that revoke", remedy: byOthers,
	}, {
		// Allocation, which is in the claims' status, and the classes are decided by the scheduler and by drivers.
		blame: inResources, meets: all(group(resourceGroup), write, not(in(harmless))),
		attack: "by assigning devices the bearer could reach those of others", remedy: byOthers,
	}, {
		// Priority classes, default ingress classes, service address ranges, storage versions and their like.
		blame: inResources, meets: all(ofClusterKind, write, not(in(harmless))),
		attack: "it configures the cluster for all its users", remedy: byOthers,
	}, {
		blame: inResources, meets: all(ofOperator, write),
		attack: "the bearer could change or stop the operator that revokes it", remedy: "leave its namespace out",
	}, {
		// ConfigMap aws-auth maps cloud identities to system:masters; extension-apiserver-authentication says whose word
		// aggregated servers take for a user; kube-dns is the DNS of all pods; Leases elect the control plane; pods there
		// are the network and the policies of all others.
		blame: inResources, meets: all(ofControlPlane, write),
		attack: "what is in the namespaces named kube-… decides which identities and answers the whole cluster trusts",
		remedy: byOthers,
	}, {
		blame: inResources, meets: all(ofControlPlane, tree("", "secrets")),
		attack: "in the namespaces named kube-… and in the operator's, they hold the keys of the cluster and of the operator's webhook",
		remedy: byOthers,
	},

	// Bypasses: the same access by another route.
	{
		// nodes/proxy runs commands in any pod of the node, with get alone; services/proxy and pods/proxy send requests
		// from the API server's network, and proxied streams stay open.
		blame: inResources, meets: kind("", "nodes/proxy", "pods/proxy", "services/proxy"),
		attack: "requests through the API server bypass network policies, and on a node they reach every pod",
		remedy: "let the workload connect directly",
	}, {
		// What the kubelet serves under these names: host and container logs, memory, specs, of every pod of the node.
		blame: inResources, meets: kind("", "nodes/checkpoint", "nodes/log", "nodes/pods"),
		attack: "it reads from every pod on the node, in any namespace", remedy: "read the pods of a namespace",
	}, {
		blame: inResources, meets: all(kind("", "bindings", "pods/binding"), write),
		attack: "it puts a pod on a node of the bearer's choice, bypassing the scheduler and taints",
		remedy: "leave it to the scheduler",
	}, {
		// CVE-2021-25740. The built-in role edit lost them for the same reason.
		blame: inResources, meets: all(tree("", "endpoints"), write),
		attack: "a Service can be made to forward to addresses in other namespaces, bypassing network policies",
		remedy: "let the Service select its pods",
	}, {
		blame: inResources, meets: all(group("discovery.k8s.io"), write),
		attack: "a Service can be made to forward to addresses in other namespaces, bypassing network policies",
		remedy: "let the Service select its pods",
	}, {
		// pods/status gives a pod an address, services/status an address to the cluster (CVE-2020-8554), jobs/status
		// ends or extends a use.
		blame: inResources, meets: all(builtin, write, status),
		attack: "controllers trust status: false addresses draw traffic, a false end hides a running workload",
		remedy: "leave status to its controller",
	}, {
		// A Role for a cluster-scoped kind has no effect; a ClusterRole for a namespaced one applies in every namespace.
		blame: inResources, meets: all(onCluster, not(foreign), not(ofClusterKind)),
		attack: "in a cluster rule it would apply in every namespace, future ones included",
		remedy: "move the rule to `namespaced` and name the namespaces",
	},

	// URLs.
	{
		blame: inURLs, meets: unclean,
		attack: "servers disagree on which path that is", remedy: "write the path in its shortest form",
	}, {
		blame: inURLs, meets: url("/logs"),
		attack: "the API server serves its host's logs there, the audit log included", remedy: leaveOut,
	}, {
		blame: inURLs, meets: url("/debug"),
		attack: "the API server serves its memory there and accepts changes of its log level", remedy: leaveOut,
	}, {
		blame: inVerbs, meets: all(onURL, not(verb("get", "head", "options", "post", "put", "patch", "delete"))),
		attack: "it is not a lower-case HTTP method, so it would not mean what it says",
		remedy: "name get, head, options, post, put, patch or delete",
	},

	// Risks with legitimate uses.
	{
		// Kubernetes ends a watch after 30 to 60 minutes, or when its timeoutSeconds say: it asks who may watch only once.
		risk: v1alpha1.RiskStreams, blame: inVerbs, meets: all(onResource, verb("watch")),
		attack: "a watch that is open when its path is revoked goes on delivering, also to whoever carried the token off",
		remedy: "add Streams" + toAccept + "use list with polling",
	}, {
		// RBAC does not see whether a request for a log follows it.
		risk: v1alpha1.RiskStreams, blame: inResources, meets: all(kind("", "pods/log"), read),
		attack: "a log that is followed when its path is revoked goes on, also to whoever carried the token off",
		remedy: "add Streams" + toAccept + "leave logs to a log store",
	}, {
		// get is enough for each of them: it opens a websocket.
		risk: v1alpha1.RiskExec, blame: inResources, meets: entersPods,
		attack: "a process inside a pod has all permissions of the pod", remedy: "add Exec" + toAccept + leaveOut,
	}, {
		risk: v1alpha1.RiskWorkloads, blame: inResources,
		meets:  all(kind("apps", "daemonsets", "deployments", "statefulsets"), verb("update", "patch")),
		attack: "it changes the pod template, as a rollout restart does, and can start a pod outside the path, under any account",
		remedy: "add Workloads" + toAccept + leaveOut,
	}, {
		// delete and deletecollection start no pods. What a hop creates that can declare a hop does declare one: the policy
		// hop-workloads lets it create nothing else.
		risk: v1alpha1.RiskWorkloads, blame: inResources,
		meets:  all(in(podTemplates), write, not(deletes), not(all(in(declarable), verb("create")))),
		attack: "it can start a pod outside the path, under any account and with any Secret of its namespace",
		remedy: "add Workloads" + toAccept + leaveOut,
	}, {
		risk: v1alpha1.RiskCustomResources, blame: inResources, meets: all(in(actForOthers), write, not(deletes)),
		attack: "its controller does with its own permissions what is written in it: it scales what the bearer may not, or reads Secrets",
		remedy: "add CustomResources" + toAccept + leaveOut,
	}, {
		risk: v1alpha1.RiskCustomResources, blame: inResources, meets: all(foreign, write, not(all(deletes, not(subresource), not(onCluster)))),
		attack: "the controller of a kind that is not built in may make pods or credentials out of what is written",
		remedy: "add CustomResources" + toAccept + leaveOut,
	}, {
		// A CustomResourceDefinition has status and scale alone; every other subresource is an aggregated server's, and
		// a console or a port may be behind its get.
		risk: v1alpha1.RiskCustomResources, blame: inResources, meets: all(foreign, read, servedSubresource),
		attack: "the server of a kind that is not built in may open a console behind it", remedy: "add CustomResources" + toAccept + leaveOut,
	},

	// All other writes: none passes unchecked.
	{
		// update of finalizers is asked of who makes an object that keeps its owner from being deleted first, and serves nothing.
		blame: inResources, meets: all(builtin, write, not(in(harmless)), not(finalizers), not(in(actForOthers)), not(entersPods)),
		attack: "whether it stays within a path is not known", remedy: "leave it out, or check its apiGroup",
	},
}
