package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const nodeName = "node-1"

// node is the state of a running node.
type node struct {
	lock    net.Listener
	plugins string // the folder of CNI plugins
}

// release lets another cluster start a node.
func (n *node) release() {
	if n != nil {
		_ = n.lock.Close()
	}
}

// tools are the programs that a node needs, with their Debian packages.
var tools = []struct{ program, pkg string }{
	{"containerd", "containerd"},
	{"ctr", "containerd"},
	{"runc", "runc"},
	{"nft", "nftables"},
	{"ip", "iproute2"},
	{"mount", "mount"},
}

// missingPackages returns the Debian packages that a node needs and that are not
// installed.
func missingPackages() []string {
	var missing []string
	for _, tool := range tools {
		if lookPath(tool.program) == "" && !slices.Contains(missing, tool.pkg) {
			missing = append(missing, tool.pkg)
		}
	}
	if pluginFolder() == "" {
		missing = append(missing, "containernetworking-plugins")
	}
	return missing
}

// CanRunNode returns nil, or the reason why pods cannot run on this machine.
func CanRunNode() error {
	if os.Geteuid() != 0 {
		return errors.New("a cluster with a node needs root")
	}
	if missing := missingPackages(); len(missing) > 0 {
		return fmt.Errorf("a cluster with a node needs the packages %s, which `make cluster-packages` installs",
			strings.Join(missing, ", "))
	}
	return nil
}

// lookPath also searches the sbin folders, which are not in every PATH.
func lookPath(program string) string {
	for _, dir := range append(filepath.SplitList(os.Getenv("PATH")), "/usr/local/sbin", "/usr/sbin", "/sbin") {
		if path, err := exec.LookPath(filepath.Join(dir, program)); err == nil {
			return path
		}
	}
	return ""
}

func pluginFolder() string {
	for _, dir := range []string{"/usr/lib/cni", "/opt/cni/bin"} {
		if exists(filepath.Join(dir, "bridge")) && exists(filepath.Join(dir, "host-local")) {
			return dir
		}
	}
	return ""
}

// tool runs a program of the distribution.
func tool(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, lookPath(name), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}

// prepareNode creates what the API server needs, which listens on the node's
// address.
func (c *Cluster) prepareNode(ctx context.Context) error {
	lock, err := lockNode(ctx, c.options.Log)
	if err != nil {
		return err
	}
	c.node = &node{lock: lock, plugins: pluginFolder()}
	if err := noOtherNode(); err != nil {
		return err
	}
	if c.network, err = chooseNetwork(); err != nil {
		return err
	}
	c.binaries["containerd"] = lookPath("containerd")
	// Recorded before anything is created, so that all of it can be removed.
	c.record.Node = &traces{
		Bridge:  "wl" + c.record.ID,
		Network: "wayleave-" + c.record.ID,
		Cgroup:  "wayleave-" + c.record.ID,
		Sysctls: readSysctls(),
		Folders: missingFolders(),
	}
	if err := c.record.save(); err != nil {
		return err
	}
	if err := makeCgroups(c.record.Node.Cgroup); err != nil {
		return fmt.Errorf("creating the cgroup of the pods: %w", err)
	}
	return c.makeBridge(ctx)
}

// noOtherNode returns an error if this machine is a node of a real cluster, which
// would lose its tables and its socket.
func noOtherNode() error {
	if tableExists("ip") || tableExists("ip6") {
		return errors.New("this machine has the nftables of another cluster's kube-proxy")
	}
	if conn, err := net.Dial("unix", filepath.Join(devicePlugins, "kubelet.sock")); err == nil {
		_ = conn.Close()
		return errors.New("another cluster's kubelet runs on this machine")
	}
	return nil
}

// nodeWait is how long a node waits for one that is not kept to end.
const nodeWait = 5 * time.Minute

