//go:build unix

package cluster

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func TestControlPlane(t *testing.T) {
	g := NewWithT(t)
	ctx := t.Context()
	c := startForTest(t, Options{})
	admin := kubernetes.NewForConfigOrDie(c.Config())

	_, err := admin.CoreV1().Namespaces().Create(ctx, namespace("first"), metav1.CreateOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Eventually(func() error {
		_, err := admin.CoreV1().ServiceAccounts("first").Get(ctx, "default", metav1.GetOptions{})
		return err
	}, 10*time.Second).Should(Succeed())

	alice := kubernetes.NewForConfigOrDie(c.UserConfig("alice", "sre"))
	_, err = alice.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	g.Expect(apierrors.IsForbidden(err)).To(BeTrue(), "alice has no rights: %v", err)
	audit, err := os.ReadFile(c.AuditLogPath())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(bytes.Contains(audit, []byte(`"username":"alice","groups":["sre","system:authenticated"]`))).To(BeTrue())

	g.Expect(c.RestartAPIServer(ctx)).To(Succeed())
	_, err = admin.CoreV1().Namespaces().Get(ctx, "first", metav1.GetOptions{})
	g.Expect(err).NotTo(HaveOccurred())

	expectUsable(t, c.Kubeconfig())

	g.Expect(c.Stop()).To(Succeed())
	g.Expect(c.Stop()).To(Succeed(), "a second time")
	expectNothingLeft(g, c.record)
}

// expectUsable uses a running cluster as one that was not started here.
func expectUsable(t *testing.T, kubeconfig string) {
	t.Helper()
	g := NewWithT(t)
	t.Setenv(UseKubeconfig, kubeconfig)
	c := startForTest(t, Options{})
	review, err := kubernetes.NewForConfigOrDie(c.UserConfig("bob", "ops")).AuthenticationV1().SelfSubjectReviews().
		Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(review.Status.UserInfo.Username).To(Equal("bob"))
	g.Expect(review.Status.UserInfo.Groups).To(ConsistOf("ops", "system:authenticated"))
	g.Expect(c.Stop()).To(Succeed())
	_, err = kubernetes.NewForConfigOrDie(c.Config()).Discovery().ServerVersion()
	g.Expect(err).NotTo(HaveOccurred(), "Stop must not stop it")

	_, err = Start(t.Context(), Options{Node: true})
	g.Expect(err).To(MatchError("the cluster has no node that is Ready"))
}

func TestFailedStart(t *testing.T) {
	g := NewWithT(t)
	dir := t.TempDir()
	_, err := Start(t.Context(), Options{Dir: dir, APIServerArgs: []string{"--no-such-flag"}})
	g.Expect(err).To(MatchError(And(
		ContainSubstring("kube-apiserver ended (exit status 1)"),
		ContainSubstring("unknown flag: --no-such-flag"))))
	g.Expect(os.ReadDir(dir)).To(HaveLen(1), "Stop keeps only the logs in a named folder")
}

func startForTest(t *testing.T, o Options) *Cluster {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute) // the first run builds the binaries
	defer cancel()
	o.Log = t.Output()
	c, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func namespace(name string) *corev1.Namespace {
	return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
}

func expectNothingLeft(g Gomega, r *record) {
	g.Expect(r.running()).To(BeEmpty())
	parent, err := records()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(filepath.Glob(filepath.Join(parent, r.ID+"*"))).To(BeEmpty())
}
