package delegation

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

const bot = "system:serviceaccount:agents:bot"

// fromBot is a path whose origin is a ServiceAccount of a UID; by is a hop that it made.
func fromBot(uid string) *v1alpha1.DelegationPath {
	return path(func(p *v1alpha1.DelegationPath) { p.Spec.Origin = &v1alpha1.Subject{User: bot, UID: uid} })
}

func byBot(uid string) *v1alpha1.DelegationHop {
	return hop("isolate", hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Author = &v1alpha1.Subject{User: bot, UID: uid} }))
}

func accountOf(uid string) Account { return Account{Found: true, UID: uid} }

// TestEvaluateAccounts: an origin or author that is a ServiceAccount is the one that it was.
func TestEvaluateAccounts(t *testing.T) {
	origin := func(p *v1alpha1.DelegationPath, a Account) Input {
		return but(ask(p), func(i *Input) { i.Facts.OriginAccount = a })
	}
	author := func(h *v1alpha1.DelegationHop, a Account) Input {
		return but(ask(path(), h), func(i *Input) { i.Facts.AuthorAccounts = []Account{a} })
	}
	pinned := fromBot("")
	pinned.Status.OriginUID = "u1"
	pinnedHop := byBot("")
	pinnedHop.Status.AuthorUID = "u1"
	originGone := []fault{{Reason: v1alpha1.ReasonOriginGone, Field: "spec.origin"}}
	authorGone := []fault{{Reason: v1alpha1.ReasonOriginGone, Field: "spec.author"}}
	u1, u2, none := accountOf("u1"), accountOf("u2"), accountOf("")
	denials := map[string]denial{}
	for name, p := range map[string]*v1alpha1.DelegationPath{"an origin": fromBot("u1"), "an origin that the status knows": pinned} {
		denials[name+" was deleted"] = denial{in: origin(p, none), twin: origin(p, u1), want: originGone}
		denials[name+" was recreated"] = denial{in: origin(p, u2), twin: origin(p, u1), want: originGone}
	}
	denials["an origin that never was"] = denial{in: origin(fromBot(""), none), twin: origin(fromBot(""), u1), want: originGone}
	for name, h := range map[string]*v1alpha1.DelegationHop{"an author": byBot("u1"), "an author whom the status knows": pinnedHop} {
		denials[name+" was deleted"] = denial{in: author(h, none), twin: author(h, u1), want: authorGone}
		denials[name+" was recreated"] = denial{in: author(h, u2), twin: author(h, u1), want: authorGone}
	}
	checkDenials(t, denials)
	for name, a := range map[string]Account{"not looked up": {}, "not found out": {Unknown: "the API server is away"}} {
		if v := Evaluate(origin(fromBot("u1"), a)); v.Outcome != Undetermined {
			t.Errorf("an account that was %s: %+v", name, v)
		}
	}
	in := origin(fromBot(""), accountOf("u1"))
	if s := PathStatus(in, Evaluate(in), nil, noon); s.OriginUID != "u1" {
		t.Errorf("the status pins %q", s.OriginUID)
	}
	in = author(byBot(""), accountOf("u1"))
	if s := PinReferences(in, Evaluate(in)); s.AuthorUID != "u1" {
		t.Errorf("the status of the hop pins %q", s.AuthorUID)
	}
}

// TestEvaluateUnbounded: an origin that may do everything bounds nothing, which is said, or refused.
func TestEvaluateUnbounded(t *testing.T) {
	with := func(refuse bool, a Answer) Input {
		return but(ask(path()), func(i *Input) { i.RefuseUnbounded, i.Facts.Unbounded = refuse, a })
	}
	checkDenials(t, map[string]denial{"where it is refused": {
		in: with(true, yes), twin: with(true, Answer{Outcome: Deny}),
		want: []fault{{Reason: v1alpha1.ReasonOriginUnauthorized, Field: "spec.origin"}},
	}})
	if v := Evaluate(with(true, Answer{})); v.Outcome != Undetermined {
		t.Errorf("where it is refused and not known: %+v", v)
	}
	in := with(false, yes)
	conditions := PathStatus(in, Evaluate(in), nil, noon).Conditions
	c := meta.FindStatusCondition(conditions, v1alpha1.ConditionOriginAuthorized)
	if c.Status != metav1.ConditionTrue || c.Reason != string(v1alpha1.ReasonUnbounded) {
		t.Errorf("where it is not refused, the status says %+v", c)
	}
}

// TestMaxUserLifetime: a path of a user ends in time, whatever it says itself; one of a ServiceAccount, which can be asked for, does not.
func TestMaxUserLifetime(t *testing.T) {
	const most = 24 * time.Hour
	lasting := func(l v1alpha1.Lifetime, origin *v1alpha1.Subject) Input {
		p := path(func(p *v1alpha1.DelegationPath) {
			p.Spec.Lifetime, p.Spec.Origin, p.Status.ActiveSince, p.Status.ExpiresAt = l, origin, at(-time.Hour), nil
		})
		return but(ask(p), func(i *Input) { i.MaxUserLifetime, i.Facts.OriginAccount = most, accountOf("u1") })
	}
	alice, account := &v1alpha1.Subject{User: "alice", Groups: []string{"sre"}}, &v1alpha1.Subject{User: bot, UID: "u1"}
	long := v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: 720 * time.Hour}}
	short := v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: 2 * time.Hour}}
	cut := noon.Add(most - time.Hour)
	for name, tc := range map[string]struct {
		in   Input
		want time.Time
	}{
		"a user's long path":           {lasting(long, alice), cut},
		"a user's path with an end":    {lasting(v1alpha1.Lifetime{NotAfter: at(720 * time.Hour)}, alice), cut},
		"a user's short path":          {lasting(short, alice), noon.Add(time.Hour)},
		"a ServiceAccount's long path": {lasting(long, account), noon.Add(719 * time.Hour)},
		"without a limit":              {but(lasting(long, alice), func(i *Input) { i.MaxUserLifetime = 0 }), noon.Add(719 * time.Hour)},
	} {
		if v := Evaluate(tc.in); !v.NotAfter.Equal(tc.want) || v.Outcome != Allow {
			t.Errorf("%s ends %s (%s), want %s", name, v.NotAfter, v.Message(), tc.want)
		}
	}
	in := lasting(long, alice)
	c := meta.FindStatusCondition(PathStatus(in, Evaluate(in), nil, noon).Conditions, v1alpha1.ConditionOriginAuthorized)
	if !strings.Contains(c.Message, `still in "sre" cannot be asked`) || !strings.Contains(c.Message, "ends 24h after it became active") {
		t.Errorf("the status does not say what cannot be asked: %s", c.Message)
	}
}
