package workload

import (
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func TestKinds(t *testing.T) {
	const (
		system            = "system:serviceaccount:kube-system:"
		jobController     = system + "job-controller"
		cronJobController = system + "cronjob-controller"
	)
	ofJob, ofCronJob := &metav1.OwnerReference{Kind: "Job"}, &metav1.OwnerReference{Kind: "CronJob"}
	kinds := func(k ...v1alpha1.WorkloadKind) []v1alpha1.WorkloadKind { return k }
	for name, test := range map[string]struct {
		user, kind string
		owner      *metav1.OwnerReference
		update     bool
		want       []v1alpha1.WorkloadKind
		wantExempt bool
	}{
		"a user's pod":                       {user: "alice", kind: "Pod", want: kinds("Pod")},
		"a user's pod that claims a Job":     {user: "alice", kind: "Pod", owner: ofJob, want: kinds("Pod")},
		"a user's Job that claims a CronJob": {user: "alice", kind: "Job", owner: ofCronJob, want: kinds("Job")},
		"a pod of a Job": {
			user: jobController, kind: "Pod", owner: ofJob,
			want: kinds("Job", "CronJob"), wantExempt: true,
		},
		"a pod of a Job, one account for all": {
			user: "system:kube-controller-manager", kind: "Pod", owner: ofJob,
			want: kinds("Job", "CronJob"), wantExempt: true,
		},
		"a Job of a CronJob": {
			user: cronJobController, kind: "Job", owner: ofCronJob,
			want: kinds("CronJob"), wantExempt: true,
		},
		"a pod of a ReplicaSet": {
			user: system + "replicaset-controller", kind: "Pod", owner: &metav1.OwnerReference{Kind: "ReplicaSet"},
			wantExempt: true,
		},
		"a pod without an owner, by a controller": {user: jobController, kind: "Pod", want: kinds("Pod")},
		"an update by a controller":               {user: jobController, kind: "Pod", owner: ofJob, update: true, want: kinds("Pod")},
		"an account of that name elsewhere": {
			user: "system:serviceaccount:agents:job-controller", kind: "Pod", owner: ofJob,
			want: kinds("Pod"),
		},
		"another account of the control plane": {user: system + "default", kind: "Pod", owner: ofJob, want: kinds("Pod")},
		"a controller of another kind of Job": {
			user: "system:serviceaccount:batch:scheduler", kind: "Pod", owner: ofJob,
			want: kinds("Pod"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := &Workload{Kind: test.kind, Template: test.kind != "Pod", Owner: test.owner}
			exempt := w.FromTemplate(test.user, !test.update)
			if exempt != test.wantExempt {
				t.Errorf("exempt from use: %t", exempt)
			}
			if diff := cmp.Diff(test.want, w.Kinds(exempt)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestPolicyAsksTheSame: the policy that asks for use when no webhook answers exempts the same users, and takes the same fields for where
// a pod runs.
func TestPolicyAsksTheSame(t *testing.T) {
	policies := map[string]string{}
	for _, name := range []string{"use-by-pods", "use-by-jobs", "use-by-cronjobs"} {
		raw, err := os.ReadFile("../../config/policy/" + name + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		policies[name] = string(raw)
		named := map[string]bool{}
		for _, match := range regexp.MustCompile(`'(system:[^']+)'`).FindAllStringSubmatch(policies[name], -1) {
			if match[1] != "system:serviceaccount:" {
				named[match[1]] = true
			}
		}
		if diff := cmp.Diff(builtIn, named); diff != "" {
			t.Errorf("who is exempt from %s (-code +policy):\n%s", name, diff)
		}
	}
	whole := corev1.PodSpec{
		NodeSelector: map[string]string{"a": "b"}, Affinity: &corev1.Affinity{}, Tolerations: []corev1.Toleration{{}},
		SchedulingGates: []corev1.PodSchedulingGate{{Name: "a"}}, PriorityClassName: "a", Priority: new(int32(1)),
		TopologySpreadConstraints: []corev1.TopologySpreadConstraint{{}},
	}
	if diff := cmp.Diff(corev1.PodSpec{}, whatRuns(whole)); diff != "" {
		t.Fatalf("the fields of this test are not those of where a pod runs: %s", diff)
	}
	fields := reflect.ValueOf(whole)
	for i := range fields.NumField() {
		name, _, _ := strings.Cut(fields.Type().Field(i).Tag.Get("json"), ",")
		for _, policy := range []string{"use-by-jobs", "use-by-cronjobs"} {
			if !fields.Field(i).IsZero() != strings.Contains(policies[policy], "'"+name+"'") {
				t.Errorf("%s: the policy %s does not take it for what whatRuns does", name, policy)
			}
		}
	}
}
