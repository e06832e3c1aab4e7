//go:build unix

// Package gate shows on a node, with Wayleave and workloads as pods, that no container of a workload starts before its use of a hop was
// admitted, and that none gets an answer afterwards. What needs no node is in test/e2e.
package gate

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

// suite is what the tests share: one cluster with a node, and Wayleave on it. Each test has namespaces and a user of its own.
var suite struct {
	cluster  *cluster.Cluster
	wayleave *operator.Pods
	admin    client.WithWatch
	pods     kubernetes.Interface
	node     string
}

const (
	root = "../.."
	// image is loaded into the node. Its program logs each answer of the API server, and ignores a signal to end.
	image = "registry.example.com/agent:1.0"
)

func TestMain(m *testing.M) {
	flag.Parse()
	if why := cluster.CanRunNode(); why != nil {
		fmt.Fprintln(os.Stderr, "nothing of this package runs here:", why)
		return
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	ctrl.SetLogger(zap.New(zap.WriteTo(os.Stderr)))
	if err := flag.Set("test.parallel", "16"); err != nil { // they wait for pods, most of the time
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer stop()
	if err := start(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

func start(ctx context.Context) (err error) {
	if suite.cluster, err = cluster.Start(ctx, cluster.Options{Node: true, Log: os.Stderr}); err != nil {
		return fmt.Errorf("starting the cluster: %w", err)
	}
	if suite.wayleave, err = operator.StartPods(ctx, suite.cluster, operator.Options{Root: root, Log: os.Stderr}); err != nil {
		return fmt.Errorf("installing Wayleave: %w", err)
	}
	if err := operator.LoadSampleImages(ctx, suite.cluster); err != nil {
		return err
	}
	if suite.admin, err = client.NewWithWatch(suite.cluster.Config(), client.Options{Scheme: operator.Scheme()}); err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	if suite.pods, err = kubernetes.NewForConfig(suite.cluster.Config()); err != nil {
		return fmt.Errorf("connecting: %w", err)
	}
	var nodes corev1.NodeList
	if err := suite.admin.List(ctx, &nodes); err != nil || len(nodes.Items) != 1 {
		return fmt.Errorf("there are %d nodes, not one: %w", len(nodes.Items), err)
	}
	suite.node = nodes.Items[0].Name
	return nil
}

func stop() {
	if suite.cluster != nil {
		_ = suite.cluster.Stop() // the watchdog removes what is left
	}
}
