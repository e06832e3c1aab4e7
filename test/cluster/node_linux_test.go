package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

func TestNode(t *testing.T) {
	g := NewWithT(t)
	if why := CanRunNode(); why != nil {
		_, err := Start(t.Context(), Options{Node: true})
		g.Expect(err).To(MatchError(why))
		return
	}
	before := machine(t)
	c := startForTest(t, Options{Node: true})

	probe := filepath.Join(t.TempDir(), "probe")
	g.Expect(BuildProgram(t.Context(), "./testdata/probe", probe)).To(Succeed())
	pinned, err := c.LoadImage(t.Context(), "example.com/probe:test", probe)
	g.Expect(err).NotTo(HaveOccurred())
	runPod(t, c, "by-tag", "example.com/probe:test")
	runPod(t, c, "by-digest", pinned)
	pinned, err = c.ImportImage(t.Context(), layoutFolder(t, probe), "example.com/imported:test")
	g.Expect(err).NotTo(HaveOccurred())
	runPod(t, c, "imported-by-tag", "example.com/imported:test")
	runPod(t, c, "imported-by-digest", pinned)

	// The API server authenticates the pod's token; the request goes through kube-proxy.
	whoAmI := ContainSubstring(`"username":"system:serviceaccount:default:default"`)
	g.Eventually(func() string { return kubectl(c, "logs", "by-tag") }, 20*time.Second).Should(whoAmI)
	// A Service, from another pod and from the API server's side.
	url := "http://" + expose(t, c, "by-tag") + ":8080"
	g.Eventually(func() string { return kubectl(c, "exec", "by-digest", "--", "/probe", "get", url) }, 20*time.Second).Should(whoAmI)
	g.Expect(exec.Command(probe, "get", url).Output()).To(WithTransform(func(b []byte) string { return string(b) }, whoAmI))

	g.Expect(c.Stop()).To(Succeed())
	expectNothingLeft(g, c.record)
	// Some of it is removed a moment later: zombies, network namespaces.
	g.Eventually(func() string { return machine(t) }, 5*time.Second).Should(BeComparableTo(before))
}

func TestKilledNode(t *testing.T) {
	if CanRunNode() != nil {
		return // TestNode checks the error
	}
	g := NewWithT(t)
	before := machine(t)
	r := killOwner(g, "node")
	g.Eventually(func(g Gomega) { expectNothingLeft(g, r) }, 20*time.Second).Should(Succeed())
	g.Eventually(func() string { return machine(t) }, 5*time.Second).Should(BeComparableTo(before))
}

// layoutFolder holds an image for this machine, and for one with another processor, on which its program would not run here.
func layoutFolder(t *testing.T, program string) string {
	t.Helper()
	elsewhere := filepath.Join(t.TempDir(), filepath.Base(program))
	if err := os.WriteFile(elsewhere, []byte("for another processor"), 0o600); err != nil {
		t.Fatal(err)
	}
	var blobs []blob
	var manifests []map[string]any
	for _, image := range []struct{ architecture, program string }{{"s390x", elsewhere}, {runtime.GOARCH, program}} {
		made, err := programImage(image.program, image.architecture)
		if err != nil {
			t.Fatal(err)
		}
		blobs = append(blobs, made...)
		manifests = append(manifests, map[string]any{
			"mediaType": made[0].MediaType, "digest": made[0].Digest, "size": made[0].Size,
			"platform": map[string]string{"os": "linux", "architecture": image.architecture},
		})
	}
	index := newBlob("index.v1+json", encode(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests,
	}))
	files := layoutFiles(append(blobs, index))
	files["index.json"] = layoutIndex(index.descriptor)
	folder := t.TempDir()
	for name, content := range files {
		file := filepath.Join(folder, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

func runPod(t *testing.T, c *Cluster, name, image string) {
	t.Helper()
	client := kubernetes.NewForConfigOrDie(c.Config())
	_, err := client.CoreV1().Pods("default").Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pod": name}},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{Name: "main", Image: image, ImagePullPolicy: corev1.PullNever}},
			DNSPolicy:  corev1.DNSDefault,
		},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	NewWithT(t).Eventually(func() corev1.PodPhase {
		pod, err := client.CoreV1().Pods("default").Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return pod.Status.Phase
	}, 30*time.Second).Should(Equal(corev1.PodRunning))
}

// expose creates a Service for a pod and returns its address.
func expose(t *testing.T, c *Cluster, pod string) string {
	t.Helper()
	service, err := kubernetes.NewForConfigOrDie(c.Config()).CoreV1().Services("default").Create(t.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Name: pod},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"pod": pod}, Ports: []corev1.ServicePort{{Port: 8080}}},
	}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return service.Spec.ClusterIP
}

func kubectl(c *Cluster, args ...string) string {
	command := exec.Command(c.Kubectl(), append([]string{"--kubeconfig", c.Kubeconfig()}, args...)...)
	command.Env = append(os.Environ(), "KUBECACHEDIR="+c.record.path("kubectl"))
	out, _ := command.CombinedOutput()
	return string(out)
}

// machine describes what a node changes on a machine, while no other node runs.
func machine(t *testing.T) string {
	t.Helper()
	lock, err := lockNode(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	var state []string
	for _, command := range []string{
		"ip -o link show type bridge", "ip -o link show type veth", "ip route", "nft list tables",
		"sysctl net.ipv4.ip_forward vm.overcommit_memory kernel.panic",
		"ps -eo stat,pid,comm | grep -E ' (containerd.*|kubelet|kube-proxy|probe|pause)$' | grep -v ^Z",
		"find /sys/fs/cgroup -name 'wayleave-*'",
		"find /run/containerd /var/lib/cni /var/lib/kubelet /var/log/containers",
		"grep /wayleave /proc/mounts; grep -E 'cni|netns' /proc/mounts",
	} {
		out, _ := exec.Command("sh", "-c", "PATH=$PATH:/usr/sbin:/sbin; "+command).CombinedOutput() // may be "not found"
		state = append(state, "$ "+command+"\n"+string(out))
	}
	return strings.Join(state, "")
}

// TestLockNode: who waits for another's node says so at once, and nobody waits for a kept one.
func TestLockNode(t *testing.T) {
	g := NewWithT(t)
	t.Setenv("WAYLEAVE_CACHE", t.TempDir())
	lock, err := lockNode(t.Context(), os.Stderr)
	g.Expect(err).NotTo(HaveOccurred())
	defer lock.Close()

	r, _ := sleeper(t, false, true)
	ctx, cancel := context.WithCancelCause(t.Context())
	var said bytes.Buffer
	_, err = lockNode(ctx, writer(func(line []byte) { said.Write(line); cancel(errors.New("heard")) }))
	g.Expect(err).To(MatchError(ContainSubstring("heard")))
	g.Expect(said.String()).To(Equal(fmt.Sprintf("waiting up to 5m0s for another cluster with a node to end "+
		"(process %d, since %s, state in %s, with a node)\n", r.PID, r.Since.Local().Format(time.DateTime), r.Dir)))

	sleeper(t, true, true)
	said.Reset()
	_, err = lockNode(t.Context(), &said)
	g.Expect(err).To(MatchError(ContainSubstring("make cluster-down")))
	g.Expect(said.String()).To(BeEmpty())
}

type writer func([]byte)

func (w writer) Write(line []byte) (int, error) {
	w(line)
	return len(line), nil
}
