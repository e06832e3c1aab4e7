package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
)

// chooseNetwork chooses address ranges that this machine does not use.
func chooseNetwork() (network, error) {
	pods, err := freeRange("10.%d.0.0/24", 244, 200)
	if err != nil {
		return network{}, err
	}
	services, err := freeRange("10.%d.0.0/16", 96, 60)
	if err != nil {
		return network{}, err
	}
	return network{
		host:       pods.Addr().Next().String(),
		pods:       pods.String(),
		services:   services.String(),
		apiService: services.Addr().Next().String(),
	}, nil
}

// freeRange tries second octets in descending order.
func freeRange(format string, from, to int) (netip.Prefix, error) {
	taken, err := net.InterfaceAddrs()
	if err != nil {
		return netip.Prefix{}, err
	}
	for octet := from; octet >= to; octet-- {
		candidate := netip.MustParsePrefix(fmt.Sprintf(format, octet))
		if !overlapsAny(candidate, taken) {
			return candidate, nil
		}
	}
	return netip.Prefix{}, errors.New("no free address range for pods or Services")
}

func overlapsAny(candidate netip.Prefix, taken []net.Addr) bool {
	for _, addr := range taken {
		if p, err := netip.ParsePrefix(addr.String()); err == nil && p.Overlaps(candidate) {
			return true
		}
	}
	return false
}

// makeBridge creates the bridge of the pods. Its address is the node's, which must
// not be loopback.
func (c *Cluster) makeBridge(ctx context.Context) error {
	bridge, bits := c.record.Node.Bridge, "/24"
	for _, args := range [][]string{
		{"link", "add", bridge, "type", "bridge"},
		{"address", "add", c.network.host + bits, "dev", bridge},
		{"link", "set", bridge, "up"},
		// A machine without a default route could not reach Services.
		{"route", "add", c.network.services, "dev", bridge, "src", c.network.host},
	} {
		if err := tool(ctx, "ip", args...); err != nil {
			return fmt.Errorf("creating the bridge of the pods: %w", err)
		}
	}
	allowPodTraffic(ctx, bridge)
	return nil
}

// allowPodTraffic makes the traffic between pods pass the rules of Services, and
// bypass a firewall that forwards nothing, such as Docker's. Errors are ignored:
// the module may be part of the kernel, and many machines have no firewall.
func allowPodTraffic(ctx context.Context, bridge string) {
	if !exists("/proc/sys/net/bridge") && lookPath("modprobe") != "" {
		_ = tool(ctx, "modprobe", "br_netfilter")
	}
	_ = os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("1"), 0)
	if forwardsNothing(ctx) {
		_ = tool(ctx, "iptables", append([]string{"-I"}, forwardRule(bridge)...)...)
	}
}

func forwardsNothing(ctx context.Context) bool {
	if lookPath("iptables") == "" {
		return false
	}
	rules, err := exec.CommandContext(ctx, lookPath("iptables"), "-S", "FORWARD").Output()
	return err == nil && strings.Contains(string(rules), "-P FORWARD DROP")
}

func forwardRule(bridge string) []string {
	return []string{"FORWARD", "-i", bridge, "-o", bridge, "-j", "ACCEPT"}
}

// removeBridge removes the bridge and its ports. The kernel would remove the ports
// some time after the namespaces of the pods.
func (t *traces) removeBridge() error {
	if lookPath("iptables") != "" {
		_ = tool(context.Background(), "iptables", append([]string{"-D"}, forwardRule(t.Bridge)...)...)
	}
	ports, err := os.ReadDir("/sys/class/net/" + t.Bridge + "/brif")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	for _, port := range ports {
		_ = tool(context.Background(), "ip", "link", "delete", port.Name()) // the kernel may be removing it
	}
	return tool(context.Background(), "ip", "link", "delete", t.Bridge)
}

func tableExists(family string) bool {
	return tool(context.Background(), "nft", "list", "table", family, "kube-proxy") == nil
}

func removeTables() error {
	var errs []error
	for _, family := range []string{"ip", "ip6"} {
		if tableExists(family) {
			errs = append(errs, tool(context.Background(), "nft", "delete", "table", family, "kube-proxy"))
		}
	}
	return errors.Join(errs...)
}

// sysctls are those that kubelet and the bridge plugin change for the machine.
var sysctls = []string{
	"kernel/keys/root_maxbytes", "kernel/keys/root_maxkeys", "kernel/panic", "kernel/panic_on_oops",
	"net/bridge/bridge-nf-call-iptables", "net/ipv4/ip_forward",
	"vm/overcommit_memory", "vm/panic_on_oom",
}

func readSysctls() map[string]string {
	values := map[string]string{}
	for _, name := range sysctls {
		if value, err := os.ReadFile("/proc/sys/" + name); err == nil {
			values[name] = strings.TrimSpace(string(value))
		}
	}
	return values
}

func restoreSysctls(values map[string]string) error {
	var errs []error
	for name, old := range values {
		path := "/proc/sys/" + name
		if now, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(now)) != old {
			errs = append(errs, os.WriteFile(path, []byte(old), 0))
		}
	}
	return errors.Join(errs...)
}
