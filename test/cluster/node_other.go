//go:build unix && !linux

package cluster

import (
	"context"
	"errors"
)

// CanRunNode returns nil, or the reason why pods cannot run on this machine.
func CanRunNode() error {
	return errors.New("a cluster with a node needs Linux")
}

// LoadImage needs a node.
func (c *Cluster) LoadImage(context.Context, string, string) (string, error) { return "", CanRunNode() }

// ImportImage needs a node.
func (c *Cluster) ImportImage(context.Context, string, string) (string, error) {
	return "", CanRunNode()
}

func (c *Cluster) prepareNode(context.Context) error { return CanRunNode() }
func (c *Cluster) startNode(context.Context) error   { return CanRunNode() }

type node struct{}

func (*node) release() {}

type traces struct{}

func (*traces) remove(*record) error { return nil }
