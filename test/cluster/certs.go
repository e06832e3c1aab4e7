//go:build unix

package cluster

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// pki holds the certificate authorities of a cluster. As in any cluster, requests
// from an aggregating API server have a separate authority: a client with a
// certificate of it may claim to be any user.
type pki struct {
	clients, aggregation, storage *authority
}

type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// certificate describes a certificate. With hosts, it is also a server's.
type certificate struct {
	name   string
	groups []string
	hosts  []string
}

// keyPair is a certificate and its key, in PEM.
type keyPair struct {
	cert, key []byte
}

func newPKI() *pki {
	return &pki{
		clients:     newAuthority("kubernetes"),
		aggregation: newAuthority("front-proxy"),
		storage:     newAuthority("etcd"),
	}
}

func newAuthority(name string) *authority {
	template := unsigned(name)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	key := newKey()
	der := must(x509.CreateCertificate(rand.Reader, template, template, key.Public(), key))
	return &authority{
		cert: must(x509.ParseCertificate(der)),
		key:  key,
		pem:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
	}
}

func (a *authority) issue(c certificate) keyPair {
	template := unsigned(c.name)
	template.Subject.Organization = c.groups
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	for _, host := range c.hosts {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	key := newKey()
	der := must(x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key))
	return keyPair{
		cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		key:  privatePEM(key),
	}
}

func (a *authority) keyPair() keyPair {
	return keyPair{cert: a.pem, key: privatePEM(a.key)}
}

func unsigned(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-5 * time.Minute),
		NotAfter:     time.Now().AddDate(1, 0, 0),
	}
}

// newKey returns a key for ES256: an API server signs tokens five times faster
// with it than with RS256.
func newKey() *ecdsa.PrivateKey {
	return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
}

func privatePEM(key *ecdsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(key))})
}

func publicPEM(key crypto.PublicKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(key))})
}

// must is for calls that fail only if this package has a bug.
func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
