//go:build unix

package install

import (
	"fmt"
	"os/exec"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

// ownJob is a Job that declares a hop and keeps an account of its own, as it may have had for years.
func (s *site) ownJob(hop *v1alpha1.DelegationHop) *batchv1.Job {
	job := s.job(hop, "list pods in "+on+" every 200ms for 10m")
	job.Name, job.Spec.Template.Spec.ServiceAccountName = "own", "own"
	return job
}

// onlyReports: where Wayleave only reports, a Job that would be denied runs as itself, and goes on when the hop is withdrawn that it
// declares; one that is admitted runs under its hop, and ends with it.
func (s *site) onlyReports(hop *v1alpha1.DelegationHop) {
	s.Helper()
	s.must(s.admin.Create(s.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "own"}}))
	s.must(s.admin.Create(s.Context(), &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: on, Name: "own"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "author"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: ns, Name: "own"}},
	}))
	own := s.ownJob(hop)
	s.create(own)
	s.running(own, "own")
	s.running(&batchv1.Job{ObjectMeta: hop.ObjectMeta}, "dhop-"+hop.Name+".")
	s.completes(s.delegate("fourth"))
	s.revoke(hop)
	s.eventually("the Job that runs under the hop to be suspended", func() error {
		job := &batchv1.Job{}
		if err := s.admin.Get(s.Context(), client.ObjectKeyFromObject(hop), job); err != nil {
			return err
		}
		if job.Spec.Suspend == nil || !*job.Spec.Suspend {
			return fmt.Errorf("it is %+v", job.Status)
		}
		return nil
	})
	s.running(own, "own")
	if got := s.logs("webhook"); !strings.Contains(got, `"decision":"Warn","reason":"WrongServiceAccount"`) {
		s.Errorf("the audit lines of the webhook do not report the Job:\n%s", got)
	}
}

// logs are what all replicas of a process have printed.
func (s *site) logs(process string) string {
	s.Helper()
	out, err := exec.CommandContext(s.Context(), s.cluster.Kubectl(), "--kubeconfig", s.cluster.Kubeconfig(), "logs", "--tail=-1",
		"-n", operator.Namespace, "-l", "app.kubernetes.io/component="+process).CombinedOutput()
	s.must(err)
	return string(out)
}

// running waits until a pod of a Job runs under an account whose name begins so.
func (s *site) running(job *batchv1.Job, account string) {
	s.Helper()
	s.eventually("Job "+job.Name+" to run as "+account, func() error {
		var pods corev1.PodList
		if err := s.admin.List(s.Context(), &pods, client.InNamespace(ns), client.MatchingLabels{batchv1.JobNameLabel: job.Name}); err != nil {
			return err
		}
		for i := range pods.Items {
			pod := &pods.Items[i]
			if pod.Status.Phase == corev1.PodRunning && strings.HasPrefix(pod.Spec.ServiceAccountName, account) && pod.DeletionTimestamp.IsZero() {
				return nil
			}
		}
		return fmt.Errorf("there are %d pods, of which none does", len(pods.Items))
	})
}
