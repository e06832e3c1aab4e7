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
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
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

	expectUsable(g, c.Kubeconfig())

	g.Expect(c.Stop()).To(Succeed())
	g.Expect(c.Stop()).To(Succeed(), "a second time")
	expectNothingLeft(g, c.record)
}

// expectUsable uses the kubeconfig of a running cluster.
func expectUsable(g Gomega, kubeconfig string) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	g.Expect(err).NotTo(HaveOccurred())
	_, err = kubernetes.NewForConfigOrDie(config).Discovery().ServerVersion()
	g.Expect(err).NotTo(HaveOccurred())
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
	o.Log = os.Stderr // not t.Output, which shows only at the end that a node waits for another
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
