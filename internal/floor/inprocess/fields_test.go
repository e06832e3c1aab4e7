package inprocess

import (
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// Some policies list the fields that a user leaves as they are. For each there is a row that changes it alone.

// each has a row for each change of an object that is refused, by the name of the field; one change of it passes.
func each[T client.Object](says string, o T, passes func(T), changes map[string]func(T), with ...func(*request)) map[string]row {
	rows := map[string]row{}
	for field, change := range changes {
		rows["field "+field] = row{says, update(o, change, with...), update(o, passes, with...)}
	}
	return rows
}

// metadata changes each part of the metadata of an object that says something.
func metadata[T client.Object]() map[string]func(T) {
	return map[string]func(T){
		"labels": labelled[T]("a", "b"), "annotations": noted[T]("a", "b"), "finalizers": finalized[T],
		"ownerReferences": func(o T) {
			o.SetOwnerReferences([]metav1.OwnerReference{{APIVersion: "v1", Kind: "ConfigMap", Name: "c"}})
		},
	}
}

func jobFields() map[string]func(*batchv1.Job) {
	fields := map[string]func(*batchv1.Job){
		"completions":             func(j *batchv1.Job) { j.Spec.Completions = new(int32(9)) },
		"backoffLimit":            func(j *batchv1.Job) { j.Spec.BackoffLimit = new(int32(9)) },
		"maxFailedIndexes":        func(j *batchv1.Job) { j.Spec.MaxFailedIndexes = new(int32(9)) },
		"podReplacementPolicy":    func(j *batchv1.Job) { j.Spec.PodReplacementPolicy = new(batchv1.Failed) },
		"activeDeadlineSeconds":   func(j *batchv1.Job) { j.Spec.ActiveDeadlineSeconds = new(int64(9)) },
		"ttlSecondsAfterFinished": func(j *batchv1.Job) { j.Spec.TTLSecondsAfterFinished = new(int32(9)) },
	}
	for name, change := range metadata[*batchv1.Job]() {
		if name != "annotations" { // which have a message of their own
			fields[name] = change
		}
	}
	return fields
}

func podFields() map[string]func(*corev1.Pod) {
	fields := metadata[*corev1.Pod]()
	fields["initContainers"] = func(p *corev1.Pod) { p.Spec.InitContainers = p.Spec.Containers }
	fields["ephemeralContainers"] = debugged
	fields["nodeSelector"] = func(p *corev1.Pod) { p.Spec.NodeSelector = map[string]string{"a": "b"} }
	fields["affinity"] = func(p *corev1.Pod) { p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{}} }
	fields["tolerations"] = func(p *corev1.Pod) { p.Spec.Tolerations = []corev1.Toleration{{Key: "a"}} }
	fields["terminationGracePeriodSeconds"] = ends(9)
	return fields
}

func podStatusFields() map[string]func(*corev1.Pod) {
	statuses := []corev1.ContainerStatus{{Name: "main", Image: elsewhere}}
	fields := map[string]func(*corev1.Pod){
		"podIP":                      func(p *corev1.Pod) { p.Status.PodIP = "10.0.0.1" },
		"podIPs":                     func(p *corev1.Pod) { p.Status.PodIPs = []corev1.PodIP{{IP: "10.0.0.1"}} },
		"hostIP":                     func(p *corev1.Pod) { p.Status.HostIP = "10.0.0.1" },
		"hostIPs":                    func(p *corev1.Pod) { p.Status.HostIPs = []corev1.HostIP{{IP: "10.0.0.1"}} },
		"nominatedNodeName":          func(p *corev1.Pod) { p.Status.NominatedNodeName = "n1" },
		"containerStatuses":          func(p *corev1.Pod) { p.Status.ContainerStatuses = statuses },
		"initContainerStatuses":      func(p *corev1.Pod) { p.Status.InitContainerStatuses = statuses },
		"ephemeralContainerStatuses": func(p *corev1.Pod) { p.Status.EphemeralContainerStatuses = statuses },
		"startTime":                  func(p *corev1.Pod) { p.Status.StartTime = &began },
		"qosClass":                   func(p *corev1.Pod) { p.Status.QOSClass = corev1.PodQOSBurstable },
		"reason":                     func(p *corev1.Pod) { p.Status.Reason = "a" },
		"message":                    func(p *corev1.Pod) { p.Status.Message = "a" },
		"resourceClaimStatuses":      func(p *corev1.Pod) { p.Status.ResourceClaimStatuses = []corev1.PodResourceClaimStatus{{Name: "a"}} },
	}
	for name, change := range metadata[*corev1.Pod]() {
		if name != "ownerReferences" { // a status does not change them
			fields[name] = change
		}
	}
	return fields
}

func kindFields() map[string]func(*v1alpha1.DelegationPath) {
	fields := metadata[*v1alpha1.DelegationPath]()
	fields["a label that goes"] = func(p *v1alpha1.DelegationPath) { delete(p.Labels, "team") }
	return fields
}

func accountFields() map[string]func(*corev1.ServiceAccount) {
	fields := metadata[*corev1.ServiceAccount]()
	delete(fields, "finalizers") // which have a message of their own
	fields["secrets"] = func(a *corev1.ServiceAccount) { a.Secrets = []corev1.ObjectReference{{Name: "a"}} }
	fields["imagePullSecrets"] = func(a *corev1.ServiceAccount) { a.ImagePullSecrets = []corev1.LocalObjectReference{{Name: "a"}} }
	fields["automountServiceAccountToken"] = func(a *corev1.ServiceAccount) { a.AutomountServiceAccountToken = new(true) }
	return fields
}

// fieldRows are those rows, by policy.
var fieldRows = map[string][]map[string]row{
	"controller-jobs":       {each("nothing else in their spec", job(), started, jobFields(), by(ours))},
	"controller-pods":       {each("activeDeadlineSeconds alone", hopPod(), opened, podFields(), by(ours))},
	"controller-pod-status": {each("Granted of a pod alone", hopPod(), granted, podStatusFields(), by(ours), at("status"))},
	"controller-kinds": {each("the label delegation.wayleave.dev/record", path(labelled[*v1alpha1.DelegationPath]("team", "x")),
		labelled[*v1alpha1.DelegationPath](v1alpha1.LabelRecord, "x"), kindFields(), by(ours))},
	"identities": {
		each("the controller of Wayleave alone", serviceAccount(account), func(*corev1.ServiceAccount) {}, accountFields()),
		each("the controller of Wayleave alone", binding(account), func(*rbacv1.RoleBinding) {}, map[string]func(*rbacv1.RoleBinding){
			"subjects": func(b *rbacv1.RoleBinding) { b.Subjects = toUsers([]string{"bob"}) },
		}),
		each("the controller of Wayleave alone", clusterRole(nil), func(*rbacv1.ClusterRole) {}, map[string]func(*rbacv1.ClusterRole){
			"aggregationRule": func(r *rbacv1.ClusterRole) { r.AggregationRule = &rbacv1.AggregationRule{} },
		}),
	},
}
