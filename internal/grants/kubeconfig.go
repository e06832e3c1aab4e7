package grants

import (
	"fmt"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Kubeconfig says how the holder of a token that is no pod reaches the API server.
type Kubeconfig struct {
	// Server is the API server's URL.
	Server string
	// CA are the PEM certificates that sign the API server's.
	CA []byte
}

func (k Kubeconfig) withToken(namespace, user, token string) ([]byte, error) {
	const name = "wayleave"
	config := clientcmdapi.Config{
		Clusters:       map[string]*clientcmdapi.Cluster{name: {Server: k.Server, CertificateAuthorityData: k.CA}},
		AuthInfos:      map[string]*clientcmdapi.AuthInfo{user: {Token: token}},
		Contexts:       map[string]*clientcmdapi.Context{name: {Cluster: name, AuthInfo: user, Namespace: namespace}},
		CurrentContext: name,
	}
	raw, err := clientcmd.Write(config)
	if err != nil {
		return nil, fmt.Errorf("writing a kubeconfig: %w", err)
	}
	return raw, nil
}
