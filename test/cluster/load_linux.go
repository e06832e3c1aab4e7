package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// LoadImage gives the node an image whose one file and entry point is a static
// program, to be used with `imagePullPolicy: Never`. The name has a registry
// and a tag. LoadImage returns the name by digest, which the node knows too.
func (c *Cluster) LoadImage(ctx context.Context, name, program string) (string, error) {
	if c.existing || c.record.Node == nil {
		return "", errors.New("loading an image: the cluster has no node of ours")
	}
	pinned, err := c.loadImage(ctx, name, program)
	if err != nil {
		return "", fmt.Errorf("loading the image %s: %w", name, err)
	}
	return pinned, nil
}

func (c *Cluster) loadImage(ctx context.Context, name, program string) (string, error) {
	if err := os.MkdirAll(c.record.path("images"), 0o700); err != nil {
		return "", err
	}
	file, err := os.CreateTemp(c.record.path("images"), "*.tar")
	if err != nil {
		return "", err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	pinned, err := writeImage(file, name, program)
	if err != nil {
		return "", err
	}
	return pinned, c.ctr(ctx, "images", "import", file.Name())
}
