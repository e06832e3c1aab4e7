package webhooks

import (
	"errors"
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admission/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/yaml"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/delegation"
)

// workload is what a request says about a pod, or about a pod template.
type workload struct {
	kind     string
	template bool
	meta     metav1.ObjectMeta // of the pod, or of the template
	spec     corev1.PodSpec
	owner    *metav1.OwnerReference // the controller of the object itself
}

// hop is the hop that the workload declares.
func (w *workload) hop() (string, bool) {
	name, ok := w.meta.Labels[v1alpha1.LabelHop]
	return name, ok
}

// decodeWorkload reads a workload from an object of a request; nil if there is none.
func decodeWorkload(kind string, raw []byte) (*workload, error) {
	if len(raw) == 0 {
		return nil, nil //nolint:nilnil // a create replaces nothing
	}
	var meta metav1.PartialObjectMetadata
	if err := decodeInto(raw, &meta); err != nil {
		return nil, err
	}
	w := &workload{kind: kind, template: kind != "Pod", owner: metav1.GetControllerOf(&meta)}
	switch kind {
	case "Pod":
		var pod corev1.Pod
		if err := decodeInto(raw, &pod); err != nil {
			return nil, err
		}
		w.meta, w.spec = pod.ObjectMeta, pod.Spec
	case "CronJob":
		var cronJob batchv1.CronJob
		if err := decodeInto(raw, &cronJob); err != nil {
			return nil, err
		}
		w.fromTemplate(cronJob.Spec.JobTemplate.Spec.Template)
	case "PodTemplate":
		var template corev1.PodTemplate
		if err := decodeInto(raw, &template); err != nil {
			return nil, err
		}
		w.fromTemplate(template.Template)
	default: // all others keep their template in the same place
		var job batchv1.Job
		if err := decodeInto(raw, &job); err != nil {
			return nil, err
		}
		w.fromTemplate(job.Spec.Template)
	}
	return w, nil
}

func (w *workload) fromTemplate(t corev1.PodTemplateSpec) { w.meta, w.spec = t.ObjectMeta, t.Spec }

// containerImages are the images of all containers of a pod, of whatever sort.
func containerImages(spec *corev1.PodSpec) []string {
	var images []string
	for _, c := range spec.InitContainers {
		images = append(images, c.Image)
	}
	for _, c := range spec.Containers {
		images = append(images, c.Image)
	}
	for _, c := range spec.EphemeralContainers {
		images = append(images, c.Image)
	}
	return images
}

// maxRequires is the longest declaration that is parsed, in bytes.
const maxRequires = 16 << 10

// requires reads what a workload says that it needs.
func (w *workload) requires() ([]rbacv1.PolicyRule, error) {
	text := w.meta.Annotations[v1alpha1.AnnotationRequires]
	if text == "" {
		return nil, nil
	}
	if len(text) > maxRequires {
		return nil, fmt.Errorf("it is longer than %d bytes", maxRequires)
	}
	// An anchor lets a few kilobytes stand for gigabytes, within the parser's own limits. No rule needs an ampersand.
	if strings.Contains(text, "&") {
		return nil, errors.New("it has an ampersand: write each rule out, without anchors and aliases")
	}
	var rules []rbacv1.PolicyRule
	if err := yaml.UnmarshalStrict([]byte(text), &rules); err != nil {
		return nil, fmt.Errorf("it is not a YAML list of PolicyRules: %w", err)
	}
	if len(rules) == 0 {
		return nil, errors.New("it names nothing: leave the annotation out if all of the hop's scope is needed")
	}
	return rules, nil
}

// unchanged says whether an update leaves label and template as they were.
func unchanged(w, old *workload) bool {
	if old == nil {
		return false
	}
	if !w.template { // a pod's spec is filled in and moved on by scheduler and kubelet; only this is ours to judge
		return equality.Semantic.DeepEqual(declaration(w), declaration(old)) &&
			equality.Semantic.DeepEqual(containerImages(&w.spec), containerImages(&old.spec))
	}
	return equality.Semantic.DeepEqual(w.meta.Labels, old.meta.Labels) &&
		equality.Semantic.DeepEqual(w.meta.Annotations, old.meta.Annotations) &&
		equality.Semantic.DeepEqual(w.spec, old.spec)
}

// declaration is what a pod says about its delegation.
func declaration(w *workload) []string {
	name, declared := w.hop()
	return []string{fmt.Sprint(declared), name, w.meta.Annotations[v1alpha1.AnnotationRequires], w.spec.ServiceAccountName}
}

// builtIn are the users under which the workload controllers of Kubernetes make objects from templates. The templates
// were judged, and their authors asked, when they were made.
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

// fromController says whether the request makes an object out of a template of its owner.
func (w *workload) fromController(req admission.Request) bool {
	return builtIn[req.UserInfo.Username] && w.owner != nil && req.Operation == admissionv1.Create
}

// kinds are the kinds as which a hop may allow the workload.
func (w *workload) kinds(req admission.Request) []v1alpha1.WorkloadKind {
	if w.fromController(req) {
		switch owner := w.owner.Kind; {
		case w.kind == "Pod" && owner == "Job": // the Job may be a CronJob's; its own admission knew
			return []v1alpha1.WorkloadKind{v1alpha1.WorkloadJob, v1alpha1.WorkloadCronJob}
		case w.kind == "Job" && owner == "CronJob":
			return []v1alpha1.WorkloadKind{v1alpha1.WorkloadCronJob}
		}
		return nil
	}
	return []v1alpha1.WorkloadKind{v1alpha1.WorkloadKind(w.kind)}
}

// asked is the workload as the verdict looks at it. Who may use the hop is asked of whoever makes or changes a
// top-level object.
func (w *workload) asked(req admission.Request, use delegation.Answer) *delegation.Workload {
	asked := &delegation.Workload{
		Kinds: w.kinds(req), Template: w.template, ServiceAccountName: w.spec.ServiceAccountName,
		Images: containerImages(&w.spec), Use: use,
	}
	rules, err := w.requires()
	if err != nil {
		asked.RequiresProblem = err.Error()
	}
	asked.Requires = rules
	return asked
}

func hopKey(req admission.Request, name string) types.NamespacedName {
	return types.NamespacedName{Namespace: req.Namespace, Name: name}
}
