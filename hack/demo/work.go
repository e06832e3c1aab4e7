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
)

// pods is the hops' work where pods run.
type pods struct {
	*demo
	logs map[string]*journal
}

// journal is what a pod logs, followed until the pod ends.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
	done chan struct{}
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

func (w *pods) prepare(context.Context) error { return nil }

// follow follows the log of a Job's pod until it says all of these words.
func (w *pods) follow(ctx context.Context, job string, words ...string) error {
	args := []string{"-n", ns, "logs", "-f", "job/" + job}
	if err := eventually(ctx, "the pod of Job "+job+" to log", func() error {
		output, err := w.bot.quietly(ctx, "-n", ns, "logs", "job/"+job)
		return errors.Join(err, expectWords(output, words...))
	}); err != nil {
		return err
	}
	if w.logs == nil {
		w.logs = map[string]*journal{}
	}
	j := &journal{done: make(chan struct{})}
	w.logs[job] = j
	command := w.bot.command(ctx, args...)
	command.Stdout, command.Stderr = j, j
	if err := command.Start(); err != nil {
		return fmt.Errorf("following the log of Job %s: %w", job, err)
	}
	go func() {
		_ = command.Wait() // what it said is in the journal
		close(j.done)
	}()
	return eventually(ctx, "the log of Job "+job, func() error { return expectWords(j.String(), words...) })
}

func (w *pods) triage(ctx context.Context) error {
	w.step("Triage runs in a pod and uses its hop's token. It lists the pods of payments, and is answered.")
	if err := w.follow(ctx, "triage", "list pods", ": 200 checkout-0 ledger-0 ledger-1"); err != nil {
		return err
	}
	_, err := w.bot.shows(ctx, "-n", ns, "logs", "job/triage", "--tail=2")
	return err
}

func (w *pods) isolate(ctx context.Context) error {
	w.step("Triage has found ledger. The alert bot lets isolate begin. It may act on ledger; on checkout, by mistake, it may not.")
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

func (w *pods) refused(ctx context.Context) error {
	w.step("What both pods were answered from then on. They are told to end, do not obey, and are ended.")
	w.say("(The agent is a stand-in, made to disobey: it goes on after the signal to end, as one that was taken over would.)")
	for _, job := range []string{"triage", "isolate"} {
		j := w.logs[job]
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(patience):
			return fmt.Errorf("waited %s for the pod of Job %s to be ended", patience, job)
		case <-j.done:
		}
		w.show(around(j.String()), job)
		if err := expectWords(j.String(), ": 200 ", ": 403 pods is forbidden", "told to end"); err != nil {
			return err
		}
	}
	return nil
}

func (w *pods) show(said, job string) {
	fmt.Fprintf(w.out, "   alert-bot$ kubectl -n %s logs -f job/%s   # since before the revocation\n", ns, job)
	w.lines(said)
}

// around is a pod's log from the last answer before the revocation on, a few lines long.
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

// tokens is the hops' work where no pod runs: somebody holds the token that each hop is given in a Secret.
type tokens struct {
	*demo
	hops map[string]*person
}

func (w *tokens) prepare(ctx context.Context) error {
	w.step("No pod runs here, so the alert bot asks for a token for each hop, in a Secret.")
	for _, hop := range []string{"triage", "isolate"} {
		if _, err := w.bot.shows(ctx, "-n", ns, "patch", "dhop", hop, "--type=merge", "-p", fmt.Sprintf(`{"spec":{"token":{"secretName":%q}}}`, hop+"-token")); err != nil {
			return err
		}
	}
	return nil
}

// take takes the hop's token out of its Secret.
func (w *tokens) take(ctx context.Context, hop string) (*person, error) {
	var token []byte
	err := eventually(ctx, "the token of hop "+hop, func() error {
		encoded, err := w.platform.quietly(ctx, "-n", ns, "get", "secret", hop+"-token", "-o", "jsonpath={.data.token}")
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
		w.hops = map[string]*person{}
	}
	w.hops[hop], err = w.withToken(hop, string(token))
	return w.hops[hop], err
}

func (w *tokens) triage(ctx context.Context) error {
	w.step("Whoever holds the token of triage lists the pods of payments, and is answered.")
	triage, err := w.take(ctx, "triage")
	if err != nil {
		return err
	}
	output, err := triage.shows(ctx, "-n", "payments", "get", "pods")
	return errors.Join(err, expectWords(output, "checkout-0", "ledger-0", "ledger-1"))
}

func (w *tokens) isolate(ctx context.Context) error {
	w.step("Triage has found ledger. The alert bot lets isolate begin. It may act on ledger; on checkout, by mistake, it may not.")
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
	return isolate.isRefused(ctx, []string{"forbidden"}, "-n", "payments", "delete", "pod", "checkout-0", "--wait=false")
}

func (w *tokens) refused(ctx context.Context) error {
	w.step("What both hops are answered from then on.")
	for _, hop := range []string{"triage", "isolate"} {
		p := w.hops[hop]
		if err := eventually(ctx, hop+" to be refused", func() error {
			if output, err := p.quietly(ctx, "-n", "payments", "get", "pods"); err == nil {
				return fmt.Errorf("it was answered %s", output)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if err := w.hops["triage"].isRefused(ctx, nil, "-n", "payments", "get", "pods"); err != nil {
		return err
	}
	return w.hops["isolate"].isRefused(ctx, nil, "-n", "payments", "delete", "pod", "ledger-1", "--wait=false")
}
