//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
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
		d.ceiling, w.use, d.alert, w.prepare, d.ready, w.idle, w.triage, w.isolate, d.granted,
		d.working, d.revoke, w.denied, d.reported, d.ended, d.newJob, d.nothingLeft,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// work is what the two hops do: in pods, or with their tokens where no pod runs.
type work interface {
	// use shows a use from its beginning to its end.
	use(ctx context.Context) error
	// idle shows what a hop holds while nothing runs under it.
	idle(ctx context.Context) error
	// prepare runs before the hops are ready.
	prepare(ctx context.Context) error
	// triage reads.
	triage(ctx context.Context) error
	// isolate writes, and keeps working.
	isolate(ctx context.Context) error
	// denied shows the answers that the hops get once the path is revoked.
	denied(ctx context.Context) error
}

func (d *demo) ceiling(ctx context.Context) error {
	d.step("The platform team defines once what may be delegated at most, who may start a path and who may revoke one.")
	if _, err := d.platform.shows(ctx, "apply", "-f", samples+"/ceiling.yaml"); err != nil {
		return err
	}
	d.say("Three pods run in payments; two of them will turn out to be suspicious.")
	if err := eventually(ctx, "the default ServiceAccount of payments", func() error {
		_, err := d.platform.run(ctx, "-n", "payments", "get", "serviceaccount", "default")
		return err
	}); err != nil {
		return err
	}
	if _, err := d.platform.run(ctx, "apply", "-f", "hack/demo/payments.yaml"); err != nil {
		return err
	}
	if d.node {
		if _, err := d.platform.run(ctx, "-n", "payments", "wait", "--for=condition=Ready", "pod", "--all", "--timeout=90s"); err != nil {
			return err
		}
	}
	token, err := d.platform.run(ctx, "-n", ns, "create", "token", "alert-bot", "--duration=24h")
	if err != nil {
		return err
	}
	d.bot, err = d.withToken("alert-bot", strings.TrimSpace(token))
	return err
}

func (d *demo) alert(ctx context.Context) error {
	d.step("Alert 4711. The alert bot, which is no administrator, applies a path, two hops and their Jobs in one command.")
	output, err := d.bot.shows(ctx, "apply", "-f", samples+"/incident-response.yaml")
	if err != nil {
		return err
	}
	d.say("A warning is no error: an object that comes too early, such as a hop before its parent is ready, waits.")
	return expectWords(output, path+" created", "triage created", "isolate created")
}

func (d *demo) ready(ctx context.Context) error {
	d.step("A moment later the path is active and each hop may be used.")
	for _, what := range []string{"dpath/" + path, "dhop/triage", "dhop/isolate"} {
		if _, err := d.bot.shows(ctx, "-n", ns, "wait", "--for=condition=Ready", what, "--timeout=60s"); err != nil {
			return err
		}
	}
	output, err := d.alice.shows(ctx, "get", "delegation", "-A")
	if err != nil {
		return err
	}
	return expectWords(output, "Active", path, "triage", "isolate")
}

func (d *demo) granted(ctx context.Context) error {
	d.step("While isolate runs, its own identity has exactly its scope. These are all its rights:")
	if err := eventually(ctx, "the use of isolate", func() error {
		output, err := d.alice.run(ctx, "-n", ns, "get", "dhop", "isolate")
		return errors.Join(err, expectWords(output, "Granted", "1/1"))
	}); err != nil {
		return err
	}
	if _, err := d.alice.shows(ctx, "-n", ns, "get", "dhop"); err != nil {
		return err
	}
	account, err := d.alice.run(ctx, "-n", ns, "get", "dhop", "isolate", "-o", "jsonpath={.status.serviceAccountName}")
	if err != nil {
		return err
	}
	output, err := d.platform.shows(ctx, "-n", "payments", "describe", "role", account)
	if err != nil {
		return err
	}
	d.say("The Role has the name of the hop's account: dhop-, the hop, random digits that are never reused, and the Unix time of its end.")
	return expectWords(output, "networkpolicies", "ledger-0")
}

// working waits until isolate has deleted one pod and not yet the other.
func (d *demo) working(ctx context.Context) error {
	if err := eventually(ctx, "ledger-0 to be deleted", func() error {
		output, err := d.platform.run(ctx, "-n", "payments", "get", "pods", "--ignore-not-found", "ledger-0")
		return errors.Join(err, expectNone(output, "ledger-0"))
	}); err != nil {
		return err
	}
	output, err := d.platform.run(ctx, "-n", "payments", "get", "pods")
	return errors.Join(err, expectWords(output, "ledger-1", "checkout-0"))
}

