//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

const (
	samples = "config/samples"
	// agentImage is the image that the samples name.
	agentImage = "registry.example.com/agent:1.0"
	// patience is how long an expectation may take to come true, on a machine that does much else.
	patience = 90 * time.Second
)

// demo is the stage: a cluster with Wayleave on it, and the people of the story.
type demo struct {
	out      io.Writer
	cluster  *cluster.Cluster
	operator *operator.Operator
	node     bool
	dir      string // for kubeconfigs
	steps    int

	platform, bot, alice *person
}

// person is somebody with a kubeconfig.
type person struct {
	*demo
	name       string
	kubeconfig string
}

// prepare makes what the story takes for granted: the users, their programs, and the image of the agent.
func (d *demo) prepare(ctx context.Context) error {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	admin := &person{demo: d, name: "admin", kubeconfig: d.cluster.Kubeconfig()}
	if _, err := admin.quietly(ctx, "create", "clusterrolebinding", "platform-team", "--clusterrole=cluster-admin", "--group=platform-team"); err != nil {
		return err
	}
	var err error
	if d.platform, err = d.user("platform", "platform@example.com", "platform-team"); err != nil {
		return err
	}
	if d.alice, err = d.user("alice", "alice@example.com", "on-call"); err != nil {
		return err
	}
	if !d.node {
		return nil
	}
	program := filepath.Join(d.dir, "agent")
	if err := cluster.BuildProgram(ctx, "github.com/wayleave/wayleave/hack/images/agent", program); err != nil {
		return fmt.Errorf("building the agent: %w", err)
	}
	_, err = d.cluster.LoadImage(ctx, agentImage, program)
	return err
}

func (d *demo) user(name, user string, groups ...string) (*person, error) {
	return d.person(name, d.cluster.UserConfig(user, groups...))
}

// withToken is who holds a token, and nothing else.
func (d *demo) withToken(name, token string) (*person, error) {
	config := rest.AnonymousClientConfig(d.cluster.Config())
	config.BearerToken = token
	return d.person(name, config)
}

func (d *demo) person(name string, c *rest.Config) (*person, error) {
	path := filepath.Join(d.dir, name+".kubeconfig")
	err := clientcmd.WriteToFile(clientcmdapi.Config{
		Clusters: map[string]*clientcmdapi.Cluster{"demo": {Server: c.Host, CertificateAuthorityData: c.CAData}},
		AuthInfos: map[string]*clientcmdapi.AuthInfo{name: {
			Token: c.BearerToken, ClientCertificateData: c.CertData, ClientKeyData: c.KeyData,
		}},
		Contexts:       map[string]*clientcmdapi.Context{"demo": {Cluster: "demo", AuthInfo: name}},
		CurrentContext: "demo",
	}, path)
	if err != nil {
		return nil, fmt.Errorf("writing the kubeconfig of %s: %w", name, err)
	}
	return &person{demo: d, name: name, kubeconfig: path}, nil
}

// command is kubectl as this person.
func (p *person) command(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, p.cluster.Kubectl(), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+p.kubeconfig, "KUBECACHEDIR="+filepath.Join(p.dir, "cache"))
	return command
}

// quietly runs kubectl and shows nothing.
func (p *person) quietly(ctx context.Context, args ...string) (string, error) {
	output, err := p.command(ctx, args...).CombinedOutput()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return string(output), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(output))
	}
	return string(output), nil
}

// shows runs kubectl as the person would, and shows command and output. It is expected to succeed.
func (p *person) shows(ctx context.Context, args ...string) (string, error) {
	output, err := p.quietly(ctx, args...)
	p.show(output, args)
	return output, err
}

// isRefused does so with a command that is expected to fail with all of these words.
func (p *person) isRefused(ctx context.Context, words []string, args ...string) error {
	output, err := p.quietly(ctx, args...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.show(output, args)
	if err == nil {
		return fmt.Errorf("expected this to be refused, and it was allowed: kubectl %s", strings.Join(args, " "))
	}
	return expectWords(output, words...)
}

func (p *person) show(output string, args []string) {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = quote(arg)
	}
	fmt.Fprintf(p.out, "   %s$ kubectl %s\n", p.name, strings.Join(quoted, " "))
	p.lines(output)
}

// lines shows a text as output.
func (d *demo) lines(text string) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		fmt.Fprintln(d.out, strings.TrimRight("     "+line, " \n"))
	}
}

var plain = regexp.MustCompile(`^[-\w./=:,@]+$`)

// quote writes an argument as one would type it.
func quote(arg string) string {
	if plain.MatchString(arg) {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

// step begins the next step of the story.
func (d *demo) step(format string, args ...any) {
	d.steps++
	fmt.Fprintf(d.out, "\n%d. %s\n", d.steps, fmt.Sprintf(format, args...))
}

func (d *demo) say(format string, args ...any) {
	fmt.Fprintf(d.out, "   %s\n", fmt.Sprintf(format, args...))
}

func expectWords(output string, words ...string) error {
	for _, word := range words {
		if !strings.Contains(output, word) {
			return fmt.Errorf("expected %q in this answer: %s", word, strings.TrimSpace(output))
		}
	}
	return nil
}

func expectNone(output string, words ...string) error {
	for _, word := range words {
		if strings.Contains(output, word) {
			return fmt.Errorf("expected no %q in this answer: %s", word, strings.TrimSpace(output))
		}
	}
	return nil
}

// eventually waits for something to become so.
func eventually(ctx context.Context, what string, check func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := check()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s for %s: %w", patience, what, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}
