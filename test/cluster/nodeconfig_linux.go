package cluster

import (
	"bytes"
	"errors"
	"fmt"
	"syscall"
	"text/template"
)

// pauseImage holds a pod's namespaces. It is built here and is in no registry.
const pauseImage = "wayleave.dev/pause:local"

// nodeSettings are the values for the node's configuration files.
type nodeSettings struct {
	Dir, Logs, Host, Node, Pods      string
	Bridge, Network, Cgroup, Plugins string
	Socket, Pause, Snapshotter       string
	Ports                            []string
}

func (c *Cluster) writeNodeFiles() error {
	ports, err := freePorts(c.network.host, 3)
	if err != nil {
		return err
	}
	settings := nodeSettings{
		Dir: c.record.Dir, Logs: c.record.logs(), Host: c.network.host, Node: nodeName, Pods: c.network.pods,
		Bridge: c.record.Node.Bridge, Network: c.record.Node.Network, Cgroup: c.record.Node.Cgroup,
		Plugins: c.node.plugins, Socket: c.socket(), Pause: pauseImage, Snapshotter: snapshotter(c.record.Dir),
		Ports: ports,
	}
	serving := c.pki.clients.issue(certificate{name: nodeName, hosts: []string{nodeName, c.network.host}})
	files := map[string][]byte{"pki/kubelet.crt": serving.cert, "pki/kubelet.key": serving.key}
	for name, text := range map[string]string{
		"config/containerd.toml":    containerdConfig,
		"config/kubelet.yaml":       kubeletConfig,
		"config/kube-proxy.yaml":    proxyConfig,
		"cni/conf/10-pods.conflist": podNetwork,
	} {
		var out bytes.Buffer
		if err := template.Must(template.New(name).Parse(text)).Execute(&out, settings); err != nil {
			return fmt.Errorf("writing %s: %w", name, err)
		}
		files[name] = out.Bytes()
	}
	return errors.Join(
		c.record.writeFiles(files),
		c.writeKubeconfig(c.record.path("config", "scheduler.kubeconfig"), certificate{name: "system:kube-scheduler"}),
		c.writeKubeconfig(c.record.path("config", "kube-proxy.kubeconfig"), certificate{name: "system:kube-proxy"}),
		c.writeKubeconfig(c.record.path("config", "kubelet.kubeconfig"),
			certificate{name: "system:node:" + nodeName, groups: []string{"system:nodes"}}))
}

// snapshotter is overlayfs, which does not work on top of overlayfs, as in a
// container.
func snapshotter(dir string) string {
	const overlay = 0x794c7630
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err == nil && int64(fs.Type) == overlay { //nolint:unconvert // the type depends on the architecture
		return "native"
	}
	return "overlayfs"
}

// containerd uses only the cluster's folder, so that it can run beside the
// system's. restrict_oom_score_adj lets it run where root may not lower a
// process's score, as in many containers.
const containerdConfig = `version = 2
root = "{{.Dir}}/containerd/root"
state = "{{.Dir}}/containerd/state"
disabled_plugins = [
  "io.containerd.internal.v1.tracing",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{{.Socket}}"

[ttrpc]
  address = "{{.Socket}}.ttrpc"

[plugins."io.containerd.internal.v1.opt"]
  path = "{{.Dir}}/containerd/opt"

[plugins."io.containerd.nri.v1.nri"]
  disable = true

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{{.Pause}}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "{{.Plugins}}"
  conf_dir = "{{.Dir}}/cni/conf"

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "{{.Snapshotter}}"
  default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
  Root = "{{.Dir}}/containerd/runc"
`

// The kubelet must accept any machine: with cgroup v1, swap, a full disk.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: {{.Host}}
port: {{index .Ports 0}}
readOnlyPort: 0
healthzPort: 0
tlsCertFile: {{.Dir}}/pki/kubelet.crt
tlsPrivateKeyFile: {{.Dir}}/pki/kubelet.key
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: {{.Dir}}/pki/ca.crt}
authorization: {mode: Webhook}
containerRuntimeEndpoint: unix://{{.Socket}}
cgroupDriver: cgroupfs
cgroupRoot: /{{.Cgroup}}
enforceNodeAllocatable: []
failCgroupV1: false
failSwapOn: false
makeIPTablesUtilChains: false
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
evictionHard:
  memory.available: "0%"
  nodefs.available: "0%"
  nodefs.inodesFree: "0%"
  imagefs.available: "0%"
  imagefs.inodesFree: "0%"
  pid.available: "0%"
podLogsDir: {{.Logs}}/pods
volumePluginDir: {{.Dir}}/kubelet/volume-plugins
`

const proxyConfig = `apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: {{.Dir}}/config/kube-proxy.kubeconfig}
bindAddress: {{.Host}}
healthzBindAddress: {{.Host}}:{{index .Ports 1}}
metricsBindAddress: {{.Host}}:{{index .Ports 2}}
hostnameOverride: {{.Node}}
clusterCIDR: {{.Pods}}
mode: nftables
nftables: {minSyncPeriod: 100ms}
conntrack: {maxPerCore: 0, min: 0}
`

const podNetwork = `{
  "cniVersion": "0.4.0",
  "name": "{{.Network}}",
  "plugins": [{
    "type": "bridge",
    "bridge": "{{.Bridge}}",
    "isGateway": true,
    "hairpinMode": true,
    "ipam": {
      "type": "host-local",
      "dataDir": "{{.Dir}}/cni/addresses",
      "ranges": [[{"subnet": "{{.Pods}}", "gateway": "{{.Host}}"}]],
      "routes": [{"dst": "0.0.0.0/0"}]
    }
  }]
}
`
