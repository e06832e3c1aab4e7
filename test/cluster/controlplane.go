//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// apiServerGrace is how long a restart waits for the API server to end. It waits
// for open watches, and there are always some.
const apiServerGrace = 2 * time.Second

// The cluster's administrators are a group that is bound to cluster-admin, as
// in kubeadm. system:masters would not do: it bypasses RBAC.
const administrators = "kubeadm:cluster-admins"

// apiServerToKubelet is the user that the API server is to a kubelet.
const apiServerToKubelet = "kube-apiserver-kubelet-client"

const defaultAuditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
`

// startControlPlane starts etcd and the API server together: the API server waits for etcd. The controller manager is
// started last. It gives up when /healthz does not answer it within ten seconds, and RBAC's default roles, which let it
// ask, can take longer than that to be written on a busy machine.
func (c *Cluster) startControlPlane(ctx context.Context) error {
	ports, err := freePorts(c.network.host, 3)
	if err != nil {
		return err
	}
	c.url = "https://" + net.JoinHostPort(c.network.host, ports[0])
	c.pki = newPKI()
	if err := c.writeControlPlaneFiles(); err != nil {
		return err
	}
	if err := c.run("etcd", c.etcdArgs(ports[1], ports[2])...); err != nil {
		return err
	}
	if err := c.run("kube-apiserver", c.apiServerArgs(ports[0], ports[1])...); err != nil {
		return err
	}
	if err := c.makeAdministrator(ctx); err != nil {
		return err
	}
	if err := c.waitAPIServer(ctx); err != nil {
		return err
	}
	if err := c.run("kube-controller-manager", c.controllerManagerArgs()...); err != nil {
		return err
	}
	return c.waitReady(ctx)
}

func (c *Cluster) writeControlPlaneFiles() error {
	apiServer := certificate{name: "kube-apiserver", hosts: []string{
		"localhost", "127.0.0.1", "::1", c.network.host, c.network.apiService,
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local",
	}}
	serviceAccounts := newKey()
	policy := c.options.AuditPolicy
	if policy == "" {
		policy = defaultAuditPolicy
	}
	files := map[string][]byte{
		"pki/sa.key":        privatePEM(serviceAccounts),
		"pki/sa.pub":        publicPEM(serviceAccounts.Public()),
		"config/audit.yaml": []byte(policy),
	}
	for name, pair := range map[string]keyPair{
		"ca":             c.pki.clients.keyPair(),
		"front-proxy-ca": c.pki.aggregation.keyPair(),
		"etcd-ca":        c.pki.storage.keyPair(),
		"front-proxy":    c.pki.aggregation.issue(certificate{name: "front-proxy-client"}),
		"etcd":           c.pki.storage.issue(certificate{name: "etcd", hosts: []string{"127.0.0.1", c.network.host}}),
		"apiserver-etcd": c.pki.storage.issue(certificate{name: "kube-apiserver"}),
		"apiserver":      c.pki.clients.issue(apiServer),
		"kubelet-client": c.pki.clients.issue(certificate{name: apiServerToKubelet}),
	} {
		files["pki/"+name+".crt"], files["pki/"+name+".key"] = pair.cert, pair.key
	}
	if err := c.record.writeFiles(files); err != nil {
		return err
	}
	c.kubeconfig = c.record.path("kubeconfig")
	admin := certificate{name: "kubernetes-admin", groups: []string{administrators}}
	c.admin = c.clientConfig(c.pki.clients.issue(admin))
	return errors.Join(
		c.writeKubeconfig(c.kubeconfig, admin),
		c.writeKubeconfig(c.record.path("config", "controller-manager.kubeconfig"),
			certificate{name: "system:kube-controller-manager"}))
}

// etcdArgs requires certificates even on this machine: write access to etcd
// bypasses every rule of the cluster, and with a node it is root.
func (c *Cluster) etcdArgs(clients, peers string) []string {
	client, peer := "https://"+net.JoinHostPort(c.network.host, clients), "https://"+net.JoinHostPort(c.network.host, peers)
	return []string{
		"--data-dir=" + c.record.path("etcd"),
		"--unsafe-no-fsync", // nothing here must survive a power failure
		"--log-level=warn",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer,
		"--initial-cluster=default=" + peer,
		"--client-cert-auth", "--trusted-ca-file=" + c.pem("etcd-ca.crt"),
		"--cert-file=" + c.pem("etcd.crt"), "--key-file=" + c.pem("etcd.key"),
		"--peer-client-cert-auth", "--peer-trusted-ca-file=" + c.pem("etcd-ca.crt"),
		"--peer-cert-file=" + c.pem("etcd.crt"), "--peer-key-file=" + c.pem("etcd.key"),
	}
}

func (c *Cluster) apiServerArgs(port, etcd string) []string {
	args := []string{
		"--bind-address=" + c.network.host, "--secure-port=" + port,
		"--advertise-address=" + c.network.host,
		"--etcd-servers=https://" + net.JoinHostPort(c.network.host, etcd),
		"--etcd-cafile=" + c.pem("etcd-ca.crt"),
		"--etcd-certfile=" + c.pem("apiserver-etcd.crt"), "--etcd-keyfile=" + c.pem("apiserver-etcd.key"),
		"--tls-cert-file=" + c.pem("apiserver.crt"), "--tls-private-key-file=" + c.pem("apiserver.key"),
		"--client-ca-file=" + c.pem("ca.crt"),
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--service-cluster-ip-range=" + c.network.services,
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + c.pem("sa.pub"),
		"--service-account-signing-key-file=" + c.pem("sa.key"),
		"--kubelet-client-certificate=" + c.pem("kubelet-client.crt"), "--kubelet-client-key=" + c.pem("kubelet-client.key"),
		"--kubelet-certificate-authority=" + c.pem("ca.crt"),
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file=" + c.pem("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + c.pem("front-proxy.crt"), "--proxy-client-key-file=" + c.pem("front-proxy.key"),
		"--audit-policy-file=" + c.record.path("config", "audit.yaml"),
		"--audit-log-path=" + c.AuditLogPath(),
	}
	if c.network.pods == "" {
		// Endpoints cannot have a loopback address, and no pod would use them.
		args = append(args, "--endpoint-reconciler-type=none")
	}
	return append(args, c.options.APIServerArgs...)
}

func (c *Cluster) controllerManagerArgs() []string {
	return []string{
		"--kubeconfig=" + c.record.path("config", "controller-manager.kubeconfig"),
		"--use-service-account-credentials=true",
		"--service-account-private-key-file=" + c.pem("sa.key"),
		"--root-ca-file=" + c.pem("ca.crt"),
		"--cluster-signing-cert-file=" + c.pem("ca.crt"), "--cluster-signing-key-file=" + c.pem("ca.key"),
		// By default it creates a folder outside of the cluster's.
		"--flex-volume-plugin-dir=" + c.record.path("config", "flex"),
		// It first creates an account for each of its controllers, which is
		// slow at the default of 20 a second.
		"--kube-api-qps=500", "--kube-api-burst=500",
		"--leader-elect=false", // there is only one
		"--secure-port=0",
	}
}

func (c *Cluster) pem(name string) string { return c.record.path("pki", name) }

// makeAdministrator grants the administrators their rights. In a new cluster, only
// a member of system:masters can.
func (c *Cluster) makeAdministrator(ctx context.Context) error {
	first := c.pki.clients.issue(certificate{name: "kubernetes-super-admin", groups: []string{"system:masters"}})
	client, err := kubernetes.NewForConfig(c.clientConfig(first))
	if err != nil {
		return err
	}
	for _, b := range []*rbacv1.ClusterRoleBinding{
		bind(administrators, "cluster-admin", rbacv1.GroupKind, administrators),
		bind("kube-apiserver-to-kubelet", "system:kubelet-api-admin", rbacv1.UserKind, apiServerToKubelet),
	} {
		err := c.until(ctx, "the API server", func(ctx context.Context) error {
			_, err := client.RbacV1().ClusterRoleBindings().Create(ctx, b, metav1.CreateOptions{})
			if apierrors.IsAlreadyExists(err) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func bind(name, role, kind, subject string) *rbacv1.ClusterRoleBinding {
	return &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: kind, Name: subject}},
	}
}

// waitReady waits until the API server is ready and the controller manager
// works, which the default ServiceAccount shows. Pods cannot be made before.
func (c *Cluster) waitReady(ctx context.Context) error {
	if err := c.waitAPIServer(ctx); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(c.admin)
	if err != nil {
		return err
	}
	return c.until(ctx, "the default ServiceAccount", func(ctx context.Context) error {
		_, err := client.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
		return err
	})
}

// waitAPIServer waits until the API server is ready. That includes RBAC's default roles, which a hook writes after its
// start.
func (c *Cluster) waitAPIServer(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(c.admin)
	if err != nil {
		return err
	}
	return c.until(ctx, "the API server to be ready", func(ctx context.Context) error {
		return client.RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	})
}

// freePorts returns ports that are not in use.
func freePorts(host string, n int) ([]string, error) {
	var ports []string
	var open []io.Closer // until all are chosen, so that they differ
	for range n {
		listener, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			return nil, fmt.Errorf("looking for a free port: %w", err)
		}
		open = append(open, listener)
		_, port, _ := net.SplitHostPort(listener.Addr().String()) // it always has one
		ports = append(ports, port)
	}
	for _, listener := range open {
		_ = listener.Close()
	}
	return ports, nil
}
