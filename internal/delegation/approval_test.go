package delegation

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

const shownDigest = "sha256:1111"

// needing is a path that takes approvals by a rule, and has never been active.
func needing(rule v1alpha1.ApprovalRule, options ...pathOption) *v1alpha1.DelegationPath {
	return path(append([]pathOption{func(p *v1alpha1.DelegationPath) {
		p.Spec.Approval, p.Status.ActiveSince, p.Status.ExpiresAt = &rule, nil, nil
	}}, options...)...)
}

// by is an approval of the path as it is, by somebody who may.
func by(user string, change ...func(*Decided)) Decided {
	d := Decided{DelegationApproval: &v1alpha1.DelegationApproval{
		ObjectMeta: metav1.ObjectMeta{Name: "of-" + user, UID: "uid-" + "of", CreationTimestamp: *at(-time.Minute)},
		Spec: v1alpha1.DelegationApprovalSpec{
			Digest: shownDigest, Decision: v1alpha1.DecisionApproved, Reason: "looks right", ExpiresAt: *at(30 * time.Minute),
			Approver: &v1alpha1.Approver{User: user},
		},
	}, MayApprove: yes}
	for _, c := range change {
		c(&d)
	}
	return d
}

func decides(decision v1alpha1.Decision) func(*Decided) {
	return func(d *Decided) { d.Spec.Decision = decision }
}

func ofDigest(digest string) func(*Decided) { return func(d *Decided) { d.Spec.Digest = digest } }
func holding(t *metav1.Time) func(*Decided) { return func(d *Decided) { d.Spec.ExpiresAt = *t } }
func may(a Answer) func(*Decided)           { return func(d *Decided) { d.MayApprove = a } }
func inGroup(group string) func(*Decided) {
	return func(d *Decided) { d.Spec.Approver.Groups = []string{group} }
}

// decided asks about a path on which some have decided.
func decided(p *v1alpha1.DelegationPath, decisions ...Decided) Input {
	return but(ask(p), func(i *Input) { i.Facts.Approval = Approval{Digest: shownDigest, Decisions: decisions} })
}

