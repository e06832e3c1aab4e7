package webhooks

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	admissionv1 "k8s.io/api/admission/v1"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func TestRequires(t *testing.T) {
	listPods := []rbacv1.PolicyRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}}
	// Each of these stays below the parser's own limit on aliases, and stands for about a gigabyte.
	bomb := "- [" + strings.Repeat("1,", 4200) + "]\n- &a \"" + strings.Repeat("x", 5000) + "\"\n- &b [" +
		strings.Repeat("*a,", 100) + "]\n- &c [" + strings.Repeat("*b,", 50) + "]\n- [" + strings.Repeat("*c,", 35) + "]\n"
	padded := "- {apiGroups: [\"\"], resources: [pods], verbs: [list]}\n#"
	for name, test := range map[string]struct {
		text        string
		want        []rbacv1.PolicyRule
		wantProblem string
	}{
		"nothing is said":            {},
		"one rule":                   {text: `[{apiGroups: [""], resources: [pods], verbs: [list]}]`, want: listPods},
		"rules as JSON":              {text: `[{"apiGroups":[""],"resources":["pods"],"verbs":["list"]}]`, want: listPods},
		"no list":                    {text: `{apiGroups: [""]}`, wantProblem: "not a YAML list of PolicyRules"},
		"prose":                      {text: "list pods, please", wantProblem: "not a YAML list of PolicyRules"},
		"a field that rules lack":    {text: `[{resource: pods, verbs: [list]}]`, wantProblem: `unknown field "resource"`},
		"a key that stands twice":    {text: `[{verbs: [list], verbs: [get]}]`, wantProblem: "already set"},
		"an empty list":              {text: "[]", wantProblem: "names nothing"},
		"only a comment":             {text: "# later", wantProblem: "names nothing"},
		"as long as it may be":       {text: padded + strings.Repeat("x", maxRequires-len(padded)), want: listPods},
		"one byte longer":            {text: padded + strings.Repeat("x", maxRequires-len(padded)+1), wantProblem: "longer than 16384 bytes"},
		"kilobytes that are a bomb":  {text: bomb, wantProblem: "anchors and aliases"},
		"an alias without an anchor": {text: "[*a]", wantProblem: "not a YAML list of PolicyRules"},
		"a merge key":                {text: "- &a {verbs: [list]}\n- {<<: *a}", wantProblem: "anchors and aliases"},
		"lists in lists in lists":    {text: strings.Repeat("[", maxRequires), wantProblem: "not a YAML list of PolicyRules"},
		"maps in maps in maps":       {text: strings.Repeat("{a: ", maxRequires/4), wantProblem: "not a YAML list of PolicyRules"},
		"a binary that is no text":   {text: "\x00\xff", wantProblem: "not a YAML list of PolicyRules"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &workload{meta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.AnnotationRequires: test.text}}}
			got, err := w.requires()
			if (err != nil) != (test.wantProblem != "") || err != nil && !strings.Contains(err.Error(), test.wantProblem) {
				t.Fatalf("problem %v, want %q", err, test.wantProblem)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeWorkload(t *testing.T) {
	template := corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelHop: "isolate"}}, Spec: pod().Spec}
	for kind, object := range map[string]any{
		"Pod":                   pod(),
		"Job":                   &batchv1.Job{Spec: batchv1.JobSpec{Template: template}},
		"CronJob":               &batchv1.CronJob{Spec: batchv1.CronJobSpec{JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: template}}}},
		"Deployment":            &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Template: template}},
		"StatefulSet":           &appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{Template: template}},
		"DaemonSet":             &appsv1.DaemonSet{Spec: appsv1.DaemonSetSpec{Template: template}},
		"ReplicaSet":            &appsv1.ReplicaSet{Spec: appsv1.ReplicaSetSpec{Template: template}},
		"ReplicationController": &corev1.ReplicationController{Spec: corev1.ReplicationControllerSpec{Template: &template}},
		"PodTemplate":           &corev1.PodTemplate{Template: template},
	} {
		t.Run(kind, func(t *testing.T) {
			w, err := decodeWorkload(kind, encode(t, object))
			if err != nil {
				t.Fatal(err)
			}
			if name, ok := w.hop(); name != "isolate" || !ok || w.template != (kind != "Pod") || len(w.spec.Containers) != 1 {
				t.Errorf("read %+v", w)
			}
		})
	}
	t.Run("a ReplicationController without a template", func(t *testing.T) {
		w, err := decodeWorkload("ReplicationController", encode(t, &corev1.ReplicationController{}))
		if _, declared := w.hop(); err != nil || declared {
			t.Errorf("read %+v, %v", w, err)
		}
	})
	t.Run("nothing", func(t *testing.T) {
		if w, err := decodeWorkload("Pod", nil); w != nil || err != nil {
			t.Errorf("read %+v, %v", w, err)
		}
	})
	t.Run("no JSON", func(t *testing.T) {
		for _, kind := range []string{"Pod", "Job", "CronJob", "PodTemplate"} {
			if _, err := decodeWorkload(kind, []byte(`{"spec":`)); err == nil {
				t.Errorf("read a %s out of half an object", kind)
			}
		}
	})
}

