//go:build unix

package e2e

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/test/operator"
)

func lasting(d time.Duration) func(*v1alpha1.DelegationHop) {
	return func(h *v1alpha1.DelegationHop) {
		h.Spec.Lifetime = &v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: d}}
	}
}

// TestHopExpires: what a hop holds ends with the hop, and not with its token, which would live for ten minutes.
func TestHopExpires(t *testing.T) {
	for name, c := range map[string]struct {
		path, hop time.Duration
	}{
		"the hop's own lifetime": {path: time.Hour, hop: 8 * time.Second},
		"the path's lifetime":    {path: 8 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			f := hopSetup(t)
			p := f.path("contain", func(p *v1alpha1.DelegationPath) { p.Spec.Lifetime.Duration.Duration = c.path })
			h := f.hop("isolate", "contain", "")
			if c.hop > 0 {
				lasting(c.hop)(h)
			}
			f.apply(f.by, p, h)
			f.granted(h)
			hop := f.withToken(f.token(h))
			end := h.Status.ExpiresAt.Time
			if err := f.read(hop); err != nil && time.Now().Before(end) {
				t.Errorf("before its end the hop may not read: %v", err)
			}
			f.eventually("the hop to be forbidden", func() error { return wantForbidden(f.read(hop)) })
			refused := time.Now()
			if refused.Before(end) {
				t.Errorf("it was refused %s before its end", end.Sub(refused))
			}
			f.measured("by %s, a hop was denied (403) %s after its end", name, refused.Sub(end).Round(time.Millisecond))
			f.state(h, v1alpha1.ReasonExpired)
			f.nothingLeft(h)
			if c.hop == 0 {
				f.state(p, v1alpha1.ReasonExpired)
			}
			// A longer lifetime is accepted, since it is a valid spec, and brings nothing back: an end that has passed is final.
			const longer = `{"spec":{"lifetime":{"duration":"1h"}}}`
			if c.hop == 0 {
				f.change(f.by, p, longer)
				f.state(p, v1alpha1.ReasonExpired)
				f.wantEnd(p.Status.ExpiresAt, end)
			}
			generation := h.Generation
			f.change(f.by, h, longer)
			if h.Generation == generation {
				t.Error("the longer lifetime was dropped, and this test shows nothing")
			}
			f.state(h, v1alpha1.ReasonExpired)
			f.wantEnd(h.Status.ExpiresAt, end)
			if h.Status.ServiceAccountName != "" {
				t.Errorf("the expired hop has the account %s", h.Status.ServiceAccountName)
			}
			f.nothingLeft(h)
			f.eventually("the token of the expired hop to be unknown", func() error { return wantUnauthorized(f.read(hop)) })
		})
	}
}

// wantEnd demands that the status of a path or hop has the end that it had.
func (f *fixture) wantEnd(got *metav1.Time, want time.Time) {
	f.Helper()
	if got == nil || !got.Time.Equal(want) {
		f.Errorf("it expires at %v, and expired at %s", got, want)
	}
}

// TestHopWaitsWithoutAging: a duration counts from the first Allow. A hop that waits longer than that for its ceiling
// is not expired when it comes.
func TestHopWaitsWithoutAging(t *testing.T) {
	f := hopSetup(t)
	other := f.ns + "-other"
	f.namespace(other)
	f.bind(other, f.by, rule("", "configmaps", "get,list"))
	scope := in([]string{other}, resources("", "configmaps", "get,list"))
	h := f.hop("isolate", "contain", "", lasting(2*time.Second), func(h *v1alpha1.DelegationHop) { h.Spec.Scope = &scope })
	f.apply(f.by, f.path("contain", func(p *v1alpha1.DelegationPath) { p.Spec.Scope = scope }), h)
	f.state(h, v1alpha1.ReasonScopeExceedsCeiling)
	time.Sleep(5 * time.Second)
	f.state(h, v1alpha1.ReasonScopeExceedsCeiling)
	f.ceiling(other)
	f.eventually("the hop to be active", func() error {
		if err := suite.admin.Get(f.Context(), client.ObjectKeyFromObject(h), h); err != nil {
			return err
		}
		if h.Status.ActiveSince == nil {
			return errAllowed
		}
		return nil
	})
	f.state(h, v1alpha1.ReasonExpired)
	f.nothingLeft(h)
}

