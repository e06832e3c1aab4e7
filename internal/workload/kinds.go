package workload

import "github.com/wayleave/wayleave/api/v1alpha1"

// builtIn are the users under which the workload controllers of Kubernetes create objects from templates. The templates
// were validated, and the right of their authors checked, when they were created.
var builtIn = map[string]bool{
	"system:kube-controller-manager":                           true,
	"system:serviceaccount:kube-system:job-controller":         true,
	"system:serviceaccount:kube-system:cronjob-controller":     true,
	"system:serviceaccount:kube-system:replicaset-controller":  true,
	"system:serviceaccount:kube-system:replication-controller": true,
	"system:serviceaccount:kube-system:daemon-set-controller":  true,
	"system:serviceaccount:kube-system:statefulset-controller": true,
	"system:serviceaccount:kube-system:deployment-controller":  true,
}

// FromTemplate says whether a built-in controller creates the workload out of its owner's template. The user is the one
// who writes it, and creates is true where it does not exist yet.
func (w *Workload) FromTemplate(user string, creates bool) bool {
	return builtIn[user] && w.Owner != nil && creates
}

// manual says whether a user makes the workload from a CronJob, as kubectl create job --from does.
func (w *Workload) manual(fromTemplate bool) bool {
	return !fromTemplate && w.Kind == "Job" && w.Owner != nil && w.Owner.Kind == "CronJob"
}

// Kinds are the kinds as which a hop may allow the workload. A built-in controller says truly what it creates an object
// for; the owner that another user writes into it is only a claim.
func (w *Workload) Kinds(fromTemplate bool) []v1alpha1.WorkloadKind {
	if !fromTemplate {
		return []v1alpha1.WorkloadKind{v1alpha1.WorkloadKind(w.Kind)}
	}
	switch owner := w.Owner.Kind; {
	case w.Kind == kindPod && owner == "Job": // the Job may be a CronJob's; its own admission knew
		return []v1alpha1.WorkloadKind{v1alpha1.WorkloadJob, v1alpha1.WorkloadCronJob}
	case w.Kind == "Job" && owner == "CronJob":
		return []v1alpha1.WorkloadKind{v1alpha1.WorkloadCronJob}
	}
	return nil
}
