package workload

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func TestDecode(t *testing.T) {
	owned := metav1.ObjectMeta{Name: "x", OwnerReferences: []metav1.OwnerReference{
		{APIVersion: "v1", Kind: "ConfigMap", Name: "other"},
		{APIVersion: "example.com/v1", Kind: "Pipeline", Name: "owner", Controller: new(true)},
	}}
	bare := pod()
	bare.OwnerReferences = owned.OwnerReferences
	template := template()
	for kind, test := range map[string]struct {
		object    runtime.Object
		wantField string
	}{
		"Pod":        {object: bare, wantField: "spec.volumes"},
		"Job":        {object: &batchv1.Job{ObjectMeta: owned, Spec: batchv1.JobSpec{Template: template}}},
		"Deployment": {object: &appsv1.Deployment{ObjectMeta: owned, Spec: appsv1.DeploymentSpec{Template: template}}},
		"StatefulSet": {
			object: &appsv1.StatefulSet{ObjectMeta: owned, Spec: appsv1.StatefulSetSpec{Template: template}},
		},
		"DaemonSet":  {object: &appsv1.DaemonSet{ObjectMeta: owned, Spec: appsv1.DaemonSetSpec{Template: template}}},
		"ReplicaSet": {object: &appsv1.ReplicaSet{ObjectMeta: owned, Spec: appsv1.ReplicaSetSpec{Template: template}}},
		"ReplicationController": {
			object: &corev1.ReplicationController{ObjectMeta: owned, Spec: corev1.ReplicationControllerSpec{Template: &template}},
		},
		"CronJob": {
			object: &batchv1.CronJob{ObjectMeta: owned, Spec: batchv1.CronJobSpec{
				JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template}},
			}},
			wantField: "spec.jobTemplate.spec.template.spec.volumes",
		},
		"PodTemplate": {object: &corev1.PodTemplate{ObjectMeta: owned, Template: template}, wantField: "template.spec.volumes"},
	} {
		t.Run(kind, func(t *testing.T) {
			w := decode(t, kind, test.object)
			if name, ok := w.Hop(); name != "isolate" || !ok || w.Template != (kind != "Pod") || len(w.Spec.Containers) != 1 {
				t.Errorf("read %+v", w)
			}
			if w.Owner == nil || w.Owner.Name != "owner" {
				t.Errorf("read the owner %v", w.Owner)
			}
			wantField := test.wantField
			if wantField == "" {
				wantField = "spec.template.spec.volumes"
			}
			if got := w.Field("spec.volumes"); got != wantField {
				t.Errorf("the field is %s, want %s", got, wantField)
			}
			// A webhook reads JSON and a controller an object: both must read the same.
			typed, err := From(test.object)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(w, typed); diff != "" {
				t.Errorf("the object reads differently: %s", diff)
			}
		})
	}
}

func TestDecodeOfNothing(t *testing.T) {
	t.Run("a ReplicationController without a template", func(t *testing.T) {
		w := decode(t, "ReplicationController", &corev1.ReplicationController{})
		if _, declared := w.Hop(); declared {
			t.Errorf("read %+v", w)
		}
		typed, err := From(&corev1.ReplicationController{})
		if diff := cmp.Diff(w, typed); diff != "" || err != nil {
			t.Errorf("the object reads differently: %v %s", err, diff)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		if w, err := Decode("Pod", nil); w != nil || err != nil {
			t.Errorf("read %+v, %v", w, err)
		}
	})
	t.Run("no JSON", func(t *testing.T) {
		for _, kind := range []string{"Pod", "Job", "CronJob", "PodTemplate"} {
			if _, err := Decode(kind, []byte(`{"spec":`)); err == nil {
				t.Errorf("read a %s out of half an object", kind)
			}
		}
	})
	t.Run("what makes no pods", func(t *testing.T) {
		if w, err := From(&corev1.Secret{}); err == nil {
			t.Errorf("read %+v", w)
		}
	})
}

// TestDecodeReadsWhatTheAPIServerReads: the API server takes field names as they are written. A decoder that takes
// others would see another label than the pod has.
func TestDecodeReadsWhatTheAPIServerReads(t *testing.T) {
	raw := `{"metadata":{"labels":{"` + v1alpha1.LabelHop + `":"isolate"},"Labels":{"` + v1alpha1.LabelHop + `":"other"}}}`
	w, err := Decode("Pod", []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	if name, _ := w.Hop(); name != "isolate" {
		t.Errorf("read hop %q", name)
	}
}