// TestHopOfADeletedPath: the hop loses everything and stays, and a path recreated under the same name revives nothing.
func TestHopOfADeletedPath(t *testing.T) {
	f := hopSetup(t)
	p, first, second := f.path("contain"), f.hop("triage", "contain", ""), f.hop("isolate", "contain", "triage")
	f.apply(f.by, p, first, second)
	f.granted(first)
	f.granted(second)
	f.remove(f.by, p)
	for _, h := range []*v1alpha1.DelegationHop{first, second} {
		f.state(h, v1alpha1.ReasonPathNotFound)
		f.nothingLeft(h)
	}
	again := f.path("contain")
	f.apply(f.by, again)
	f.state(again, v1alpha1.ReasonActive)
	for _, h := range []*v1alpha1.DelegationHop{first, second} {
		f.state(h, v1alpha1.ReasonChainBroken)
		f.nothingLeft(h)
		if h.Status.ServiceAccountName != "" {
			t.Errorf("hop %s has the account %s", h.Name, h.Status.ServiceAccountName)
		}
	}
}

// TestHopFallsWithItsParent: whatever befalls a parent takes all its descendants, also those in other namespaces.
func TestHopFallsWithItsParent(t *testing.T) {
	for name, c := range map[string]struct {
		befall func(f *fixture, parent *v1alpha1.DelegationHop)
		want   v1alpha1.Reason
		parent v1alpha1.Reason
	}{
		"deleted": {
			befall: func(f *fixture, parent *v1alpha1.DelegationHop) { f.remove(f.by, parent) },
			want:   v1alpha1.ReasonChainBroken,
		},
		"recreated under its name": {
			befall: func(f *fixture, parent *v1alpha1.DelegationHop) {
				f.remove(f.by, parent)
				f.apply(f.by, f.hop(parent.Name, "contain", ""))
			},
			want: v1alpha1.ReasonChainBroken,
		},
		"revoked": {
			befall: func(f *fixture, parent *v1alpha1.DelegationHop) { f.change(f.by, parent, revoke) },
			want:   v1alpha1.ReasonRevoked, parent: v1alpha1.ReasonRevoked,
		},
		"narrowed": {
			befall: func(f *fixture, parent *v1alpha1.DelegationHop) { f.change(f.by, parent, f.scopePatch(`"get"`)) },
			want:   v1alpha1.ReasonScopeExceedsParent, parent: v1alpha1.ReasonGranted,
		},
		"expired": {
			befall: func(f *fixture, parent *v1alpha1.DelegationHop) {
				soon := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339)
				f.change(f.by, parent, `{"spec":{"lifetime":{"notAfter":"`+soon+`"}}}`)
			},
			want: v1alpha1.ReasonExpired, parent: v1alpha1.ReasonExpired,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := hopSetup(t)
			other := f.ns + "-other"
			f.namespace(other)
			f.make(operator.HopNamespace(other))
			f.bind(other, f.by, rule("delegation.wayleave.dev", "delegationhops", "get,create,patch,delete"))
			p := f.path("contain", func(p *v1alpha1.DelegationPath) { p.Spec.Hops.Namespaces = []string{f.ns, other} })
			parent := f.hop("triage", "contain", "")
			child := f.hop("isolate", "contain", "triage", func(h *v1alpha1.DelegationHop) {
				h.Namespace = other
				h.Spec.PathRef.Namespace, h.Spec.ParentRef.Namespace = f.ns, f.ns
			})
			grandchild := f.hop("report", "contain", "isolate", func(h *v1alpha1.DelegationHop) { h.Spec.ParentRef.Namespace = other })
			f.apply(f.by, p, parent, child, grandchild)
			tokens := map[string]client.Client{}
			for _, h := range []*v1alpha1.DelegationHop{parent, child, grandchild} {
				f.granted(h)
				tokens[h.Name] = f.withToken(f.token(h))
			}
			below := []*v1alpha1.DelegationHop{child, grandchild}
			for _, h := range below {
				f.eventually(h.Name+" to read", func() error { return f.read(tokens[h.Name]) })
			}
			c.befall(f, parent)
			for _, h := range below {
				f.eventually(h.Name+" to be forbidden", func() error { return wantForbidden(f.read(tokens[h.Name])) })
			}
			for _, h := range below {
				t.Log(f.state(h, c.want))
				f.nothingLeft(h)
			}
			switch c.parent {
			case v1alpha1.ReasonGranted:
				f.granted(parent)
			case "":
				f.nothingLeft(parent)
			default:
				f.state(parent, c.parent)
				f.nothingLeft(parent)
			}
		})
	}
}