func TestUnchanged(t *testing.T) {
	job := func(change func(*corev1.PodTemplateSpec)) *workload {
		j := &batchv1.Job{Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{ObjectMeta: pod().ObjectMeta, Spec: pod().Spec}}}
		change(&j.Spec.Template)
		w, err := decodeWorkload("Job", encode(t, j))
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	bare := func(change func(*corev1.Pod)) *workload {
		w, err := decodeWorkload("Pod", encode(t, pod(change)))
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	asIs := func(*corev1.Pod) {}
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		want   bool
	}{
		"nothing":                {change: asIs, want: true},
		"another label":          {change: func(p *corev1.Pod) { p.Labels["team"] = "sre" }, want: true},
		"finalizers":             {change: func(p *corev1.Pod) { p.Finalizers = []string{"batch.kubernetes.io/job-tracking"} }, want: true},
		"the node":               {change: func(p *corev1.Pod) { p.Spec.NodeName = "n1" }, want: true},
		"an annotation":          {change: func(p *corev1.Pod) { p.Annotations = map[string]string{"a": "b"} }, want: true},
		"the label":              {change: func(p *corev1.Pod) { p.Labels[v1alpha1.LabelHop] = "other" }},
		"no label":               {change: func(p *corev1.Pod) { delete(p.Labels, v1alpha1.LabelHop) }},
		"an empty label":         {change: func(p *corev1.Pod) { p.Labels[v1alpha1.LabelHop] = "" }},
		"what it requires":       {change: func(p *corev1.Pod) { p.Annotations = map[string]string{v1alpha1.AnnotationRequires: "[]"} }},
		"the account":            {change: func(p *corev1.Pod) { p.Spec.ServiceAccountName = account }},
		"an image":               {change: func(p *corev1.Pod) { p.Spec.Containers[0].Image = "evil" }},
		"an ephemeral container": {change: func(p *corev1.Pod) { p.Spec.EphemeralContainers = []corev1.EphemeralContainer{{}} }},
	} {
		t.Run("pod: "+name, func(t *testing.T) {
			if got := unchanged(bare(test.change), bare(asIs)); got != test.want {
				t.Errorf("unchanged is %t", got)
			}
		})
	}
	for name, test := range map[string]struct {
		change func(*corev1.PodTemplateSpec)
		want   bool
	}{
		"nothing":       {change: func(*corev1.PodTemplateSpec) {}, want: true},
		"another label": {change: func(p *corev1.PodTemplateSpec) { p.Labels["team"] = "sre" }},
		"an annotation": {change: func(p *corev1.PodTemplateSpec) { p.Annotations = map[string]string{"a": "b"} }},
		"the command":   {change: func(p *corev1.PodTemplateSpec) { p.Spec.Containers[0].Command = []string{"sh"} }},
	} {
		t.Run("template: "+name, func(t *testing.T) {
			if got := unchanged(job(test.change), job(func(*corev1.PodTemplateSpec) {})); got != test.want {
				t.Errorf("unchanged is %t", got)
			}
		})
	}
	if unchanged(bare(asIs), nil) {
		t.Error("what replaces nothing is unchanged")
	}
}

