//go:build unix

package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// pods does the hops' work in pods.
type pods struct {
	*demo
	logs map[string]*podLog
}

// podLog is the log of a pod, followed until the pod ends.
type podLog struct {
	mu   sync.Mutex
	text bytes.Buffer
	done chan struct{}
}

func (l *podLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *podLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (w *pods) prepare(context.Context) error { return nil }

func (w *pods) use(ctx context.Context) error {
	w.step("The alert bot applies the smallest path: one hop, which allows one use, and one Job. Its pod waits at a gate until the whole " +
		"chain was evaluated again and its rights are in effect; then it lists the pods of payments.")
	if _, err := w.bot.shows(ctx, "apply", "-f", samples+"/minimal.yaml"); err != nil {
		return err
	}
	if _, err := w.bot.shows(ctx, "-n", ns, "wait", "--for=condition=Complete", "job/look", "--timeout=90s"); err != nil {
		return err
	}
	output, err := w.bot.shows(ctx, "-n", ns, "logs", "job/look")
	if err := errors.Join(err, expectWords(output, "checkout-0", "ledger-0", "ledger-1")); err != nil {
		return err
	}
	w.step("The Job has ended, and with it the use: the hop is idle, and nothing is left of its rights.")
	if err := eventually(ctx, "the end of the use", func() error {
		output, err := w.alice.run(ctx, "-n", ns, "get", "dhop", "look")
		return errors.Join(err, expectWords(output, "Idle", "1/1"))
	}); err != nil {
		return err
	}
	if _, err := w.alice.shows(ctx, "-n", ns, "get", "dhop", "look"); err != nil {
		return err
	}
	if err := w.noRights(ctx, "look"); err != nil {
		return err
	}
	w.step("A second Job is denied: one use was allowed.")
	if err := w.bot.isDenied(ctx, []string{`hop "look"`, "UsesExhausted", "1 of 1"}, "apply", "-f", "hack/demo/look-again.yaml"); err != nil {
		return err
	}
	_, err = w.platform.shows(ctx, "delete", "-f", samples+"/minimal.yaml")
	return err
}

func (w *pods) idle(ctx context.Context) error {
	w.step("Isolate has an identity, but no rights yet: they exist only while a workload runs under it, and its Job is suspended.")
	return w.noRights(ctx, "isolate")
}

// noRights shows that there is no Role and no binding of a hop.
func (w *pods) noRights(ctx context.Context, hop string) error {
	output, err := w.platform.shows(ctx, "get", "roles,rolebindings", "-A", "-l", v1alpha1.LabelHopName+"="+hop)
	return errors.Join(err, expectWords(output, "No resources found"))
}

// follow follows the log of a Job's pod, and waits until it contains all of these words.
func (w *pods) follow(ctx context.Context, job string, words ...string) error {
	args := []string{"-n", ns, "logs", "-f", "job/" + job}
	if err := eventually(ctx, "the pod of Job "+job+" to log", func() error {
		output, err := w.bot.run(ctx, "-n", ns, "logs", "job/"+job)
		return errors.Join(err, expectWords(output, words...))
	}); err != nil {
		return err
	}
	if w.logs == nil {
		w.logs = map[string]*podLog{}
	}
	log := &podLog{done: make(chan struct{})}
	w.logs[job] = log
	command := w.bot.command(ctx, args...)
	command.Stdout, command.Stderr = log, log
	if err := command.Start(); err != nil {
		return fmt.Errorf("following the log of Job %s: %w", job, err)
	}
	go func() {
		_ = command.Wait() // its output is in the log
		close(log.done)
	}()
	return eventually(ctx, "the log of Job "+job, func() error { return expectWords(log.String(), words...) })
}

func (w *pods) triage(ctx context.Context) error {
	w.step("Triage runs in a pod and uses its hop's token. It lists the pods of payments, and the API server answers.")
	if err := w.follow(ctx, "triage", "list pods", ": 200 checkout-0 ledger-0 ledger-1"); err != nil {
		return err
	}
	_, err := w.bot.shows(ctx, "-n", ns, "logs", "job/triage", "--tail=2")
	return err
}

func (w *pods) isolate(ctx context.Context) error {
	w.step("Triage has found ledger. The alert bot resumes isolate, which may act on ledger. It also tries checkout, and is denied.")
	if err := resume(ctx, w.demo); err != nil {
		return err
	}
	if err := w.follow(ctx, "isolate", "quarantine selecting app=ledger in payments: 201", "delete pod ledger-0 in payments: 200",
		"delete pod checkout-0 in payments: 403", "list pods in payments every 1s for 10m: 200"); err != nil {
		return err
	}
	_, err := w.bot.shows(ctx, "-n", ns, "logs", "job/isolate", "--tail=4")
	return err
}

func resume(ctx context.Context, d *demo) error {
	_, err := d.bot.shows(ctx, "-n", ns, "patch", "job", "isolate", "-p", `{"spec":{"suspend":false}}`)
	return err
}

func (w *pods) denied(ctx context.Context) error {
	w.step("From then on, the API server denies the requests of both pods. They get a signal to end, ignore it, and are killed.")
	w.say("(This agent ignores the signal on purpose, as a hijacked one would.)")
	for _, job := range []string{"triage", "isolate"} {
		log := w.logs[job]
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(timeout):
			return fmt.Errorf("waited %s for the pod of Job %s to end", timeout, job)
		case <-log.done:
		}
		w.show(around(log.String()), job)
		if err := expectWords(log.String(), ": 200 ", ": 403 pods is forbidden", "SIGTERM"); err != nil {
			return err
		}
	}
	return nil
}

