//go:build unix

// Package install shows on a node that Wayleave is installed, upgraded, rolled back and removed with Helm, and that a path is played
// on what was installed.
package install

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

const (
	root = "../.."
	// ns is where the path, its hop and its Jobs live, and on is where the hop may list pods.
	ns, on = "incident-response", "payments"
	// author starts paths in ns, and may list the pods in on.
	author = "alice@example.com"
	agent  = "registry.example.com/agent:1.0"
)

// values are what a team gives to the chart once.
const values = `
hopNamespaces: [incident-response]
ceilings:
- name: look
  namespaces: [payments]
  rules: [{apiGroups: [""], resources: [pods], verbs: [list]}]
starters:
- namespace: incident-response
  subjects: [{kind: User, name: alice@example.com, apiGroup: rbac.authorization.k8s.io}]
`

// site is a cluster with a node.
type site struct {
	*testing.T
	cluster *cluster.Cluster
	admin   client.Client
	author  client.Client
	// loader is the administrator without a throttle.
	loader client.Client
	values string
	// frontCA signs the client certificate that the API server presents to the webhook.
	frontCA []byte
}

// TestHelm plays the life of an installation.
func TestHelm(t *testing.T) {
	if why := cluster.CanRunNode(); why != nil {
		t.Logf("nothing of this package runs here: %v", why)
		return
	}
	s := newSite(t)
	s.refusesWhatIsNotThere()
	s.firstPage("helm")
	s.helm("v4", "uninstall", "wayleave", "--wait", "--timeout", "4m")
	s.nothingLeft()
	for _, o := range s.ofTeam() { // the chart's values say the same
		s.must(s.admin.Delete(s.Context(), o))
	}

	for _, o := range mayList() {
		s.must(s.admin.Create(t.Context(), o))
	}
	before, itsImage := s.previous()
	began := time.Now()
	s.helm("v4", append([]string{
		"install", "wayleave", before, "--create-namespace", "--wait", "--timeout", "4m", "--values", s.values,
	}, itsImage...)...)
	t.Logf("installed after %s", time.Since(began).Round(time.Second))
	first := s.delegate("first")
	s.completes(first)
	s.served()
	s.refusesKubectl()
	s.helm("v4", "upgrade", "wayleave", root+"/charts/wayleave", "--wait", "--timeout", "4m", "--values", s.values)
	second := s.delegate("second")
	s.completes(second)
	revoked := s.delegate("revoked")
	s.revoke(revoked)
	s.underLoad("rolling the webhook", second, revoked, func() {
		s.kubectl("rollout", "restart", "-n", operator.Namespace, "deployment/wayleave-webhook")
		s.kubectl("rollout", "status", "-n", operator.Namespace, "deployment/wayleave-webhook", "--timeout=2m")
	})
	s.underLoad("killing a replica of the webhook", second, revoked, func() {
		s.kill(s.replica("webhook"))
		s.kubectl("rollout", "status", "-n", operator.Namespace, "deployment/wayleave-webhook", "--timeout=2m")
	})
	s.underLoad("draining the node", second, revoked, s.drains)
	s.losesLeader()
	s.installedOnce()
	s.helm("v4", "rollback", "wayleave", "1", "--wait", "--timeout", "4m")
	third := s.delegate("third")
	running := s.job(third, "list pods in "+on+" every 200ms for 10m")
	s.create(running)
	if err := s.author.Create(s.Context(), s.ownJob(third)); !apierrors.IsForbidden(err) {
		s.Errorf("a Job with an account of its own under a hop: %v", err)
	}
	s.eventually("the use to be live", func() error { return s.holds(true) })
	s.revoke(second)
	s.helm("v4", "upgrade", "wayleave", root+"/charts/wayleave", "--wait", "--timeout", "4m", "--values", s.values)

	s.helm("v4", "uninstall", "wayleave", "--wait", "--timeout", "4m")
	s.nothingLeft()
	s.frontSecret()
	ca := s.givenSecret()
	s.helm("v3", "install", "wayleave", root+"/charts/wayleave", "--wait", "--timeout", "4m", "--values", s.values,
		"--set", "enforce=warn,webhook.clientCA.secretName=front,certificate.from=secret,certificate.secretName=given",
		"--set-file", "certificate.caBundle="+ca)
	s.hasNoCerts()
	s.answersTheAPIServerAlone()
	s.reads(third, v1alpha1.ReasonIdle, v1alpha1.ReasonGranted) // it goes on
	s.reads(second, v1alpha1.ReasonRevoked)
	s.onlyReports(third)
	s.helm("v3", "uninstall", "wayleave", "--wait", "--timeout", "4m")
	s.nothingLeft()
}

