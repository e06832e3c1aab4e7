package workload

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/json"
)

// Workload is a pod, or a template that makes pods.
type Workload struct {
	// Kind is the kind of the object, such as Pod or CronJob.
	Kind string
	// Template is true for what makes pods, false for a pod.
	Template bool
	// Meta is the metadata of the pod, or of the template.
	Meta metav1.ObjectMeta
	// Stamps are the annotations of the object itself, where admission stamps it.
	Stamps map[string]string
	// Spec is the pod spec.
	Spec corev1.PodSpec
	// Owner is the controller of the object; nil where it has none.
	Owner *metav1.OwnerReference
}

// kindPod is the one kind that is no template.
const kindPod = "Pod"

// Decode reads a workload of a kind from JSON; nil if there is no JSON. A kind that this package does not know keeps its
// template where a Job does: in spec.template.
func Decode(kind string, raw []byte) (*Workload, error) {
	if len(raw) == 0 {
		return nil, nil //nolint:nilnil // a create replaces nothing
	}
	var object runtime.Object
	switch kind {
	case kindPod:
		object = &corev1.Pod{}
	case "CronJob":
		object = &batchv1.CronJob{}
	case "PodTemplate":
		object = &corev1.PodTemplate{}
	default:
		object = &batchv1.Job{}
	}
	if err := json.Unmarshal(raw, object); err != nil {
		return nil, fmt.Errorf("decoding the object: %w", err)
	}
	w, err := From(object)
	if err != nil {
		return nil, err
	}
	w.Kind = kind
	return w, nil
}

// From reads a workload from an object. It fails on what makes no pods. The workload shares memory with the object.
func From(object runtime.Object) (*Workload, error) {
	switch o := object.(type) {
	case *corev1.Pod:
		return &Workload{Kind: kindPod, Meta: o.ObjectMeta, Stamps: o.Annotations, Spec: o.Spec, Owner: metav1.GetControllerOf(o)}, nil
	case *batchv1.Job:
		return fromTemplate("Job", o, &o.Spec.Template), nil
	case *batchv1.CronJob:
		return fromTemplate("CronJob", o, &o.Spec.JobTemplate.Spec.Template), nil
	case *corev1.PodTemplate:
		return fromTemplate("PodTemplate", o, &o.Template), nil
	case *corev1.ReplicationController:
		return fromTemplate("ReplicationController", o, o.Spec.Template), nil
	case *appsv1.Deployment:
		return fromTemplate("Deployment", o, &o.Spec.Template), nil
	case *appsv1.StatefulSet:
		return fromTemplate("StatefulSet", o, &o.Spec.Template), nil
	case *appsv1.DaemonSet:
		return fromTemplate("DaemonSet", o, &o.Spec.Template), nil
	case *appsv1.ReplicaSet:
		return fromTemplate("ReplicaSet", o, &o.Spec.Template), nil
	}
	return nil, fmt.Errorf("a %T makes no pods", object)
}

func fromTemplate(kind string, o metav1.Object, t *corev1.PodTemplateSpec) *Workload {
	w := &Workload{Kind: kind, Template: true, Stamps: o.GetAnnotations(), Owner: metav1.GetControllerOf(o)}
	if t != nil { // a ReplicationController may have none
		w.Meta, w.Spec = t.ObjectMeta, t.Spec
	}
	return w
}

// Field is the path, inside the object, of a field of the pod or template, such as spec.template.spec.volumes[0] for
// spec.volumes[0].
func (w *Workload) Field(field string) string {
	switch {
	case !w.Template:
		return field
	case w.Kind == "CronJob":
		return "spec.jobTemplate.spec.template." + field
	case w.Kind == "PodTemplate":
		return "template." + field
	}
	return "spec.template." + field
}