func (w *pods) show(output, job string) {
	fmt.Fprintf(w.out, "   alert-bot$ kubectl -n %s logs -f job/%s   # started before the revocation\n", ns, job)
	w.lines(output)
}

// around returns a few lines of a pod's log, from the last answer before the revocation on.
func around(log string) string {
	lines := strings.SplitAfter(log, "\n")
	last := 0
	for i, line := range lines {
		if strings.Contains(line, ": 200 ") {
			last = i
		}
	}
	return strings.Join(lines[last:min(len(lines), last+4)], "")
}

// tokens does the hops' work where no pod runs, with the token of each hop from a Secret.
type tokens struct {
	*demo
	hops map[string]*user
}

func (w *tokens) use(context.Context) error { return nil } // no pod ends where none runs

func (w *tokens) idle(ctx context.Context) error {
	w.step("A hop that keeps a token has its rights as long as it is valid: what holds the token has no moment of use.")
	_, err := w.alice.shows(ctx, "-n", ns, "get", "dhop")
	return err
}

func (w *tokens) prepare(ctx context.Context) error {
	w.step("Pods do not run here, so the alert bot requests a token for each hop, in a Secret.")
	for _, hop := range []string{"triage", "isolate"} {
		patch := fmt.Sprintf(`{"spec":{"token":{"secretName":%q}}}`, hop+"-token")
		if _, err := w.bot.shows(ctx, "-n", ns, "patch", "dhop", hop, "--type=merge", "-p", patch); err != nil {
			return err
		}
	}
	return nil
}

// take reads the hop's token from its Secret.
func (w *tokens) take(ctx context.Context, hop string) (*user, error) {
	var token []byte
	err := eventually(ctx, "the token of hop "+hop, func() error {
		encoded, err := w.platform.run(ctx, "-n", ns, "get", "secret", hop+"-token", "-o", "jsonpath={.data.token}")
		if err != nil {
			return err
		}
		if token, err = base64.StdEncoding.DecodeString(encoded); err == nil && len(token) == 0 {
			err = errors.New("it is empty")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if w.hops == nil {
		w.hops = map[string]*user{}
	}
	w.hops[hop], err = w.withToken(hop, string(token))
	return w.hops[hop], err
}

func (w *tokens) triage(ctx context.Context) error {
	w.step("With the token of triage, a client lists the pods of payments, and the API server answers.")
	triage, err := w.take(ctx, "triage")
	if err != nil {
		return err
	}
	output, err := triage.shows(ctx, "-n", "payments", "get", "pods")
	return errors.Join(err, expectWords(output, "checkout-0", "ledger-0", "ledger-1"))
}

func (w *tokens) isolate(ctx context.Context) error {
	w.step("Triage has found ledger. The alert bot resumes isolate, which may act on ledger. It also tries checkout, and is denied.")
	if err := resume(ctx, w.demo); err != nil {
		return err
	}
	isolate, err := w.take(ctx, "isolate")
	if err != nil {
		return err
	}
	if _, err := isolate.shows(ctx, "create", "-f", "hack/demo/quarantine.yaml"); err != nil {
		return err
	}
	if _, err := isolate.shows(ctx, "-n", "payments", "delete", "pod", "ledger-0", "--wait=false"); err != nil {
		return err
	}
	return isolate.isDenied(ctx, []string{"forbidden"}, "-n", "payments", "delete", "pod", "checkout-0", "--wait=false")
}

func (w *tokens) denied(ctx context.Context) error {
	w.step("From then on, the API server denies the requests of both hops.")
	for _, hop := range []string{"triage", "isolate"} {
		u := w.hops[hop]
		if err := eventually(ctx, "the requests of "+hop+" to be denied", func() error {
			if output, err := u.run(ctx, "-n", "payments", "get", "pods"); err == nil {
				return fmt.Errorf("still allowed: %s", output)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if err := w.hops["triage"].isDenied(ctx, nil, "-n", "payments", "get", "pods"); err != nil {
		return err
	}
	return w.hops["isolate"].isDenied(ctx, nil, "-n", "payments", "delete", "pod", "ledger-1", "--wait=false")
}
