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

	"github.com/wayleave/wayleave/test/cluster"
	"github.com/wayleave/wayleave/test/operator"
)

const (
	samples = "config/samples"
	// timeout is for one expectation, on a busy machine.
	timeout = 90 * time.Second
)

// demo is a cluster with Wayleave on it, and the users of the story.
type demo struct {
	out      io.Writer
	cluster  *cluster.Cluster
	wayleave wayleave
	logs     string // how to see those of Wayleave
	node     bool
	dir      string // holds the kubeconfigs
	steps    int

	platform, bot, alice *user
}

// user runs kubectl with a kubeconfig of their own.
type user struct {
	*demo
	name       string
	kubeconfig string
}

// prepare creates what the story presumes: the users, their kubeconfigs and the image of the agent.
func (d *demo) prepare(ctx context.Context) error {
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		return err
	}
	admin := &user{demo: d, name: "admin", kubeconfig: d.cluster.Kubeconfig()}
	_, err := admin.run(ctx, "create", "clusterrolebinding", "platform-team", "--clusterrole=cluster-admin", "--group=platform-team")
	if err != nil {
		return err
	}
	if d.platform, err = d.withGroup("platform", "platform@example.com", "platform-team"); err != nil {
		return err
	}
	if d.alice, err = d.withGroup("alice", "alice@example.com", "on-call"); err != nil {
		return err
	}
	if !d.node {
		return nil
	}
	return operator.LoadSampleImages(ctx, d.cluster)
}

// withGroup returns a user that has the rights of a group.
func (d *demo) withGroup(name, username, group string) (*user, error) {
	return d.user(name, d.cluster.UserConfig(username, group))
}

// withToken returns a user that has a token and nothing else.
func (d *demo) withToken(name, token string) (*user, error) {
	config := rest.AnonymousClientConfig(d.cluster.Config())
	config.BearerToken = token
	return d.user(name, config)
}

func (d *demo) user(name string, c *rest.Config) (*user, error) {
	path := filepath.Join(d.dir, name+".kubeconfig")
	if err := cluster.WriteKubeconfig(path, name, c); err != nil {
		return nil, err
	}
	return &user{demo: d, name: name, kubeconfig: path}, nil
}

// command returns a kubectl command as this user.
func (u *user) command(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, u.cluster.Kubectl(), args...)
	command.Env = append(os.Environ(), "KUBECONFIG="+u.kubeconfig, "KUBECACHEDIR="+filepath.Join(u.dir, "cache"))
	return command
}

// run runs kubectl and prints nothing.
func (u *user) run(ctx context.Context, args ...string) (string, error) {
	output, err := u.command(ctx, args...).CombinedOutput()
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return string(output), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, bytes.TrimSpace(output))
	}
	return string(output), nil
}

// shows runs kubectl, which must succeed, and prints the command and its output.
func (u *user) shows(ctx context.Context, args ...string) (string, error) {
	output, err := u.run(ctx, args...)
	u.show(output, args)
	return output, err
}

// isDenied does so with a command that must fail, with all of these words in its output.
func (u *user) isDenied(ctx context.Context, words []string, args ...string) error {
	output, err := u.run(ctx, args...)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	u.show(output, args)
	if err == nil {
		return fmt.Errorf("this must be denied, but was allowed: kubectl %s", strings.Join(args, " "))
	}
	return expectWords(output, words...)
}

func (u *user) show(output string, args []string) {
	quoted := make([]string, len(args))
	for i, arg := range args {
		quoted[i] = quote(arg)
	}
	fmt.Fprintf(u.out, "   %s$ kubectl %s\n", u.name, strings.Join(quoted, " "))
	u.lines(output)
}

// lines prints the output of a command.
func (d *demo) lines(text string) {
	for line := range strings.Lines(strings.TrimSpace(text)) {
		fmt.Fprintln(d.out, strings.TrimRight("     "+line, " \n"))
	}
}

var plain = regexp.MustCompile(`^[-\w./=:,@]+$`)

// quote quotes an argument for a shell.
func quote(arg string) string {
	if plain.MatchString(arg) {
		return arg
	}
	return "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
}

// step prints the title of the next step.
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
			return fmt.Errorf("expected %q in this output: %s", word, strings.TrimSpace(output))
		}
	}
	return nil
}

func expectNone(output string, words ...string) error {
	for _, word := range words {
		if strings.Contains(output, word) {
			return fmt.Errorf("expected no %q in this output: %s", word, strings.TrimSpace(output))
		}
	}
	return nil
}

// eventually waits until the check passes.
func eventually(ctx context.Context, what string, check func() error) error {
	deadline := time.Now().Add(timeout)
	for {
		err := check()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("waited %s for %s: %w", timeout, what, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}
