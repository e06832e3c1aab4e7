//go:build unix

package cluster

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// UseKubeconfig is the environment variable that names the kubeconfig of a
// cluster to use instead of a new one. It is not KUBECONFIG, because tests
// create, change and delete objects and must not do so by accident.
const UseKubeconfig = "WAYLEAVE_USE_KUBECONFIG"

func (c *Cluster) clientConfig(pair keyPair) *rest.Config {
	return &rest.Config{
		Host: c.url,
		TLSClientConfig: rest.TLSClientConfig{
			CAData: c.pki.clients.pem, CertData: pair.cert, KeyData: pair.key,
		},
		// Do not throttle tests; the API server has its own limits.
		QPS: 1000, Burst: 2000,
	}
}

// writeKubeconfig writes a self-contained kubeconfig for a user.
func (c *Cluster) writeKubeconfig(path string, user certificate) error {
	pair := c.pki.clients.issue(user)
	config := clientcmdapi.NewConfig()
	config.Clusters["wayleave"] = &clientcmdapi.Cluster{Server: c.url, CertificateAuthorityData: c.pki.clients.pem}
	config.AuthInfos[user.name] = &clientcmdapi.AuthInfo{ClientCertificateData: pair.cert, ClientKeyData: pair.key}
	config.Contexts["wayleave"] = &clientcmdapi.Context{Cluster: "wayleave", AuthInfo: user.name}
	config.CurrentContext = "wayleave"
	content, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("writing the kubeconfig of %s: %w", user.name, err)
	}
	return writeFile(path, content)
}

// useExisting returns a cluster that was not started here and is not stopped.
func useExisting(ctx context.Context, o Options, path string) (*Cluster, error) {
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("reading %s=%s: %w", UseKubeconfig, path, err)
	}
	config.QPS, config.Burst = 1000, 2000
	c := &Cluster{options: o, existing: true, admin: config, url: config.Host, kubeconfig: path}
	c.logf("using the cluster at %s, named by %s", config.Host, UseKubeconfig)
	if c.binaries, err = Binaries(ctx, o.Log, "kubectl"); err != nil {
		return nil, err
	}
	if o.Node {
		err = hasReadyNode(ctx, config)
	}
	return c, err
}

func hasReadyNode(ctx context.Context, config *rest.Config) error {
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	nodes, err := client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("looking for a node: %w", err)
	}
	for _, node := range nodes.Items {
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady && condition.Status == corev1.ConditionTrue {
				return nil
			}
		}
	}
	return errors.New("the cluster has no node that is Ready")
}

// writeFiles writes files below the cluster's folder.
func (r *record) writeFiles(files map[string][]byte) error {
	for name, content := range files {
		if err := writeFile(r.path(name), content); err != nil {
			return err
		}
	}
	return nil
}