// lockNode makes sure that one cluster with a node runs at a time: kube-proxy's
// tables have fixed names. The lock is an abstract socket, which the kernel frees;
// like the tables, it belongs to a network namespace. A kept cluster does not end by
// itself: that is an error at once.
func lockNode(ctx context.Context, log io.Writer) (net.Listener, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, nodeWait, fmt.Errorf("gave up after %s", nodeWait))
	defer cancel()
	for first := true; ; first = false {
		other, err := otherNode()
		if err != nil {
			return nil, err
		}
		lock, err := net.Listen("unix", "@wayleave/test/cluster/node")
		if err == nil && other == "" {
			return lock, nil
		}
		if err == nil {
			_ = lock.Close() // its owner has ended, but the watchdog is still removing the cluster
		}
		if first {
			fmt.Fprintf(log, "waiting up to %s for another cluster with a node to end%s\n", nodeWait, other)
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("only one cluster with a node can run at a time, and another is running%s: %w", other, context.Cause(ctx))
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// otherNode describes the cluster that has a node, or is empty if none is known.
func otherNode() (string, error) {
	if err := errors.Join(Sweep(), NodeTaken()); err != nil {
		return "", err
	}
	infos, err := Running()
	for _, info := range infos {
		if info.Node {
			return fmt.Sprintf(" (%s)", info), err
		}
	}
	return "", err
}

// startNode starts the programs of a node, and the scheduler, which has no work
// without a node.
func (c *Cluster) startNode(ctx context.Context) error {
	if err := c.writeNodeFiles(); err != nil {
		return err
	}
	if err := c.run("kube-scheduler", "--kubeconfig="+c.record.path("config", "scheduler.kubeconfig"),
		"--leader-elect=false", "--secure-port=0"); err != nil {
		return err
	}
	if err := c.startContainerd(ctx); err != nil {
		return err
	}
	if err := c.run("kubelet", "--config="+c.record.path("config", "kubelet.yaml"),
		"--kubeconfig="+c.record.path("config", "kubelet.kubeconfig"),
		"--root-dir="+c.record.path("kubelet"),
		"--hostname-override="+nodeName, "--node-ip="+c.network.host); err != nil {
		return err
	}
	if err := c.run("kube-proxy", "--config="+c.record.path("config", "kube-proxy.yaml")); err != nil {
		return err
	}
	return c.waitNode(ctx)
}

func (c *Cluster) startContainerd(ctx context.Context) error {
	if err := c.run("containerd", "--config="+c.record.path("config", "containerd.toml")); err != nil {
		return err
	}
	err := c.until(ctx, "containerd", func(ctx context.Context) error {
		return c.ctr(ctx, "version")
	})
	if err != nil {
		return err
	}
	pause := c.record.path("images", "pause")
	if err := BuildProgram(ctx, "github.com/wayleave/wayleave/hack/images/pause", pause); err != nil {
		return err
	}
	_, err = c.LoadImage(ctx, pauseImage, pause)
	return err
}

func (c *Cluster) ctr(ctx context.Context, args ...string) error {
	return tool(ctx, "ctr", append([]string{"--address", c.socket(), "--namespace", "k8s.io"}, args...)...)
}

func (c *Cluster) socket() string { return c.record.path("containerd", "sock") }

// waitNode waits until pods can be scheduled, and Services reached.
func (c *Cluster) waitNode(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.admin)
	if err != nil {
		return err
	}
	err = c.until(ctx, "the node to be Ready", func(ctx context.Context) error {
		n, err := client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		return schedulable(n)
	})
	if err != nil {
		return err
	}
	return c.until(ctx, "kube-proxy", func(ctx context.Context) error {
		conn, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", c.network.apiService+":443")
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

func schedulable(n *corev1.Node) error {
	if len(n.Spec.Taints) > 0 {
		return fmt.Errorf("the node has the taint %s", n.Spec.Taints[0].Key)
	}
	for _, condition := range n.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
			return nil
		}
	}
	return errors.New("the node is not Ready")
}
