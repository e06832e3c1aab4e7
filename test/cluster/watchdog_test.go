//go:build unix

package cluster

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

// startAndHang makes the test program start a cluster, print its record and
// hang.
const startAndHang = "WAYLEAVE_TEST_START_AND_HANG"

func TestMain(m *testing.M) {
	if IsKeeper() {
		keepForTest()
		return
	}
	if os.Getenv(startAndHang) == "" {
		os.Exit(m.Run())
	}
	c, err := Start(context.Background(), Options{Node: os.Getenv(startAndHang) == "node", Log: os.Stderr})
	if err != nil {
		panic(err)
	}
	_ = json.NewEncoder(os.Stdout).Encode(c.record)
	select {}
}

func TestKilled(t *testing.T) {
	g := NewWithT(t)
	r := killOwner(g, "control plane")
	g.Eventually(func(g Gomega) { expectNothingLeft(g, r) }, 15*time.Second).Should(Succeed())
}

// killOwner starts a cluster in another process and kills that process.
func killOwner(g *WithT, kind string) *record {
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), startAndHang+"="+kind)
	command.Stderr = os.Stderr
	output, err := command.StdoutPipe()
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(command.Start()).To(Succeed())
	line, err := bufio.NewReader(output).ReadBytes('\n')
	g.Expect(err).NotTo(HaveOccurred())
	var r record
	g.Expect(json.Unmarshal(line, &r)).To(Succeed())
	g.Expect(r.running()).NotTo(BeEmpty())
	g.Expect(command.Process.Kill()).To(Succeed())
	_ = command.Wait()
	return &r
}