// TestHopComesBackAsAnother: a hop that stops fitting is withdrawn with the reason, and comes back under another name.
func TestHopComesBackAsAnother(t *testing.T) {
	type step func(f *fixture, p *v1alpha1.DelegationPath, parent *v1alpha1.DelegationHop)
	wide := `"get","list","delete"`
	for name, c := range map[string]struct {
		goes, comes step
		want        v1alpha1.Reason
	}{
		"the path was narrowed": {
			goes: func(f *fixture, p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) {
				f.change(f.by, p, f.scopePatch(`"get"`))
			},
			comes: func(f *fixture, p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) {
				f.change(f.by, p, f.scopePatch(wide))
			},
			want: v1alpha1.ReasonScopeExceedsPath,
		},
		"the parent was narrowed": {
			goes: func(f *fixture, _ *v1alpha1.DelegationPath, parent *v1alpha1.DelegationHop) {
				f.change(f.by, parent, f.scopePatch(`"get"`))
			},
			comes: func(f *fixture, _ *v1alpha1.DelegationPath, parent *v1alpha1.DelegationHop) {
				f.change(f.by, parent, f.scopePatch(`"get","list"`))
			},
			want: v1alpha1.ReasonScopeExceedsParent,
		},
		"the path was suspended": {
			goes: func(f *fixture, p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) {
				f.change(f.by, p, `{"spec":{"suspend":true}}`)
			},
			comes: func(f *fixture, p *v1alpha1.DelegationPath, _ *v1alpha1.DelegationHop) {
				f.change(f.by, p, `{"spec":{"suspend":false}}`)
			},
			want: v1alpha1.ReasonSuspended,
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := hopSetup(t)
			p, parent, h := f.path("contain"), f.hop("triage", "contain", ""), f.hop("isolate", "contain", "triage")
			f.apply(f.by, p, parent, h)
			before := f.granted(h)
			old := f.withToken(f.token(h))
			c.goes(f, p, parent)
			t.Log(f.state(h, c.want))
			f.nothingLeft(h)
			c.comes(f, p, parent)
			f.grantedAnew(h, before)
			f.eventually("the new token to work", func() error { return f.read(f.withToken(f.token(h))) })
			f.eventually("the old token to be unknown", func() error { return wantUnauthorized(f.read(old)) })
		})
	}
}

// TestRevokedHopsAreCreatedAgain: revoking a hop takes no right from its author; revoking the path ends that, too.
func TestRevokedHopsAreCreatedAgain(t *testing.T) {
	f := setup(t)
	p, h := f.chain()
	f.wantAllowed(f.patch(f.by, h, `{"spec":{"revoked":{"reason":"false alarm"}}}`))
	f.state(h, v1alpha1.ReasonRevoked)
	again := f.hop("again", p.Name, "")
	f.apply(f.by, again)
	f.valid(again)
	f.wantAllowed(f.patch(f.by, p, `{"spec":{"revoked":{"reason":"false alarm"}}}`))
	f.state(again, v1alpha1.ReasonRevoked)
	onceMore := f.hop("once-more", p.Name, "")
	f.apply(f.by, onceMore)
	f.state(onceMore, v1alpha1.ReasonRevoked)
}