func newSite(t *testing.T) *site {
	t.Helper()
	flag, ca := presents(t)
	c, err := cluster.Start(t.Context(), cluster.Options{Node: true, Log: t.Output(), APIServerArgs: []string{flag}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	s := &site{T: t, cluster: c, frontCA: ca, values: filepath.Join(t.TempDir(), "values.yaml")}
	if s.admin, err = client.New(c.Config(), client.Options{Scheme: operator.Scheme()}); err != nil {
		t.Fatal(err)
	}
	quiet := c.UserConfig(author)
	quiet.WarningHandler = rest.NoWarnings{}
	if s.author, err = client.New(quiet, client.Options{Scheme: operator.Scheme()}); err != nil {
		t.Fatal(err)
	}
	unthrottled := rest.CopyConfig(c.Config())
	unthrottled.QPS = -1
	if s.loader, err = client.New(unthrottled, client.Options{Scheme: operator.Scheme()}); err != nil {
		t.Fatal(err)
	}
	s.must(operator.LoadSampleImages(t.Context(), c))
	dist := t.TempDir()
	if out, err := exec.CommandContext(t.Context(), "make", "-C", root, "image", "DIST="+dist).CombinedOutput(); err != nil {
		t.Fatalf("make image: %v\n%s", err, out)
	}
	_, err = operator.ImportImage(t.Context(), c, root, filepath.Join(dist, "image"))
	s.must(err)
	s.must(os.WriteFile(s.values, []byte(values), 0o600))
	return s
}

// ofTeam are the objects of config/samples/team.yaml, but for the namespaces.
func (s *site) ofTeam() []client.Object {
	s.Helper()
	all, err := operator.Load(root + "/config/samples/team.yaml")
	s.must(err)
	var objects []client.Object
	for _, o := range all {
		if o.GetKind() != "Namespace" {
			objects = append(objects, o)
		}
	}
	return objects
}

// mayList lets the author list the pods that hops may list.
func mayList() []client.Object {
	key := metav1.ObjectMeta{Namespace: on, Name: "author"}
	return []client.Object{
		&rbacv1.Role{ObjectMeta: key, Rules: []rbacv1.PolicyRule{
			{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}},
		}},
		&rbacv1.RoleBinding{
			ObjectMeta: key, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: key.Name},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: author}},
		},
	}
}

// previous is the chart of the commit before this one, with the flags that name its own image, which is loaded into the node: a program
// works with the kinds and policies of its own release alone. Where there is no such commit it is this one.
func (s *site) previous() (chart string, flags []string) {
	s.Helper()
	archive, err := exec.CommandContext(s.Context(), "git", "-C", root, "archive", "HEAD~1").Output()
	if err != nil {
		s.Logf("there is no release to upgrade from: %v", err)
		return root + "/charts/wayleave", nil
	}
	source := s.TempDir()
	s.unpack(archive, source)
	program := filepath.Join(s.TempDir(), "wayleave")
	build := exec.CommandContext(s.Context(), "go", "build", "-buildvcs=false", "-ldflags=-s -w", "-o", program, "./cmd/wayleave")
	build.Dir, build.Env = source, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		s.Fatalf("building the release before: %v\n%s", err, out)
	}
	const repository, tag = "registry.example.com/wayleave", "before"
	_, err = s.cluster.LoadImage(s.Context(), repository+":"+tag, program)
	s.must(err)
	return filepath.Join(source, "charts", "wayleave"), []string{"--set", "image.repository=" + repository + ",image.tag=" + tag}
}

// unpack writes the files of a tar archive into a folder.
func (s *site) unpack(archive []byte, folder string) {
	s.Helper()
	for files := tar.NewReader(bytes.NewReader(archive)); ; {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		s.must(err)
		path := filepath.Join(folder, filepath.Clean("/"+header.Name))
		if header.FileInfo().IsDir() {
			s.must(os.MkdirAll(path, 0o700))
		} else if header.Typeflag == tar.TypeReg {
			content, err := io.ReadAll(files)
			s.must(err)
			s.must(os.WriteFile(path, content, 0o600))
		}
	}
}

func (s *site) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// helm runs a version of Helm as administrator.
func (s *site) helm(version string, args ...string) {
	s.Helper()
	began := time.Now()
	out, err := s.tryHelm(version, args...)
	if err != nil {
		s.Fatalf("helm %s: %v\n%s\n%s", strings.Join(args, " "), err, out, s.pods())
	}
	s.Logf("helm %s %s took %s", version, args[0], time.Since(began).Round(100*time.Millisecond))
}