// TestEvaluateApproval: only what enough people who may approved, as it is and in time, begins.
func TestEvaluateApproval(t *testing.T) {
	one, two := v1alpha1.ApprovalRule{Count: 1}, v1alpha1.ApprovalRule{Count: 2}
	excludes := func(user string, in Input) Input {
		return but(in, func(i *Input) { i.Facts.Approval.Excluded = map[string]string{user: "made a hop"} })
	}
	user := func(name string) v1alpha1.ApproverRef {
		return v1alpha1.ApproverRef{Kind: v1alpha1.ApproverUser, Name: name}
	}
	enough := decided(needing(two), by("bob"), by("carol"))
	missing := []fault{{Reason: v1alpha1.ReasonApprovalMissing}}
	good := decided(needing(one), by("bob"))
	throughAnother := decided(needing(one, func(p *v1alpha1.DelegationPath) { p.Spec.Origin.DeclaredBy = "BOB" }), by("bob"))
	bot := "system:serviceaccount:portal:bot"
	named := v1alpha1.ApprovalRule{Count: 1, Approvers: []v1alpha1.ApproverRef{user(bot), {Kind: v1alpha1.ApproverGroup, Name: "leads"}}}
	lead := decided(needing(named), by("bob", inGroup("leads")))
	nobody := v1alpha1.ApprovalRule{Count: 1, Approvers: []v1alpha1.ApproverRef{}}
	checkDenials(t, map[string]denial{
		"nobody has decided":              {in: decided(needing(one)), twin: good, want: missing},
		"one of two":                      {in: decided(needing(two), by("bob")), twin: enough, want: missing},
		"one person twice":                {in: decided(needing(two), by("bob"), by("bob")), twin: enough, want: missing},
		"one person in two spellings":     {in: decided(needing(two), by("bob@x"), by("Bob@X")), twin: good, want: missing},
		"who may not":                     {in: decided(needing(one), by("bob", may(Answer{Outcome: Deny}))), twin: good, want: missing},
		"the origin":                      {in: decided(needing(one), by("alice@example.com")), twin: good, want: missing},
		"the origin, spelled another way": {in: decided(needing(one), by("Alice@Example.COM")), twin: good, want: missing},
		"who made a hop":                  {in: excludes("bob", good), twin: good, want: missing},
		"who named the origin":            {in: throughAnother, twin: good, want: missing},
		"the identity of a hop":           {in: decided(needing(one), by("system:serviceaccount:agents:dhop-x.1.2")), twin: good, want: missing},
		"a machine":                       {in: decided(needing(one), by(bot)), twin: decided(needing(named), by(bot)), want: missing},
		"a node":                          {in: decided(needing(one), by("system:node:a")), twin: good, want: missing},
		"who is not among the approvers":  {in: decided(needing(named), by("bob")), twin: lead, want: missing},
		"a list of approvers without any": {in: decided(needing(nobody), by("bob")), twin: good, want: missing},
		"another text": {
			in: decided(needing(one), by("bob", ofDigest("sha256:2222"))), twin: good, want: []fault{{Reason: v1alpha1.ReasonApprovalStale}},
		},
		"an approval that has ended": {
			in: decided(needing(one), by("bob", holding(at(-time.Second)))), twin: good, want: []fault{{Reason: v1alpha1.ReasonApprovalExpired}},
		},
		"an approval that ends now": {
			in: decided(needing(one), by("bob", holding(at(0)))), twin: good, want: []fault{{Reason: v1alpha1.ReasonApprovalExpired}},
		},
		"somebody denied it": {
			in: decided(needing(one), by("bob"), by("carol", decides(v1alpha1.DecisionDenied))), twin: good,
			want: []fault{{Reason: v1alpha1.ReasonApprovalDenied}},
		},
		"somebody denied an earlier text": {
			in:   decided(needing(one), by("bob"), by("carol", decides(v1alpha1.DecisionDenied), ofDigest("sha256:2222"))),
			twin: decided(needing(one), by("bob"), by("carol", decides(v1alpha1.DecisionDenied), may(Answer{Outcome: Deny}))),
			want: []fault{{Reason: v1alpha1.ReasonApprovalDenied}},
		},
		"without a credential id, where one is required": {
			in: but(good, func(i *Input) { i.RequireCredential = true }),
			twin: but(decided(needing(one), by("bob", func(d *Decided) { d.Spec.Approver.CredentialID = "JTI=1" })),
				func(i *Input) { i.RequireCredential = true }),
			want: missing,
		},
		"a risk that nobody approved": {
			in:   decided(needing(one, accepts(v1alpha1.RiskExec), func(p *v1alpha1.DelegationPath) { p.Spec.Approval = nil })),
			twin: decided(needing(one, accepts(v1alpha1.RiskStreams), func(p *v1alpha1.DelegationPath) { p.Spec.Approval = nil })),
			want: missing,
		},
		"a ceiling that asks for two": {
			in:   but(decided(needing(one), by("bob")), func(i *Input) { i.Facts.Terms.Approvals = 2 }),
			twin: but(decided(needing(one), by("bob"), by("carol")), func(i *Input) { i.Facts.Terms.Approvals = 2 }),
			want: missing,
		},
		"the request has waited too long": {
			in: decided(waiting(one, -72*time.Hour)), twin: decided(waiting(one, -71*time.Hour), by("bob")),
			want: []fault{{Reason: v1alpha1.ReasonExpired, Field: "spec.approval.within"}},
		},
		"an approval that came after that": {
			in:   decided(waiting(one, -72*time.Hour), by("bob", func(d *Decided) { d.CreationTimestamp = *at(time.Second) })),
			twin: decided(waiting(one, -71*time.Hour), by("bob")), want: []fault{{Reason: v1alpha1.ReasonExpired, Field: "spec.approval.within"}},
		},
	})
	if v := Evaluate(good); !v.NotAfter.Equal(noon.Add(30 * time.Minute)) {
		t.Errorf("a path that was approved until then ends %s", v.NotAfter)
	}
	for name, in := range map[string]Input{
		"an unanswered approver": decided(needing(one), by("bob", may(Answer{Detail: "away"}))),
		"an unanswered denial": decided(needing(one), by("bob"),
			by("carol", decides(v1alpha1.DecisionDenied), may(Answer{Detail: "away"}))),
		"an unknown digest": but(good, func(i *Input) { i.Facts.Approval.Digest = "" }),
		"an unknown fact":   but(good, func(i *Input) { i.Facts.Approval.Unknown = "away" }),
		"unknown terms":     but(good, func(i *Input) { i.Facts.Terms.Unknown = "away" }),
	} {
		if v := Evaluate(in); v.Outcome != Undetermined {
			t.Errorf("%s: %s", name, v.Message())
		}
	}
}

