//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

const (
	ns   = "incident-response"
	path = "contain-4711"
)

// story plays the story, a step at a time.
func (d *demo) story(ctx context.Context) error {
	var w work = &tokens{demo: d}
	if d.node {
		w = &pods{demo: d}
	}
	for _, step := range []func(context.Context) error{
		d.ceiling, d.alert, w.prepare, d.ready, d.granted, w.triage, w.isolate, d.halfWay, d.revoke, w.refused, d.told, d.after, d.again, d.nothingLeft,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// work is what the two hops do: in pods, or, where no pod runs, by whoever holds their tokens.
type work interface {
	// prepare does what has to be done before the hops are ready.
	prepare(ctx context.Context) error
	// triage looks around.
	triage(ctx context.Context) error
	// isolate acts, and goes on.
	isolate(ctx context.Context) error
	// refused shows what the hops are answered once the path is revoked.
	refused(ctx context.Context) error
}

func (d *demo) ceiling(ctx context.Context) error {
	d.step("The platform team says once what may be delegated at most, who may start a path and who may stop one.")
	if _, err := d.platform.shows(ctx, "apply", "-f", samples+"/ceiling.yaml"); err != nil {
		return err
	}
	d.say("Three pods run in payments; two of them will turn out suspicious.")
	if err := eventually(ctx, "the default ServiceAccount of payments", func() error {
		_, err := d.platform.quietly(ctx, "-n", "payments", "get", "serviceaccount", "default")
		return err
	}); err != nil {
		return err
	}
	if _, err := d.platform.quietly(ctx, "apply", "-f", "hack/demo/payments.yaml"); err != nil {
		return err
	}
	if d.node {
		if _, err := d.platform.quietly(ctx, "-n", "payments", "wait", "--for=condition=Ready", "pod", "--all", "--timeout=90s"); err != nil {
			return err
		}
	}
	token, err := d.platform.quietly(ctx, "-n", ns, "create", "token", "alert-bot", "--duration=24h")
	if err != nil {
		return err
	}
	d.bot, err = d.withToken("alert-bot", strings.TrimSpace(token))
	return err
}

func (d *demo) alert(ctx context.Context) error {
	d.step("Alert 4711. The alert bot, no administrator, applies a path with two hops and their Jobs, all at once.")
	output, err := d.bot.shows(ctx, "apply", "-f", samples+"/incident-response.yaml")
	if err != nil {
		return err
	}
	d.say("A warning there is no error: what comes too early, such as a hop before its parent is ready, waits a moment.")
	return expectWords(output, path+" created", "triage created", "isolate created")
}

func (d *demo) ready(ctx context.Context) error {
	d.step("A moment later the path is active, and each hop holds its grant.")
	for _, what := range []string{"dpath/" + path, "dhop/triage", "dhop/isolate"} {
		// The objects are there; what they wait for is the condition.
		if _, err := d.bot.shows(ctx, "-n", ns, "wait", "--for=condition=Ready", what, "--timeout=60s"); err != nil {
			return err
		}
	}
	output, err := d.alice.shows(ctx, "get", "delegation", "-A")
	if err != nil {
		return err
	}
	return expectWords(output, "Active", "Granted", path, "triage", "isolate")
}

func (d *demo) granted(ctx context.Context) error {
	d.step("Each hop is an identity of its own with exactly its scope. This is all that isolate holds:")
	account, err := d.alice.quietly(ctx, "-n", ns, "get", "dhop", "isolate", "-o", "jsonpath={.status.serviceAccountName}")
	if err != nil {
		return err
	}
	output, err := d.platform.shows(ctx, "-n", "payments", "describe", "role", account)
	if err != nil {
		return err
	}
	d.say("The name is that of its account: dhop-, the hop, a hash that never comes again, and the Unix time of its end.")
	return expectWords(output, "networkpolicies", "ledger-0")
}

// halfWay makes sure that the revocation comes half way: one pod is gone, the other is not yet.
func (d *demo) halfWay(ctx context.Context) error {
	if err := eventually(ctx, "ledger-0 to be gone", func() error {
		output, err := d.platform.quietly(ctx, "-n", "payments", "get", "pods", "--ignore-not-found", "ledger-0")
		return errors.Join(err, expectNone(output, "ledger-0"))
	}); err != nil {
		return err
	}
	output, err := d.platform.quietly(ctx, "-n", "payments", "get", "pods")
	return errors.Join(err, expectWords(output, "ledger-1", "checkout-0"))
}

func (d *demo) revoke(ctx context.Context) error {
	d.step("A false alarm. Alice, who is on call, revokes the path while both hops are at work: one act.")
	_, err := d.alice.shows(ctx, "-n", ns, "patch", "dpath", path, "--type=merge", "-p", `{"spec":{"revoked":{"reason":"false alarm"}}}`)
	return err
}

func (d *demo) told(ctx context.Context) error {
	d.step("Path and hops say what happened, and so do history, Events and audit lines, in the same words.")
	for _, what := range []string{"dpath/" + path, "dhop/triage", "dhop/isolate"} {
		if _, err := d.alice.quietly(ctx, "-n", ns, "wait", "--for=jsonpath={.status.conditions[?(@.type==\"Ready\")].reason}=Revoked", what, "--timeout=60s"); err != nil {
			return err
		}
	}
	output, err := d.alice.shows(ctx, "get", "delegation", "-A")
	if err := errors.Join(err, expectWords(output, "Revoked"), expectNone(output, "Granted", "Active")); err != nil {
		return err
	}
	output, err = d.alice.shows(ctx, "-n", ns, "get", "dpath", path, "-o",
		`jsonpath={range .status.history[*]}{.time}{"  "}{.reason}{"  "}{.actor}{"\n"}{end}`)
	if err := errors.Join(err, expectWords(output, "Active  system:serviceaccount:incident-response:alert-bot", "Revoked  alice@example.com")); err != nil {
		return err
	}
	if err := d.events(ctx); err != nil {
		return err
	}
	return d.audit(ctx)
}

func (d *demo) events(ctx context.Context) error {
	args := []string{
		"-n", ns, "get", "events", "--field-selector", "reason=Revoked",
		"-o", "custom-columns=KIND:.involvedObject.kind,NAME:.involvedObject.name,REASON:.reason,MESSAGE:.message",
	}
	if err := eventually(ctx, "the Events", func() error {
		output, err := d.alice.quietly(ctx, args...)
		return errors.Join(err, expectWords(output, "DelegationPath", "DelegationHop", "Job", "triage", "isolate"))
	}); err != nil {
		return err
	}
	_, err := d.alice.shows(ctx, args...)
	return err
}

// audit shows the line that the controller wrote when the path was revoked.
func (d *demo) audit(ctx context.Context) error {
	d.say("The controller's audit line of that moment, here one field a line; all lines of this path have its UID:")
	return eventually(ctx, "an audit line of the revocation", func() error {
		log, err := os.Open(d.operator.Log("controller"))
		if err != nil {
			return err
		}
		defer log.Close()
		lines := bufio.NewScanner(log)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if line := lines.Text(); expectWords(line, `"transition"`, `"DelegationPath `+ns+"/"+path+`"`, `"Revoked"`) == nil {
				var fields bytes.Buffer
				if err := json.Indent(&fields, []byte(line), "", "  "); err != nil {
					return fmt.Errorf("reading an audit line: %w", err)
				}
				d.lines(fields.String())
				return nil
			}
		}
		return errors.Join(lines.Err(), errors.New("there is none yet"))
	})
}

func (d *demo) after(ctx context.Context) error {
	d.step("What ran under the hops has ended. The Jobs stay, suspended, as evidence; ledger-1 was spared.")
	args := []string{"-n", ns, "get", "jobs,pods"}
	if err := eventually(ctx, "the pods of the hops to be gone", func() error {
		output, err := d.alice.quietly(ctx, args...)
		if n := strings.Count(output, "Suspended"); err == nil && n != 2 {
			err = fmt.Errorf("%d of 2 Jobs are suspended: %s", n, output)
		}
		return errors.Join(err, expectNone(output, "pod/"))
	}); err != nil {
		return err
	}
	if _, err := d.alice.shows(ctx, args...); err != nil {
		return err
	}
	d.say("What the hops did before stays done.")
	output, err := d.platform.shows(ctx, "-n", "payments", "get", "pods,networkpolicies")
	return errors.Join(err, expectWords(output, "ledger-1", "checkout-0", "quarantine"), expectNone(output, "ledger-0"))
}

func (d *demo) again(ctx context.Context) error {
	d.step("The alert bot tries again with a new Job, and is told why not.")
	return d.bot.isRefused(ctx, []string{`hop "isolate"`, string(v1alpha1.ReasonRevoked), "alice@example.com", "false alarm"},
		"apply", "-f", "hack/demo/isolate-again.yaml")
}

func (d *demo) nothingLeft(ctx context.Context) error {
	uid, err := d.alice.quietly(ctx, "-n", ns, "get", "dpath", path, "-o", "jsonpath={.metadata.uid}")
	if err != nil {
		return err
	}
	d.step("What is left of the path's identities, credentials and rights: nothing.")
	args := []string{"get", "serviceaccounts,secrets,roles,rolebindings,clusterroles,clusterrolebindings", "-A", "-l", v1alpha1.LabelPathUID + "=" + uid}
	if err := eventually(ctx, "nothing to be left", func() error {
		output, err := d.platform.quietly(ctx, args...)
		return errors.Join(err, expectWords(output, "No resources found"))
	}); err != nil {
		return err
	}
	_, err = d.platform.shows(ctx, args...)
	return err
}

// explain says how to reach a cluster that stays.
func (d *demo) explain() {
	fmt.Fprintf(d.out, `
The cluster stays up, with Wayleave on it. To look around as administrator:

  export KUBECONFIG=%s
  export PATH=$PATH:%s

As one of the people of the story: platform, alice or alert-bot in

  export KUBECONFIG=%s/alice.kubeconfig

What Wayleave logs, audit lines included: %s

To take it all down: make cluster-down
`, d.cluster.Kubeconfig(), filepath.Dir(d.cluster.Kubectl()), d.dir, filepath.Dir(d.operator.Log("controller")))
}
