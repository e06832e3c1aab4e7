package workload

import (
	"fmt"
	"regexp"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// runnable are the kinds that may declare a hop.
var runnable = map[string]bool{kindPod: true, "Job": true, "CronJob": true}

// labelField is the field that declares a hop.
const labelField = "metadata.labels[" + v1alpha1.LabelHop + "]"

// hopAccount is the shape of the name of a hop's account: dhop-<hop>.<random suffix>.<unix time of its end>.
var hopAccount = regexp.MustCompile(`^` + v1alpha1.AccountPrefix + `[^.]+\.[^.]+\.[0-9]+$`)

// Hop is the name of the hop that the workload declares, and whether it declares one.
func (w *Workload) Hop() (string, bool) {
	name, ok := w.Meta.Labels[v1alpha1.LabelHop]
	return name, ok
}

// HopNamed is the name of the hop that the workload declares, or whose account it takes; empty where it has to do with none.
func (w *Workload) HopNamed() string {
	if name, _ := w.Hop(); name != "" {
		return name
	}
	account, ok := strings.CutPrefix(w.Spec.ServiceAccountName, v1alpha1.AccountPrefix)
	name, _, dotted := strings.Cut(account, ".")
	if !ok || !dotted {
		return ""
	}
	return name
}

// TakesAccount says whether a pod runs as the account of a hop, or claims a name that such an account may get.
func TakesAccount(spec *corev1.PodSpec) bool {
	return strings.HasPrefix(spec.ServiceAccountName, v1alpha1.AccountPrefix)
}

// Unchanged says whether an update leaves everything of the old workload as it was that a verdict depends on: what runs, and
// what it says about its delegation. What replaces nothing is changed.
func (w *Workload) Unchanged(old *Workload) bool {
	if old == nil {
		return false
	}
	if !w.Template { // scheduler and kubelet change a pod, too; only these parts are for Wayleave to validate
		return equality.Semantic.DeepEqual(w.declaration(), old.declaration()) &&
			equality.Semantic.DeepEqual(Images(&w.Spec), Images(&old.Spec))
	}
	return equality.Semantic.DeepEqual(judged(w.Meta.Labels), judged(old.Meta.Labels)) &&
		equality.Semantic.DeepEqual(judged(w.Meta.Annotations), judged(old.Meta.Annotations)) &&
		equality.Semantic.DeepEqual(whatRuns(w.Spec), whatRuns(old.Spec))
}

// Keeps says whether an update leaves the hop that a workload declares.
func (w *Workload) Keeps(old *Workload) bool {
	name, declared := w.Hop()
	before, wasDeclared := old.Hop()
	return declared == wasDeclared && name == before
}

// judged are the labels or annotations that mean something to Wayleave, or to Pod Security.
func judged(all map[string]string) map[string]string {
	some := map[string]string{}
	for key, value := range all {
		if strings.HasPrefix(key, v1alpha1.GroupName+"/") || strings.HasPrefix(key, corev1.DeprecatedAppArmorBetaContainerAnnotationKeyPrefix) {
			some[key] = value
		}
	}
	return some
}

// whatRuns is a pod spec without what says only where and when it runs: queues change that when they start a Job.
func whatRuns(spec corev1.PodSpec) corev1.PodSpec {
	spec.NodeSelector, spec.Affinity, spec.Tolerations, spec.SchedulingGates = nil, nil, nil, nil
	spec.PriorityClassName, spec.Priority, spec.TopologySpreadConstraints = "", nil, nil
	return spec
}

// declaration is what a pod says about its delegation.
func (w *Workload) declaration() []string {
	name, declared := w.Hop()
	return []string{fmt.Sprint(declared), name, w.Meta.Annotations[v1alpha1.AnnotationRequires], w.Spec.ServiceAccountName}
}

// Undeclarable says what is wrong with a declaration whatever hop it names; nil if nothing is. The old workload is what
// an update replaces; nil where nothing is replaced.
func (w *Workload) Undeclarable(old *Workload) *delegation.Finding {
	if !w.Template && old != nil {
		if f := w.changed(old); f != nil {
			return f
		}
	}
	name, declared := w.Hop()
	switch account := w.Spec.ServiceAccountName; {
	case !declared && strings.HasPrefix(account, v1alpha1.AccountPrefix) && !hopAccount.MatchString(account):
		return w.finding(v1alpha1.ReasonWrongServiceAccount, "spec.serviceAccountName",
			"names that begin with %s are reserved by Wayleave: replace ServiceAccount %q with one of another name",
			v1alpha1.AccountPrefix, account)
	case !declared && strings.HasPrefix(account, v1alpha1.AccountPrefix):
		return w.finding(v1alpha1.ReasonWrongServiceAccount, "spec.serviceAccountName",
			"ServiceAccount %q belongs to a hop: declare the hop with the label %s on the pod template and leave serviceAccountName out",
			account, v1alpha1.LabelHop)
	case declared && !runnable[w.Kind]:
		return w.finding(v1alpha1.ReasonWorkloadNotAllowed, labelField,
			"a %s cannot run under a hop: the label %s is for Pods, Jobs and CronJobs", w.Kind, v1alpha1.LabelHop)
	case declared && name == "":
		return w.finding(v1alpha1.ReasonHopNotFound, labelField,
			"the label %s is empty: name the hop, or leave the label out", v1alpha1.LabelHop)
	}
	return nil
}

// changed says why the update of a pod that declares a hop, before or after, is not allowed.
func (w *Workload) changed(old *Workload) *delegation.Finding {
	if !w.Keeps(old) {
		return w.finding(v1alpha1.ReasonWorkloadNotAllowed, labelField,
			"the label %s of a pod cannot be changed: make a new pod", v1alpha1.LabelHop)
	}
	if _, declared := w.Hop(); declared {
		return w.finding(v1alpha1.ReasonWorkloadNotAllowed, "",
			"a pod that runs under a hop stays as it was admitted: no ephemeral containers, no other image, "+
				"no other declaration; make a new pod")
	}
	return nil
}

// finding is a finding about a field of the pod or template; an empty field names the whole object.
func (w *Workload) finding(reason v1alpha1.Reason, field, format string, args ...any) *delegation.Finding {
	if field != "" {
		field = w.Field(field)
	}
	return &delegation.Finding{Reason: reason, Field: field, Message: fmt.Sprintf(format, args...)}
}