// waiting is a path that has waited for approval, as it is, since then.
func waiting(rule v1alpha1.ApprovalRule, since time.Duration) *v1alpha1.DelegationPath {
	return needing(rule, func(p *v1alpha1.DelegationPath) {
		p.Status.Approval = &v1alpha1.ApprovalStatus{State: v1alpha1.ApprovalPending, RequestedDigest: shownDigest, RequestedAt: at(since)}
	})
}

// TestApprovalIsSpent: the write that makes a path active takes its approvals into the status, where they stay whatever becomes of the
// records; what they approved is that text alone.
func TestApprovalIsSpent(t *testing.T) {
	p := needing(v1alpha1.ApprovalRule{Count: 1})
	pending := decided(p)
	p.Status = *PathStatus(pending, Evaluate(pending), nil, noon)
	if a := p.Status.Approval; a.State != v1alpha1.ApprovalPending || a.RequestedDigest != shownDigest || p.Status.Digest != shownDigest {
		t.Fatalf("what waits says %+v", p.Status)
	}
	in := decided(p, by("bob"))
	p.Status = *PathStatus(in, Evaluate(in), nil, noon)
	a := p.Status.Approval
	if a.State != v1alpha1.ApprovalApproved || a.SpentAt == nil || len(a.Decisions) != 1 || p.Status.ActiveSince == nil {
		t.Fatalf("what was approved says %+v", a)
	}
	last := p.Status.History[len(p.Status.History)-1]
	if last.Actor != "bob" || !strings.Contains(last.Message, `approved by "bob" until 2026`) {
		t.Errorf("the history says %+v", last)
	}
	if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionApproved); c.Reason != string(v1alpha1.ReasonApproved) {
		t.Errorf("Approved is %+v", c)
	}
	gone := decided(p)
	if v := Evaluate(gone); v.Outcome != Allow {
		t.Errorf("once the record is gone: %s", v.Message())
	}
	changed := but(gone, func(i *Input) { i.Facts.Approval.Digest = "sha256:2222" })
	v := Evaluate(changed)
	if v.Reason("") != v1alpha1.ReasonApprovalStale {
		t.Errorf("once it was changed: %s", v.Message())
	}
	a = PathStatus(changed, v, nil, noon).Approval
	if a.State != v1alpha1.ApprovalPending || a.RequestedDigest != "sha256:2222" {
		t.Errorf("once it was changed, the status says %+v", a)
	}
	author := but(gone, func(i *Input) { i.Facts.Approval.Excluded = map[string]string{"bob": "made a hop"} })
	if v := Evaluate(author); v.Outcome != Deny {
		t.Errorf("once who approved has made a hop of it: %s", v.Message())
	}
	later := but(gone, func(i *Input) { i.Now = noon.Add(31 * time.Minute) })
	if v := Evaluate(later); v.Reason("") != v1alpha1.ReasonExpired {
		t.Errorf("once the approval has ended: %s", v.Message())
	}
}

// TestDenialIsFinal: it stays when its record is deleted, and when the path is changed.
func TestDenialIsFinal(t *testing.T) {
	p := needing(v1alpha1.ApprovalRule{Count: 1})
	in := decided(p, by("carol", decides(v1alpha1.DecisionDenied)))
	p.Status = *PathStatus(in, Evaluate(in), nil, noon)
	for name, in := range map[string]Input{
		"its record is gone": decided(p), "it is approved": decided(p, by("bob")),
		"it is changed":                 but(decided(p, by("bob")), func(i *Input) { i.Facts.Approval.Digest = "sha256:2222" }),
		"nothing is known":              but(decided(p), func(i *Input) { i.Facts.Approval = Approval{} }),
		"it takes no approval any more": decided(altered(p, func(p *v1alpha1.DelegationPath) { p.Spec.Approval = nil })),
	} {
		if v := Evaluate(in); v.Reason("") != v1alpha1.ReasonApprovalDenied || v.Findings[0].Actor != "carol" {
			t.Errorf("once %s: %s", name, v.Message())
		}
	}
	if !HasEnded(decided(p)) {
		t.Error("a denied path has not ended")
	}
	// Whoever takes the approval out of a path before the denial is in its status comes too late.
	without := but(ask(path(neverActive)), func(i *Input) {
		i.Facts.Approval.Decisions = []Decided{by("carol", decides(v1alpha1.DecisionDenied))}
	})
	v := Evaluate(without)
	a := PathStatus(without, v, nil, noon).Approval
	if v.Reason("") != v1alpha1.ReasonApprovalDenied || a == nil || a.State != v1alpha1.ApprovalDenied {
		t.Errorf("a denial of a path that needs no approval any more: %s, %+v", v.Message(), a)
	}
}