func TestKinds(t *testing.T) {
	const jobController, cronJobController = "system:serviceaccount:kube-system:job-controller", "system:serviceaccount:kube-system:cronjob-controller"
	owned := func(kind string) *metav1.OwnerReference { return &metav1.OwnerReference{Kind: kind} }
	kinds := func(k ...v1alpha1.WorkloadKind) []v1alpha1.WorkloadKind { return k }
	for name, test := range map[string]struct {
		user, kind string
		owner      *metav1.OwnerReference
		operation  admissionv1.Operation
		want       []v1alpha1.WorkloadKind
		wantExempt bool
	}{
		"a pod of somebody":                        {user: "alice", kind: "Pod", want: kinds("Pod")},
		"a pod of somebody that claims a Job":      {user: "alice", kind: "Pod", owner: owned("Job"), want: kinds("Pod")},
		"a Job of somebody that claims a CronJob":  {user: "alice", kind: "Job", owner: owned("CronJob"), want: kinds("Job")},
		"a pod of a Job":                           {user: jobController, kind: "Pod", owner: owned("Job"), want: kinds("Job", "CronJob"), wantExempt: true},
		"a pod of a Job, one account for all":      {user: "system:kube-controller-manager", kind: "Pod", owner: owned("Job"), want: kinds("Job", "CronJob"), wantExempt: true},
		"a Job of a CronJob":                       {user: cronJobController, kind: "Job", owner: owned("CronJob"), want: kinds("CronJob"), wantExempt: true},
		"a pod of a ReplicaSet":                    {user: "system:serviceaccount:kube-system:replicaset-controller", kind: "Pod", owner: owned("ReplicaSet"), wantExempt: true},
		"a pod without an owner, by a controller":  {user: jobController, kind: "Pod", want: kinds("Pod")},
		"an update by a controller":                {user: jobController, kind: "Pod", owner: owned("Job"), operation: admissionv1.Update, want: kinds("Pod")},
		"an account of that name elsewhere":        {user: "system:serviceaccount:agents:job-controller", kind: "Pod", owner: owned("Job"), want: kinds("Pod")},
		"another account of the control plane":     {user: "system:serviceaccount:kube-system:default", kind: "Pod", owner: owned("Job"), want: kinds("Pod")},
		"a controller of somebody else's Job kind": {user: "system:serviceaccount:batch:scheduler", kind: "Pod", owner: owned("Job"), want: kinds("Pod")},
	} {
		t.Run(name, func(t *testing.T) {
			w := &workload{kind: test.kind, template: test.kind != "Pod", owner: test.owner}
			req := request(t, test.user, test.kind, pod(), nil)
			if test.operation != "" {
				req.Operation = test.operation
			}
			if got := w.fromController(req); got != test.wantExempt {
				t.Errorf("exempt from use: %t", got)
			}
			if diff := cmp.Diff(test.want, w.kinds(req)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestContainerImagesAreOfAllSorts(t *testing.T) {
	always := corev1.ContainerRestartPolicyAlways
	spec := corev1.PodSpec{
		InitContainers:      []corev1.Container{{Image: "setup"}, {Image: "sidecar", RestartPolicy: &always}},
		Containers:          []corev1.Container{{Image: "main"}},
		EphemeralContainers: []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon{Image: "debug"}}},
	}
	if diff := cmp.Diff([]string{"setup", "sidecar", "main", "debug"}, containerImages(&spec)); diff != "" {
		t.Error(diff)
	}
}
