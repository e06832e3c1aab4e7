//go:build unix

package cluster

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

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
	return WriteKubeconfig(path, user.name, c.clientConfig(c.pki.clients.issue(user)))
}

// WriteKubeconfig writes a self-contained kubeconfig of a user.
func WriteKubeconfig(path, user string, c *rest.Config) error {
	config := clientcmdapi.NewConfig()
	config.Clusters["wayleave"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData}
	config.AuthInfos[user] = &clientcmdapi.AuthInfo{
		Token: c.BearerToken, ClientCertificateData: c.CertData, ClientKeyData: c.KeyData,
	}
	config.Contexts["wayleave"] = &clientcmdapi.Context{Cluster: "wayleave", AuthInfo: user}
	config.CurrentContext = "wayleave"
	content, err := clientcmd.Write(*config)
	if err != nil {
		return fmt.Errorf("writing the kubeconfig of %s: %w", user, err)
	}
	return writeFile(path, content)
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