// TestApprovedAgain: a path that is again what was approved says so, so that who approved it still uses nothing of it; and one of which
// more is demanded waits anew.
func TestApprovedAgain(t *testing.T) {
	p := needing(v1alpha1.ApprovalRule{Count: 1})
	next := func(in Input) { p.Status = *PathStatus(in, Evaluate(in), nil, noon) }
	next(decided(p, by("bob")))
	next(but(decided(p), func(i *Input) { i.Facts.Approval.Digest = "sha256:2222" }))
	if HasApproved(p, "bob") || p.Status.Approval.State != v1alpha1.ApprovalPending {
		t.Fatalf("what was changed says %+v", p.Status.Approval)
	}
	next(decided(p))
	if !HasApproved(p, "bob") {
		t.Errorf("what is as it was says %+v", p.Status.Approval)
	}
	more := but(decided(p), func(i *Input) { i.Facts.Terms.Approvals = 2 })
	p.Status.Approval.RequestedAt, p.Status.Approval.Decisions[0].ExpiresAt = at(-100*time.Hour), *at(100 * time.Hour)
	if v := Evaluate(more); v.Reason("") != v1alpha1.ReasonApprovalMissing {
		t.Errorf("of which more is demanded, long after it was approved: %s", v.Message())
	}
	next(more)
	if a := p.Status.Approval; !a.RequestedAt.Time.Equal(noon) || a.State != v1alpha1.ApprovalPending {
		t.Errorf("of which more is demanded says %+v", a)
	}
}

// TestSpentApprovalIsNotUsedAgain: not for a hop that was made anew with the same text, nor for an earlier text that comes back after
// another was approved.
func TestSpentApprovalIsNotUsedAgain(t *testing.T) {
	p := needing(v1alpha1.ApprovalRule{Count: 1})
	uid := func(uid string, created time.Duration) func(*Decided) {
		return func(d *Decided) { d.UID, d.CreationTimestamp = types.UID(uid), *at(created) }
	}
	of := func(newest time.Duration, digest string, decisions ...Decided) Input {
		return but(decided(p, decisions...), func(i *Input) {
			i.Facts.Approval.Newest, i.Facts.Approval.Digest, i.Now = noon.Add(newest), digest, noon.Add(time.Minute)
		})
	}
	first, extra := by("bob", uid("first", -time.Minute)), by("dave", uid("extra", -time.Second))
	in := decided(p, first)
	p.Status = *PathStatus(in, Evaluate(in), nil, noon)
	anew := of(time.Second, shownDigest, first, extra)
	if v := Evaluate(anew); v.Reason("") != v1alpha1.ReasonApprovalStale {
		t.Errorf("once a hop was made anew: %s", v.Message())
	}
	if v := Evaluate(of(time.Second, shownDigest, first, by("bob", uid("new", time.Second)))); v.Outcome != Allow {
		t.Errorf("once that was approved: %s", v.Message())
	}
	other := of(-time.Hour, "sha256:2222", first, by("carol", ofDigest("sha256:2222"), uid("second", 30*time.Second)))
	p.Status = *PathStatus(other, Evaluate(other), nil, noon)
	if v := Evaluate(of(-time.Hour, shownDigest, first, extra)); v.Reason("") != v1alpha1.ReasonApprovalStale {
		t.Errorf("once the first text comes back: %s", v.Message())
	}
	ahead := needing(v1alpha1.ApprovalRule{Count: 1})
	in = but(decided(ahead, by("bob", uid("ahead", 4*time.Second))), func(i *Input) { i.Facts.Approval.Newest = noon.Add(3 * time.Second) })
	ahead.Status = *PathStatus(in, Evaluate(in), nil, noon)
	in.Path = ahead
	if v := Evaluate(in); v.Outcome != Allow || !ahead.Status.Approval.SpentAt.Time.Equal(noon.Add(4*time.Second)) {
		t.Errorf("where the clock of the API server is ahead: %s", v.Message())
	}
}

