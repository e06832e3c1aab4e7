//go:build unix

package operator

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"github.com/wayleave/wayleave/test/cluster"
)

// The images that the samples name.
const (
	agentImage   = "registry.example.com/agent:1.0"
	kubectlImage = "registry.k8s.io/kubectl:v1.37.2"
)

// LoadSampleImages loads the images that the samples name into the node. The agent logs each answer of the API server, and ignores a
// signal to end; kubectl is the cluster's own.
func LoadSampleImages(ctx context.Context, c *cluster.Cluster) error {
	agent := filepath.Join(c.Dir(), "agent")
	if err := cluster.BuildProgram(ctx, "github.com/wayleave/wayleave/hack/images/agent", agent); err != nil {
		return fmt.Errorf("building the agent: %w", err)
	}
	if _, err := c.LoadImage(ctx, agentImage, agent); err != nil {
		return err
	}
	_, err := c.LoadImage(ctx, kubectlImage, c.Kubectl())
	return err
}

// LoadImage builds this source and loads its image into the node, under the name that the chart gives it.
func LoadImage(ctx context.Context, c *cluster.Cluster, root string) error {
	name, err := imageName(root)
	if err != nil {
		return err
	}
	program := filepath.Join(c.Dir(), "wayleave-image")
	if err := cluster.BuildProgram(ctx, "github.com/wayleave/wayleave/cmd/wayleave", program); err != nil {
		return fmt.Errorf("building Wayleave: %w", err)
	}
	_, err = c.LoadImage(ctx, name, program)
	return err
}

// ImportImage loads what `make image` has made into the node, under the name that the chart gives it, which it returns.
func ImportImage(ctx context.Context, c *cluster.Cluster, root, layout string) (string, error) {
	name, err := imageName(root)
	if err != nil {
		return "", err
	}
	_, err = c.ImportImage(ctx, layout, name)
	return name, err
}

// imageName is the name of the image that the chart installs with its own values.
func imageName(root string) (string, error) {
	var chart struct {
		AppVersion string `json:"appVersion"`
	}
	var values struct {
		Image struct {
			Repository string `json:"repository"`
		} `json:"image"`
	}
	for file, into := range map[string]any{"Chart.yaml": &chart, "values.yaml": &values} {
		raw, err := os.ReadFile(filepath.Join(root, "charts", "wayleave", file))
		if err != nil {
			return "", fmt.Errorf("reading the chart: %w", err)
		}
		if err := yaml.Unmarshal(raw, into); err != nil {
			return "", fmt.Errorf("reading the chart's %s: %w", file, err)
		}
	}
	return values.Image.Repository + ":" + chart.AppVersion, nil
}
