//go:build unix

package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// wide is more hops than are reconciled at the same time, so that a binding that only its own hop's reconcile removes
// still exists when the first accounts are gone.
const wide = 48

// TestBindingsGoFirst: the API server's audit log shows that the bindings of a withdrawn hop and of all hops below it are
// deleted before its account, and that a path does not leave its bindings to its hops.
func TestBindingsGoFirst(t *testing.T) {
	f := setup(t)
	t.Run("a hop with many descendants", func(t *testing.T) {
		f := f.in(t)
		top, below := f.hop("top", "chains", ""), make([]*v1alpha1.DelegationHop, wide)
		for i := range below {
			below[i] = f.hop(fmt.Sprintf("below-%d", i), "chains", top.Name)
		}
		account, accounts := f.grantAll(f.path("chains"), top, below)
		seen := f.deletions(append(accounts, account), func() { f.change(f.by, top, revoke) })
		asked := seen.accounts[account].RequestReceivedTimestamp.Time
		for _, name := range accounts {
			if gone := seen.bindings[name].StageTimestamp.Time; gone.After(asked) {
				t.Errorf("the binding of %s was deleted %s after the account of the hop above it", name, gone.Sub(asked))
			}
		}
	})
	t.Run("a path with many hops", func(t *testing.T) {
		f := f.in(t)
		hops := make([]*v1alpha1.DelegationHop, wide)
		for i := range hops {
			hops[i] = f.hop(fmt.Sprintf("flat-%d", i), "flat", "")
		}
		p := f.path("flat")
		first, accounts := f.grantAll(p, hops[0], hops[1:])
		accounts = append(accounts, first)
		seen := f.deletions(accounts, func() { f.change(f.by, p, revoke) })
		var last time.Time
		for _, event := range seen.bindings {
			if event.StageTimestamp.After(last) {
				last = event.StageTimestamp.Time
			}
		}
		early := 0
		for _, event := range seen.accounts {
			if event.RequestReceivedTimestamp.Time.Before(last) {
				early++
			}
		}
		// The hops' own reconciles run beside the path's, so some accounts may go before the last binding.
		t.Logf("%d of %d accounts were deleted before the last binding", early, len(accounts))
		if early > wide/2 {
			t.Errorf("%d of %d accounts were deleted before the last binding", early, len(accounts))
		}
	})
}

// TestRevokedIsForbidden: right after a revocation a request is answered 403, by RBAC. A 401 first would mean that only the
// account was deleted, which takes effect when the API server's cached answer about the token has expired.
func TestRevokedIsForbidden(t *testing.T) {
	for name, end := range map[string]func(*fixture, *v1alpha1.DelegationPath, *v1alpha1.DelegationHop){
		"the hop is revoked":  func(f *fixture, _ *v1alpha1.DelegationPath, h *v1alpha1.DelegationHop) { f.change(f.by, h, revoke) },
		"the path is revoked": func(f *fixture, p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) { f.change(f.by, p, revoke) },
		"the path is deleted": func(f *fixture, p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) { f.remove(f.by, p) },
		"the hop is deleted":  func(f *fixture, _ *v1alpha1.DelegationPath, h *v1alpha1.DelegationHop) { f.remove(f.by, h) },
	} {
		t.Run(name, func(t *testing.T) {
			f := setup(t)
			p, h := f.path("contain"), f.hop("isolate", "contain", "")
			f.apply(f.by, p, h)
			f.granted(h)
			hop := f.withToken(f.token(h))
			f.eventually("the hop to read", func() error { return f.read(hop) }) // and the API server to cache that it knows the token
			end(f, p, h)
			var err error
			f.eventually("the hop to be refused", func() error {
				if err = f.read(hop); err == nil {
					return errAllowed
				}
				return nil
			})
			if !apierrors.IsForbidden(err) {
				t.Errorf("the first refusal is %v, not 403", err)
			}
		})
	}
}

// in is the fixture in a subtest.
func (f *fixture) in(t *testing.T) *fixture {
	t.Helper()
	return &fixture{T: t, ns: f.ns, on: f.on, by: f.by}
}

// grantAll creates a path and hops, and returns the accounts of the first and of the others.
func (f *fixture) grantAll(p *v1alpha1.DelegationPath, first *v1alpha1.DelegationHop, others []*v1alpha1.DelegationHop) (string, []string) {
	f.Helper()
	f.apply(f.by, p, first)
	for _, h := range others {
		f.apply(f.by, h)
	}
	account, accounts := f.granted(first), make([]string, len(others))
	for i, h := range others {
		accounts[i] = f.granted(h)
	}
	return account, accounts
}

// auditEvent is what these tests read of an event of the API server's audit log.
type auditEvent struct {
	Verb, Stage    string
	ObjectRef      struct{ Resource, Subresource, Name string }
	ResponseStatus struct{ Code int }

	RequestReceivedTimestamp, StageTimestamp metav1.MicroTime
}

// deletions are those of accounts and of the RoleBindings of the same names.
type deletions struct{ accounts, bindings map[string]auditEvent }

// deletions has something happen, waits until the accounts and their bindings are deleted, and returns how.
func (f *fixture) deletions(accounts []string, happen func()) deletions {
	f.Helper()
	log, err := os.Open(suite.cluster.AuditLogPath())
	if err != nil {
		f.Fatal(err)
	}
	defer log.Close()
	if _, err := log.Seek(0, io.SeekEnd); err != nil {
		f.Fatal(err)
	}
	happen()
	d := deletions{accounts: map[string]auditEvent{}, bindings: map[string]auditEvent{}}
	of := map[string]map[string]auditEvent{"serviceaccounts": d.accounts, "rolebindings": d.bindings}
	wanted := map[string]bool{}
	for _, name := range accounts {
		wanted[name] = true
	}
	lines := bufio.NewReader(log)
	var line []byte
	f.eventually("the deletions in the audit log", func() error {
		for {
			part, err := lines.ReadBytes('\n')
			line = append(line, part...)
			if err != nil { // the end, for now: perhaps in the middle of a line
				break
			}
			var event auditEvent
			if err := json.Unmarshal(line, &event); err != nil {
				return fmt.Errorf("reading a line of the audit log: %w", err)
			}
			line = nil
			seen, concerns := of[event.ObjectRef.Resource]
			if concerns && event.Verb == "delete" && event.ResponseStatus.Code == http.StatusOK && wanted[event.ObjectRef.Name] {
				seen[event.ObjectRef.Name] = event
			}
		}
		if len(d.accounts) < len(wanted) || len(d.bindings) < len(wanted) {
			return fmt.Errorf("%d accounts and %d bindings of %d were deleted", len(d.accounts), len(d.bindings), len(wanted))
		}
		return nil
	})
	return d
}
