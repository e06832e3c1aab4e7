//go:build unix

// Package cluster starts a real Kubernetes on this machine, built from Go modules.
// Pods run on the distribution's containerd. Tests, the demo and `make cluster`
// use it.
//
// A cluster belongs to the process that started it and ends with it, even after
// a crash: see watchdog.go. To keep one, see kept.go.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/rest"
)

// Options of a cluster. The zero value is a control plane without a node, in a
// temporary folder, that logs nothing.
type Options struct {
	// Node adds a node on which pods run. CanRunNode reports whether that is possible.
	Node bool
	// Log gets the progress, one line at a time.
	Log io.Writer
	// Dir holds the cluster's state. Stop removes all of it but the logs. If Dir
	// is empty, the cluster creates a folder and Stop removes it.
	Dir string
	// AuditPolicy is an audit policy in YAML. By default every request is
	// logged at level Metadata when it is complete.
	AuditPolicy string
	// APIServerArgs are appended to the arguments of kube-apiserver and
	// override them.
	APIServerArgs []string
}

// Cluster is a running cluster.
type Cluster struct {
	options  Options
	binaries map[string]string
	record   *record
	watchdog *watchdog
	pki      *pki
	network  network
	url      string

	admin      *rest.Config
	kubeconfig string

	mu        sync.Mutex
	processes []*process
	node      *node
}

// network is where a cluster listens, and which addresses it assigns.
type network struct {
	// host is the address of the API server and of the node: loopback without
	// a node, else the bridge's.
	host string
	// services is the range of ClusterIPs, of which the first is the API server's.
	services, apiService string
	// pods is the range of pod addresses; empty without a node.
	pods string
}

// Start starts a cluster and returns when it can be used: the API server is
// ready, the default ServiceAccount exists and the node, if any, is Ready. The
// context bounds the start and not the cluster's life.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	if o.Log == nil {
		o.Log = io.Discard
	}
	if o.Node {
		if err := CanRunNode(); err != nil {
			return nil, err
		}
	}
	binaries, err := Binaries(ctx, o.Log, needed(o)...)
	if err != nil {
		return nil, err
	}
	if err := Sweep(); err != nil {
		return nil, fmt.Errorf("cleaning up after an earlier cluster: %w", err)
	}
	for try := 1; ; try++ {
		c, err := start(ctx, o, binaries)
		// Another process can take a port between its choice and its use.
		if err == nil || try == 3 || !strings.Contains(err.Error(), "address already in use") {
			return c, err
		}
	}
}

func needed(o Options) []string {
	if o.Node {
		return append(controlPlaneBinaries(), "kube-scheduler", "kubelet", "kube-proxy")
	}
	return controlPlaneBinaries()
}

func start(ctx context.Context, o Options, binaries map[string]string) (*Cluster, error) {
	began := time.Now()
	rec, err := newRecord(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("preparing the state folder: %w", err)
	}
	c := &Cluster{options: o, binaries: binaries, record: rec}
	if err := c.startAll(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	c.logf("cluster up in %.1fs at %s", time.Since(began).Seconds(), c.url)
	return c, nil
}

func (c *Cluster) startAll(ctx context.Context) error {
	var err error
	if c.watchdog, err = startWatchdog(c.record); err != nil {
		return fmt.Errorf("starting the watchdog: %w", err)
	}
	c.network = network{host: "127.0.0.1", services: "10.96.0.0/16", apiService: "10.96.0.1"}
	if c.options.Node {
		if err := c.prepareNode(ctx); err != nil {
			return fmt.Errorf("preparing the node: %w", err)
		}
	}
	if err := c.startControlPlane(ctx); err != nil {
		return fmt.Errorf("starting the control plane: %w", err)
	}
	if c.options.Node {
		if err := c.startNode(ctx); err != nil {
			return fmt.Errorf("starting the node: %w", err)
		}
	}
	return nil
}

// Stop stops the cluster and removes everything that it created. It may be called
// more than once.
func (c *Cluster) Stop() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.record.remove(); err != nil {
		return fmt.Errorf("stopping the cluster in %s: %w", c.record.Dir, err)
	}
	c.watchdog.stop()
	c.node.release()
	return nil
}

// Config returns a client configuration with all rights on the cluster. They come
// from RBAC, as an administrator's do, and not from system:masters.
func (c *Cluster) Config() *rest.Config {
	return rest.CopyConfig(c.admin)
}

// UserConfig returns a client configuration for a user whose only rights are
// those that RBAC grants to the user and its groups.
func (c *Cluster) UserConfig(user string, groups ...string) *rest.Config {
	return c.clientConfig(c.pki.clients.issue(certificate{name: user, groups: groups}))
}

// Kubeconfig returns the path of a kubeconfig file with the rights of Config.
func (c *Cluster) Kubeconfig() string { return c.kubeconfig }

// Kubectl returns the path of a kubectl of the cluster's version.
func (c *Cluster) Kubectl() string { return c.binaries["kubectl"] }

// AuditLogPath returns the path of the API server's audit log, one JSON event per
// line.
func (c *Cluster) AuditLogPath() string {
	return filepath.Join(c.record.logs(), "audit.log")
}

// RestartAPIServer restarts the API server, as an upgrade of the control plane
// does, and returns when it is ready.
func (c *Cluster) RestartAPIServer(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, p := range c.processes {
		if p.name != "kube-apiserver" {
			continue
		}
		p.end(apiServerGrace)
		restarted, err := c.record.start(p.name, p.path, p.args...)
		if err != nil {
			return err
		}
		c.processes[i] = restarted
	}
	return c.waitReady(ctx)
}

func (c *Cluster) logf(format string, args ...any) {
	fmt.Fprintf(c.options.Log, format+"\n", args...)
}