func altered(p *v1alpha1.DelegationPath, change func(*v1alpha1.DelegationPath)) *v1alpha1.DelegationPath {
	p = p.DeepCopy()
	change(p)
	return p
}

// TestNobodyUsesWhatTheyApproved: nor by another spelling of their name.
func TestNobodyUsesWhatTheyApproved(t *testing.T) {
	p := path()
	p.Spec.Approval = &v1alpha1.ApprovalRule{Count: 1}
	p.Status.Approval = &v1alpha1.ApprovalStatus{
		State: v1alpha1.ApprovalApproved, SpentAt: at(-time.Minute), ApprovedDigest: shownDigest,
		Decisions: []v1alpha1.RecordedDecision{{UID: "1", Approver: "bob", ExpiresAt: *at(time.Hour)}},
	}
	h := hop("isolate")
	with := func(user string) Input {
		in := but(ask(p, h), func(i *Input) { i.Facts.Approval.Digest = shownDigest })
		return run(in, func(w *Workload) { w.By = user })
	}
	checkDenials(t, map[string]denial{
		"who approved":                    {in: with("bob"), twin: with("carol"), want: []fault{{Reason: v1alpha1.ReasonNotPermittedToUse}}},
		"who approved, spelled otherwise": {in: with("BOB"), twin: with("carol"), want: []fault{{Reason: v1alpha1.ReasonNotPermittedToUse}}},
	})
}

// TestTerms: what a platform team writes on a ceiling binds each path that uses it; what cannot be read binds all the more.
func TestTerms(t *testing.T) {
	terms := func(annotations map[string]string) Terms {
		var terms Terms
		for key, value := range annotations {
			terms.Add("payments", map[string]string{v1alpha1.GroupName + "/" + key: value})
		}
		return terms
	}
	with := func(annotations map[string]string, options ...pathOption) Input {
		return but(ask(path(options...)), func(i *Input) { i.Facts.Terms = terms(annotations) })
	}
	lasting := func(l v1alpha1.Lifetime) pathOption {
		return func(p *v1alpha1.DelegationPath) { p.Spec.Lifetime = l }
	}
	hour := &metav1.Duration{Duration: time.Hour}
	deep := func(n int32) pathOption {
		return func(p *v1alpha1.DelegationPath) { p.Spec.Hops = &v1alpha1.HopBounds{MaxDepth: n} }
	}
	exceeds := []fault{{Reason: v1alpha1.ReasonLifetimeExceedsCeiling, Field: "spec.lifetime.duration"}}
	checkDenials(t, map[string]denial{
		"a lifetime beyond it": {
			in: with(map[string]string{"max-lifetime": "59m"}, lasting(v1alpha1.Lifetime{Duration: hour})), want: exceeds,
			twin: with(map[string]string{"max-lifetime": "1h"}, lasting(v1alpha1.Lifetime{Duration: hour})),
		},
		"a lifetime without a duration": {
			in: with(map[string]string{"max-lifetime": "2h"}, lasting(v1alpha1.Lifetime{NotAfter: at(time.Hour)})), want: exceeds,
			twin: with(map[string]string{"max-lifetime": "2h"}, lasting(v1alpha1.Lifetime{NotAfter: at(time.Hour), Duration: hour})),
		},
		"a chain beyond it": {
			in: with(map[string]string{"max-depth": "2"}, deep(3)), twin: with(map[string]string{"max-depth": "2"}, deep(2)),
			want: []fault{{Reason: v1alpha1.ReasonDepthExceeded, Field: "spec.hops.maxDepth"}},
		},
	})
	for key, values := range map[string][]string{
		"requires-approval": {"yes", "-1", "9", ""}, "max-lifetime": {"1", "-1h", "a day"}, "max-depth": {"0", "deep"},
	} {
		for _, value := range values {
			if v := Evaluate(with(map[string]string{key: value})); v.Outcome != Undetermined {
				t.Errorf("%s: %q is taken for %s", key, value, v.Message())
			}
		}
	}
	for range 20 {
		var unreadable Terms
		unreadable.Add("a", map[string]string{v1alpha1.AnnotationRequiresApproval: "?", v1alpha1.AnnotationMaxLifetime: "?"})
		unreadable.Add("b", map[string]string{v1alpha1.AnnotationMaxDepth: "?"})
		if !strings.Contains(unreadable.Unknown, "requires-approval of ClusterRole a") {
			t.Fatalf("of three that cannot be read, it says %q", unreadable.Unknown)
		}
	}
	var strictest Terms
	strictest.Add("a", map[string]string{v1alpha1.AnnotationRequiresApproval: "2", v1alpha1.AnnotationMaxLifetime: "2h"})
	strictest.Add("b", map[string]string{v1alpha1.AnnotationRequiresApproval: "true", v1alpha1.AnnotationMaxLifetime: "1h"})
	if want := (Terms{Approvals: 2, MaxLifetime: time.Hour, LifetimeOf: "b"}); strictest != want {
		t.Errorf("of two ceilings: %+v, want %+v", strictest, want)
	}
}