func (s *site) tryHelm(version string, args ...string) (string, error) {
	s.Helper()
	args = append(args, "--namespace", operator.Namespace)
	cmd, err := operator.Helm(s.Context(), root, version, s.TempDir(), s.cluster.Kubeconfig(), args...)
	s.must(err)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// refusesWhatIsNotThere: a value that names what the cluster does not have is refused before anything is installed.
func (s *site) refusesWhatIsNotThere() {
	s.Helper()
	for set, says := range map[string]string{
		"hopNamespaces={nosuch}": "hopNamespaces: there is no namespace nosuch: create it first",
		"starters[0].namespace=nosuch,starters[0].subjects[0].kind=User,starters[0].subjects[0].name=eve": "starters: there is no namespace",
		"certificate.from=secret,certificate.secretName=mine,certificate.caBundle=BEGIN CERTIFICATE":      "there is no Secret mine",
		"certificate.from=certManager": "certificate.from: the cluster has no cert-manager",
		"policies.install=false":       "policies.require: the policies are not installed",
	} {
		out, err := s.tryHelm("v4", "install", "wayleave", root+"/charts/wayleave", "--create-namespace", "--set", set)
		if err == nil || !strings.Contains(out, says) {
			s.Errorf("helm install --set %s: %v\n%s", set, err, out)
		}
	}
	err := s.admin.Get(s.Context(), client.ObjectKey{Name: operator.Namespace}, &corev1.Namespace{})
	if !apierrors.IsNotFound(err) {
		s.Errorf("something was installed: the namespace: %v", err)
	}
}

// installedOnce: a second release is refused before anything of it is there.
func (s *site) installedOnce() {
	s.Helper()
	out, err := s.tryHelm("v4", "install", "second", root+"/charts/wayleave", "--values", s.values)
	if err == nil || !strings.Contains(out, "Wayleave is installed in this cluster already, as release wayleave: upgrade that one") {
		s.Errorf("a second installation: %v\n%s", err, out)
	}
	if out, err := s.tryHelm("v4", "status", "second"); err == nil {
		s.Errorf("there is a second release:\n%s", out)
	}
}

// refusesKubectl: what Helm has installed is not half taken over by kubectl apply; each object that it would change is refused.
func (s *site) refusesKubectl() {
	s.Helper()
	kubectl := s.cluster.Kubectl() + " --kubeconfig " + s.cluster.Kubeconfig()
	out, err := exec.CommandContext(s.Context(), "bash", "-o", "pipefail", "-c",
		kubectl+" kustomize "+root+"/config/default | "+kubectl+" apply --server-side --field-manager=taken -f -").CombinedOutput()
	if err == nil || !strings.Contains(string(out), `conflict with "helm": .metadata.labels.app.kubernetes.io/managed-by`) {
		s.Errorf("kubectl apply over Helm: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "serverside-applied") && !strings.HasPrefix(line, "namespace/") { // Helm makes the namespace bare
			s.Errorf("kubectl apply over Helm: %s", line)
		}
	}
}

// pods is what a person would look at first.
func (s *site) pods() string {
	out, _ := exec.CommandContext(context.Background(), s.cluster.Kubectl(),
		"--kubeconfig", s.cluster.Kubeconfig(), "get", "pods,events", "-n", operator.Namespace).CombinedOutput()
	return string(out)
}

// patience is for what the cluster does.
const patience = 90 * time.Second

func (s *site) eventually(what string, check func() error) {
	s.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.Fatalf("waited %s for %s: %v", patience, what, err)
		}
	}
}

// create creates an object as the author, once admission lets them: a webhook may not know yet what was applied a moment ago.
func (s *site) create(o client.Object) {
	s.Helper()
	s.eventually("the author to create "+o.GetName(), func() error { return s.author.Create(s.Context(), o) })
}

// delegate applies the smallest path.
func (s *site) delegate(name string) *v1alpha1.DelegationHop {
	s.Helper()
	path := &v1alpha1.DelegationPath{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: v1alpha1.DelegationPathSpec{
			Reason: "See what runs in payments", Lifetime: v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: time.Hour}},
			Hops: &v1alpha1.HopBounds{MaxDepth: 2},
			Scope: v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{
				Namespaces: []string{on},
				Rules:      []v1alpha1.ResourceRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: []string{"list"}}},
			}}},
		},
	}
	hop := &v1alpha1.DelegationHop{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name},
		Spec: v1alpha1.DelegationHopSpec{
			PathRef: v1alpha1.ObjectRef{Name: name}, InheritScope: new(true),
			Workload: &v1alpha1.Workload{Kinds: []v1alpha1.WorkloadKind{v1alpha1.WorkloadJob, v1alpha1.WorkloadPod}, Images: []string{agent}},
		},
	}
	s.create(path)
	s.create(hop)
	s.reads(hop, v1alpha1.ReasonIdle)
	return hop
}