func (d *demo) revoke(ctx context.Context) error {
	d.step("It was a false alarm. Alice, who is on call, revokes the path with one patch while both hops are working.")
	_, err := d.alice.shows(ctx, "-n", ns, "patch", "dpath", path, "--type=merge", "-p", `{"spec":{"revoked":{"reason":"false alarm"}}}`)
	return err
}

func (d *demo) reported(ctx context.Context) error {
	d.step("Status, history, Events and audit log report what happened, in the same words.")
	for _, what := range []string{"dpath/" + path, "dhop/triage", "dhop/isolate"} {
		const revoked = `--for=jsonpath={.status.conditions[?(@.type=="Ready")].reason}=Revoked`
		if _, err := d.alice.run(ctx, "-n", ns, "wait", revoked, what, "--timeout=60s"); err != nil {
			return err
		}
	}
	output, err := d.alice.shows(ctx, "get", "delegation", "-A")
	if err := errors.Join(err, expectWords(output, "Revoked"), expectNone(output, "Granted")); err != nil {
		return err
	}
	output, err = d.alice.shows(ctx, "-n", ns, "get", "dpath", path, "-o",
		`jsonpath={range .status.history[*]}{.time}{"  "}{.reason}{"  "}{.actor}{"\n"}{end}`)
	err = errors.Join(err, expectWords(output, "Active  system:serviceaccount:incident-response:alert-bot", "Revoked  alice@example.com"))
	if err != nil {
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
		output, err := d.alice.run(ctx, args...)
		return errors.Join(err, expectWords(output, "DelegationPath", "DelegationHop", "Job", "triage", "isolate"))
	}); err != nil {
		return err
	}
	_, err := d.alice.shows(ctx, args...)
	return err
}

// audit prints the audit line of the path's revocation.
func (d *demo) audit(ctx context.Context) error {
	d.say("The controller's audit line of the revocation, one field per line here; all lines of this path have its UID:")
	return eventually(ctx, "an audit line of the revocation", func() error {
		lines, err := d.wayleave.AuditLines(ctx)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(lines)) {
			if expectWords(line, `"transition"`, `"DelegationPath `+ns+"/"+path+`"`, `"Revoked"`) == nil {
				var fields bytes.Buffer
				if err := json.Indent(&fields, []byte(line), "", "  "); err != nil {
					return fmt.Errorf("reading an audit line: %w", err)
				}
				d.lines(fields.String())
				return nil
			}
		}
		return errors.New("not written yet")
	})
}

func (d *demo) ended(ctx context.Context) error {
	d.step("The pods of the hops are deleted. Their Jobs are suspended and kept as evidence; ledger-1 was not deleted.")
	args := []string{"-n", ns, "get", "jobs,pods"}
	if err := eventually(ctx, "the pods of the hops to be deleted", func() error {
		output, err := d.alice.run(ctx, args...)
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
	d.say("What the hops did before the revocation is not undone.")
	output, err := d.platform.shows(ctx, "-n", "payments", "get", "pods,networkpolicies")
	return errors.Join(err, expectWords(output, "ledger-1", "checkout-0", "quarantine"), expectNone(output, "ledger-0"))
}

func (d *demo) newJob(ctx context.Context) error {
	d.step("The alert bot creates a new Job. It is denied, with the reason.")
	return d.bot.isDenied(ctx, []string{`hop "isolate"`, string(v1alpha1.ReasonRevoked), "alice@example.com", "false alarm"},
		"apply", "-f", "hack/demo/isolate-again.yaml")
}

func (d *demo) nothingLeft(ctx context.Context) error {
	uid, err := d.alice.run(ctx, "-n", ns, "get", "dpath", path, "-o", "jsonpath={.metadata.uid}")
	if err != nil {
		return err
	}
	d.step("Nothing is left of the path's identities, credentials and rights.")
	args := []string{
		"get", "serviceaccounts,secrets,roles,rolebindings,clusterroles,clusterrolebindings", "-A",
		"-l", v1alpha1.LabelPathUID + "=" + uid,
	}
	if err := eventually(ctx, "all of them to be deleted", func() error {
		output, err := d.platform.run(ctx, args...)
		return errors.Join(err, expectWords(output, "No resources found"))
	}); err != nil {
		return err
	}
	_, err = d.platform.shows(ctx, args...)
	return err
}

// explain prints how to reach the kept cluster.
func (d *demo) explain() {
	fmt.Fprintf(d.out, `
The cluster keeps running, with Wayleave on it. To use it as administrator:

  export KUBECONFIG=%s
  export PATH=$PATH:%s

As a user of the story (platform, alice or alert-bot):

  export KUBECONFIG=%s/alice.kubeconfig

Logs of Wayleave, with the audit lines: %s

To stop it: make cluster-down
`, d.cluster.Kubeconfig(), filepath.Dir(d.cluster.Kubectl()), d.dir, d.logs)
}