// TestDigest: the order of keys and of hops does not matter, what decides does, and what is for show does not.
func TestDigest(t *testing.T) {
	spec := func(change ...func(map[string]any)) SpecOf {
		m := map[string]any{"scope": map[string]any{"a": "b"}, "lifetime": map[string]any{"duration": "60m"}, "reason": "x"}
		for _, c := range change {
			c(m)
		}
		return SpecOf{Namespace: "n", Name: "p", Spec: Decisive(m)}
	}
	of := func(path SpecOf, hops ...SpecOf) string {
		digest, err := Digest(path, hops)
		if err != nil {
			t.Fatal(err)
		}
		return digest
	}
	a, b := SpecOf{Namespace: "n", Name: "a", Spec: map[string]any{}}, SpecOf{Namespace: "n", Name: "b", Spec: map[string]any{"x": "<&>"}}
	base := of(spec(), a, b)
	if len(base) != 71 {
		t.Errorf("a digest is %q", base)
	}
	same := map[string]string{
		"hops in another order": of(spec(), b, a),
		"another reason":        of(spec(func(m map[string]any) { m["reason"] = "y" }), a, b),
		"suspended":             of(spec(func(m map[string]any) { m["suspend"] = true }), a, b),
	}
	other := map[string]string{
		"no hops":          of(spec()),
		"one hop":          of(spec(), a),
		"another duration": of(spec(func(m map[string]any) { m["lifetime"] = map[string]any{"duration": "1h"} }), a, b),
		"another name":     of(SpecOf{Namespace: "n", Name: "q", Spec: spec().Spec}, a, b),
	}
	for name, digest := range same {
		if digest != base {
			t.Errorf("%s has another digest", name)
		}
	}
	for name, digest := range other {
		if digest == base {
			t.Errorf("%s has the same digest", name)
		}
	}
}

// TestClosedRequests: what has ended waits for nobody any more, and is not among what waits.
func TestClosedRequests(t *testing.T) {
	for name, end := range map[string]func(*v1alpha1.DelegationPath){
		"revoked": func(p *v1alpha1.DelegationPath) { p.Spec.Revoked = revoked("enough") },
		"expired": func(p *v1alpha1.DelegationPath) { p.Status.Approval.RequestedAt = at(-73 * time.Hour) },
	} {
		p := waiting(v1alpha1.ApprovalRule{Count: 1}, -time.Hour)
		end(p)
		in := decided(p)
		next := PathStatus(in, Evaluate(in), nil, noon)
		c := meta.FindStatusCondition(next.Conditions, v1alpha1.ConditionApproved)
		if next.Approval.State != v1alpha1.ApprovalClosed || c.Status != metav1.ConditionFalse {
			t.Errorf("once it was %s: %+v, %+v", name, next.Approval, c)
		}
	}
	// Who approved a path is told, also once it was revoked and nothing is asked any more.
	p := path(func(p *v1alpha1.DelegationPath) {
		p.Spec.Revoked = revoked("enough")
		p.Status.Approval = &v1alpha1.ApprovalStatus{
			State: v1alpha1.ApprovalApproved, SpentAt: at(-time.Minute), ApprovedDigest: shownDigest,
			Decisions: []v1alpha1.RecordedDecision{{UID: "1", Approver: "carol", ExpiresAt: *at(time.Hour)}},
		}
	})
	in := Input{Now: noon, Path: p}
	next := PathStatus(in, Evaluate(in), nil, noon)
	if c := meta.FindStatusCondition(next.Conditions, v1alpha1.ConditionApproved); c.Reason != string(v1alpha1.ReasonApproved) {
		t.Errorf("once it was revoked: %+v", c)
	}
}