func (s *site) job(hop *v1alpha1.DelegationHop, order string) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: hop.Name},
		Spec: batchv1.JobSpec{BackoffLimit: new(int32(0)), Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{v1alpha1.LabelHop: hop.Name}},
			Spec: corev1.PodSpec{
				RestartPolicy: corev1.RestartPolicyNever,
				Containers:    []corev1.Container{{Name: "agent", Image: agent, Args: []string{order}}},
			},
		}},
	}
}

// completes runs a Job under a hop to its end.
func (s *site) completes(hop *v1alpha1.DelegationHop) {
	s.Helper()
	job := s.job(hop, "list pods in "+on)
	s.create(job)
	s.complete(job)
}

// complete waits until a Job has succeeded.
func (s *site) complete(job *batchv1.Job) {
	s.Helper()
	s.eventually("Job "+job.Name+" to be complete", func() error {
		if err := s.admin.Get(s.Context(), client.ObjectKeyFromObject(job), job); err != nil {
			return err
		}
		if job.Status.Succeeded != 1 {
			return fmt.Errorf("it is %+v", job.Status)
		}
		return nil
	})
}

func (s *site) revoke(hop *v1alpha1.DelegationHop) {
	s.Helper()
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"revoked":{"reason":"false alarm"}}}`))
	s.must(s.author.Patch(s.Context(), hop, patch))
	s.reads(hop, v1alpha1.ReasonRevoked)
}

// reads waits until the Ready condition of a hop has one of some reasons.
func (s *site) reads(hop *v1alpha1.DelegationHop, want ...v1alpha1.Reason) {
	s.Helper()
	s.eventually(fmt.Sprintf("hop %s to be one of %v", hop.Name, want), func() error {
		if err := s.admin.Get(s.Context(), client.ObjectKeyFromObject(hop), hop); err != nil {
			return err
		}
		ready := meta.FindStatusCondition(hop.Status.Conditions, v1alpha1.ConditionReady)
		for _, reason := range want {
			if ready != nil && ready.Reason == string(reason) {
				return nil
			}
		}
		return fmt.Errorf("it is %+v", ready)
	})
}

// holds fails unless there are bindings of hops, or none, as wanted.
func (s *site) holds(want bool) error {
	var bindings rbacv1.RoleBindingList
	if err := s.admin.List(s.Context(), &bindings, client.HasLabels{v1alpha1.LabelHopUID}); err != nil {
		return err
	}
	if n := len(bindings.Items); (n > 0) != want {
		return fmt.Errorf("there are %d bindings of hops", n)
	}
	return nil
}

// nothingLeft demands that a removal has left the kinds with what is of them, and nothing that acts, authenticates or refuses.
func (s *site) nothingLeft() {
	s.Helper()
	if err := s.holds(false); err != nil {
		s.Error(err)
	}
	var accounts corev1.ServiceAccountList
	s.must(s.admin.List(s.Context(), &accounts, client.HasLabels{v1alpha1.LabelHopUID}))
	var policies admissionregistrationv1.ValidatingAdmissionPolicyList
	s.must(s.admin.List(s.Context(), &policies))
	var validating admissionregistrationv1.ValidatingWebhookConfigurationList
	s.must(s.admin.List(s.Context(), &validating))
	var mutating admissionregistrationv1.MutatingWebhookConfigurationList
	s.must(s.admin.List(s.Context(), &mutating))
	if a, p, w := len(accounts.Items), len(policies.Items), len(validating.Items)+len(mutating.Items); a+p+w > 0 {
		s.Errorf("there are %d accounts, %d policies, %d webhook configurations left", a, p, w)
	}
	s.eventually("the freeze to be gone with its owner", func() error {
		freeze := &corev1.ConfigMap{}
		err := s.admin.Get(s.Context(), client.ObjectKey{Namespace: operator.Namespace, Name: "wayleave-freeze"}, freeze)
		if client.IgnoreNotFound(err) != nil || err == nil {
			return fmt.Errorf("it is there: %w", err)
		}
		return nil
	})
}
