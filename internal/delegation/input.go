package delegation

import (
	"time"

	rbacv1 "k8s.io/api/rbac/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/scope"
)

// Outcome is one of three answers. The zero value is Undetermined: a question without an answer is never a yes.
type Outcome string

// The three answers.
const (
	Allow        Outcome = "Allow"
	Deny         Outcome = "Deny"
	Undetermined Outcome = ""
)

// String names the outcome.
func (o Outcome) String() string {
	if o == Undetermined {
		return "Undetermined"
	}
	return string(o)
}

// Answer is the answer to the question whether a right exists.
type Answer struct {
	Outcome Outcome
	// Missing is what a Deny found missing, where that can be named.
	Missing []scope.Permission
	// Detail says why the answer is Undetermined.
	Detail string
}

// Facts are what has to be looked up outside the objects themselves. A fact that was not looked up is Undetermined.
type Facts struct {
	// Origin: may the path's origin do now all that the path's scope says?
	Origin Answer
	// OriginAccount is the ServiceAccount that the path's origin is, where AsksForAccount says so.
	OriginAccount Account
	// Unbounded: may the path's origin do everything, so that it bounds nothing?
	Unbounded Answer
	// Terms are what the ceilings demand that the path uses.
	Terms Terms
	// Approval is what was found out about the approval of the path, where AsksForApproval says so.
	Approval Approval
	// TokenSecrets: are the Secrets that the path names free of the tokens of hops? A Deny has as missing the permissions on
	// those that are not.
	TokenSecrets Answer
	// Secrets: may the author of the hop asked about get the Secrets that it lists? It is asked where AsksForSecrets says so.
	Secrets Answer
	// TokenName: did no path name the Secret of the hop asked about before the hop had it?
	TokenName Answer
	// KnowsPath: may the author of the hop asked about know that its path does not exist? It is asked where AsksToKnowPath says so.
	KnowsPath Answer
	// Authors: may the author of each hop of the chain, in the chain's order, delegate on the path?
	Authors []Answer
	// AuthorAccounts are the ServiceAccounts that those authors are, where AsksForAccount says so.
	AuthorAccounts []Account
	// Ceiling: may the controller grant the scope of the hop asked about?
	Ceiling Answer
	// GoneNamespace is a namespace of the scope of the hop asked about that does not exist, where the ceiling lacks something
	// there: its bindings went with it.
	GoneNamespace string
	// Made are the names of hops that the identity of the hop asked about made, in its namespace.
	Made []string
	// Foreign says what others bound to the account of the hop asked about.
	Foreign Foreign
	// Isolation says who else can act as the hop asked about.
	Isolation Isolation
	// Freeze says what is frozen.
	Freeze Freeze
	// FloorGap says which policy is not in effect; empty where all are, or none is required.
	FloorGap string
	// HopNamespace: may the controller make accounts and end workloads in the namespace of the hop asked about?
	HopNamespace Answer
}

func (f Facts) author(i int) Answer {
	if i < len(f.Authors) {
		return f.Authors[i]
	}
	return Answer{Detail: "the author's rights were not looked up"}
}

func (f Facts) authorAccount(i int) Account {
	if i < len(f.AuthorAccounts) {
		return f.AuthorAccounts[i]
	}
	return Account{}
}

// Workload is a pod, or a pod template, that declares the last hop of the chain.
type Workload struct {
	// Kinds are the kinds as which the hop may allow it; the pod of a Job may be allowed as a Job, or as a CronJob.
	Kinds []v1alpha1.WorkloadKind
	// Template is true for what makes pods, false for a pod.
	Template bool
	// Manual is true for a Job that a user makes from a CronJob, as kubectl create job --from does.
	Manual bool
	// ServiceAccountName is that of the pod spec.
	ServiceAccountName string
	// Images are those of all containers, of whatever sort.
	Images []string
	// Secrets are those that its containers read, of the namespace of the hop.
	Secrets []string
	// Violates says, for each Pod Security level that the pod does not keep, what is against it.
	Violates map[v1alpha1.PodSecurityLevel]string
	// Requires is what the workload says it needs; empty means nothing is said.
	Requires []rbacv1.PolicyRule
	// RequiresProblem says why its declaration could not be read; empty where it could.
	RequiresProblem string
	// Begins is true for what begins a use of its own if it is admitted: a Job, or a Pod that no controller makes.
	Begins bool
	// By is the user who declared it; empty where nobody is known.
	By string
	// Author is whose right to use the hop is asked for, where that is not the user who makes the request.
	Author string
	// Use: may the author of the workload use the hop?
	Use Answer
}

// Input is all that a verdict depends on.
type Input struct {
	// Now is the time of the verdict.
	Now time.Time
	// Path is the path, nil where there is none.
	Path *v1alpha1.DelegationPath
	// Chain leads to the hop asked about; empty where the question is about the path.
	Chain Chain
	// Below is how many levels of hops are below the hop asked about, where that was counted: at its admission, since hops can
	// be created leaf first.
	Below int
	// Facts are what was looked up.
	Facts Facts
	// OperatorNamespace is where Wayleave itself runs; empty means scope.DefaultOperatorNamespace.
	OperatorNamespace string
	// Controller is the user name of the controller, for messages that say whom to bind; empty means its default.
	Controller string
	// MaxUserLifetime is how long a path lives at most whose origin is a user, after it became active; zero means as long as it says.
	MaxUserLifetime time.Duration
	// RequireCredential has an approval not count that was given with a credential without an id.
	RequireCredential bool
	// RefuseUnbounded has a path not be valid whose origin may do everything.
	RefuseUnbounded bool
	// Workload is what wants to run under the hop; nil where the question is about the hop itself.
	Workload *Workload
}
