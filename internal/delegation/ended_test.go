package delegation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestFinalIsLatched: what ended because of another object stays ended when that object is deleted or changed.
func TestFinalIsLatched(t *testing.T) {
	p, child := path(), hop("isolate", withParent("triage"))
	parent := hop("triage", hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.Revoked = revoked("false alarm") }))
	ended := ask(p, parent, child)
	next := PinReferences(ended, Evaluate(ended))
	if next.Ended == nil || next.Ended.Reason != v1alpha1.ReasonRevoked || !next.Ended.At.Equal(at(0)) {
		t.Fatalf("latched: %+v", next.Ended)
	}
	child.Status = *next
	for name, in := range map[string]Input{
		"while it is revoked":              ended,
		"the parent is valid":              ask(p, hop("triage"), child),
		"the parent is deleted":            ask(p, child),
		"the path is deleted":              ask(nil, hop("triage"), child),
		"later, for another final reason":  ask(path(withPathLifetime(until(0))), hop("triage"), child),
		"and a child of it ends, too":      ask(p, hop("triage"), child, hop("report", withParent("isolate"))),
		"and whatever else may be unknown": but(ask(p, hop("triage"), child), func(i *Input) { i.Facts = Facts{} }),
	} {
		t.Run(name, func(t *testing.T) {
			v := Evaluate(in)
			if v.Outcome != Deny || v.Class() != v1alpha1.ClassFinal {
				t.Errorf("%s: %s", v.Outcome, v.Message())
			}
			if in.Chain.Last() == child {
				if diff := cmp.Diff(next.Ended, PinReferences(in, v).Ended); diff != "" {
					t.Errorf("latched anew (-first +now):\n%s", diff)
				}
			}
		})
	}
}

// TestOnlyFinalIsLatched: what waits, or can be fixed, comes back.
func TestOnlyFinalIsLatched(t *testing.T) {
	suspend := true
	for name, in := range map[string]Input{
		"valid":        ask(path(), hop("isolate")),
		"suspended":    ask(path(pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Suspend = &suspend })), hop("isolate")),
		"too wide":     ask(path(), hop("isolate", withScope(podsIn("billing", "get")))),
		"undetermined": but(ask(path(), hop("isolate")), func(i *Input) { i.Facts = Facts{} }),
		"without path": ask(nil, hop("isolate")),
	} {
		if ended := PinReferences(in, Evaluate(in)).Ended; ended != nil {
			t.Errorf("%s: %+v", name, ended)
		}
	}
}

// TestHasEnded asks no fact.
func TestHasEnded(t *testing.T) {
	noFacts := func(in Input) Input {
		in.Facts = Facts{}
		return in
	}
	revokedPath := path(pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Revoked = revoked("x") }))
	for name, c := range map[string]struct {
		in   Input
		want bool
	}{
		"valid":            {in: ask(path(), hop("isolate"))},
		"a revoked path":   {in: ask(revokedPath, hop("isolate")), want: true},
		"past its end":     {in: ask(path(withPathLifetime(until(-time.Second))), hop("isolate")), want: true},
		"a path by itself": {in: ask(path(withPathLifetime(until(0)))), want: true},
		"no path":          {in: ask(nil, hop("isolate"))},
	} {
		if got := HasEnded(noFacts(c.in)); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
		if v := Evaluate(noFacts(c.in)); c.want && len(v.Findings) != 1 {
			t.Errorf("%s: %s", name, v.Message())
		}
	}
}

// TestEndedPathsStayEnded: a clock that is set back brings nothing back, neither a lifetime nor an approval that has ended.
func TestEndedPathsStayEnded(t *testing.T) {
	spent := needing(v1alpha1.ApprovalRule{Count: 1})
	approved := decided(spent, by("bob"))
	spent.Status = *PathStatus(approved, Evaluate(approved), nil, noon)
	for name, p := range map[string]*v1alpha1.DelegationPath{"its lifetime": path(), "its approval": spent} {
		late := but(decided(p), func(i *Input) { i.Now = noon.Add(2 * time.Hour) })
		v := Evaluate(late)
		p.Status = *PathStatus(late, v, nil, late.Now)
		if v.Reason("") != v1alpha1.ReasonExpired || p.Status.Ended == nil {
			t.Fatalf("at the end of %s: %s, %+v", name, v.Message(), p.Status.Ended)
		}
		if back := Evaluate(decided(p)); back.Reason("") != v1alpha1.ReasonExpired {
			t.Errorf("after the end of %s, with a clock that was set back: %s", name, back.Message())
		}
	}
}
