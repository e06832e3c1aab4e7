package delegation

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestOriginAuthorizedHasReasonsOfItsOwn: a revoked path is no reason to say that it is active, nor that its origin lost
// anything.
func TestOriginAuthorizedHasReasonsOfItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		findings []Finding
		notAsked bool
		want     string
	}{
		"allowed":          {want: "True OriginAuthorized"},
		"suspended":        {findings: []Finding{{Reason: v1alpha1.ReasonSuspended}}, want: "True OriginAuthorized"},
		"revoked":          {findings: []Finding{{Reason: v1alpha1.ReasonRevoked}}, notAsked: true, want: "Unknown Revoked"},
		"no origin":        {findings: []Finding{{Reason: v1alpha1.ReasonOriginUnauthorized}}, want: "False OriginUnauthorized"},
		"too little":       {findings: []Finding{{Reason: v1alpha1.ReasonScopeExceedsOrigin}}, want: "False ScopeExceedsOrigin"},
		"an open question": {findings: []Finding{{Reason: v1alpha1.ReasonUndetermined}}, want: "Unknown Undetermined"},
	} {
		v := Verdict{Outcome: Allow, Findings: c.findings}
		if len(c.findings) > 0 {
			v.Outcome = Deny
		}
		in := ask(path())
		if c.notAsked {
			in.Facts.Origin = Answer{}
		}
		got := meta.FindStatusCondition(PathStatus(in, v, nil, noon).Conditions, v1alpha1.ConditionOriginAuthorized)
		if state := string(got.Status) + " " + got.Reason; state != c.want {
			t.Errorf("%s: %s, want %s", name, state, c.want)
		}
	}
}

// TestHistoryHasTransitionsOnly, each with who caused it, and no more than the schema allows.
func TestHistoryHasTransitionsOnly(t *testing.T) {
	p := path()
	p.Generation, p.Status.ObservedGeneration = 2, 1
	p.Annotations = map[string]string{
		v1alpha1.AnnotationChangedBy: "alice@example.com", v1alpha1.AnnotationChangedGeneration: "2",
	}
	p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Reason: string(v1alpha1.ReasonActive)}}
	if next := PathStatus(ask(p), Verdict{Outcome: Allow, NotAfter: noon}, nil, noon); len(next.History) != 0 {
		t.Errorf("nothing changed: %+v", next.History)
	}
	revoked := Verdict{Outcome: Deny, Findings: []Finding{{Reason: v1alpha1.ReasonRevoked, Actor: "bob@example.com"}}}
	suspended := Verdict{Outcome: Deny, Findings: []Finding{{Reason: v1alpha1.ReasonSuspended}}}
	p.Status.History = make([]v1alpha1.Transition, maxHistory)
	for want, v := range map[string]Verdict{"bob@example.com": revoked, "alice@example.com": suspended} {
		history := PathStatus(ask(p), v, nil, noon).History
		if last := history[len(history)-1]; len(history) != maxHistory || last.Actor != want || last.Reason != v.Findings[0].Reason {
			t.Errorf("%d transitions, the last one %+v, want one by %s", len(history), last, want)
		}
	}
	p.Status.ObservedGeneration = 2
	if history := PathStatus(ask(p), suspended, nil, noon).History; history[len(history)-1].Actor != Controller {
		t.Errorf("without a change: %+v", history[len(history)-1])
	}
}

// TestWhoIsUnknown: a change that no webhook stamped is nobody's, and least of all that of who changed the path before.
func TestWhoIsUnknown(t *testing.T) {
	suspended := Verdict{Outcome: Deny, Findings: []Finding{{Reason: v1alpha1.ReasonSuspended}}}
	stamped := map[string]string{v1alpha1.AnnotationChangedBy: bob, v1alpha1.AnnotationChangedGeneration: "2"}
	byOlder := map[string]string{v1alpha1.AnnotationChangedBy: bob}
	denied := func(f Finding) Verdict { return Verdict{Outcome: Deny, Findings: []Finding{f}} }
	for name, c := range map[string]struct {
		annotations map[string]string
		generation  int64
		verdict     Verdict
		want        string
	}{
		"stamped":                  {annotations: stamped, generation: 2, verdict: suspended, want: bob},
		"stamped one change ago":   {annotations: stamped, generation: 3, verdict: suspended, want: Unknown},
		"never stamped":            {generation: 3, verdict: suspended, want: Unknown},
		"stamped by an older one":  {annotations: byOlder, generation: 2, verdict: suspended, want: Unknown},
		"no change, but an expiry": {generation: 1, verdict: denied(Finding{Reason: v1alpha1.ReasonExpired}), want: Controller},
		"revoked, stamped": {
			annotations: stamped, generation: 3, want: alice,
			verdict: denied(Finding{Reason: v1alpha1.ReasonRevoked, Actor: alice}),
		},
		"revoked, not stamped": {
			annotations: stamped, generation: 1, want: Unknown, verdict: denied(Finding{Reason: v1alpha1.ReasonRevoked}),
		},
	} {
		p := path()
		p.Generation, p.Status.ObservedGeneration, p.Annotations = c.generation, 1, c.annotations
		if got := PathActor(p, c.verdict); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestStatusIsBounded: whatever an author writes, the status fits in its schema, and the last transition is in it.
func TestStatusIsBounded(t *testing.T) {
	p := path()
	p.Annotations = map[string]string{v1alpha1.AnnotationChangedBy: strings.Repeat("ü", 100_000)}
	hostile := strings.Repeat("<", 100_000) // six bytes each, as it is stored
	for i := range 100 {
		p.Generation++
		reason := []v1alpha1.Reason{v1alpha1.ReasonScopeExceedsOrigin, v1alpha1.ReasonSuspended}[i%2]
		v := Verdict{Outcome: Deny, Findings: []Finding{{Reason: reason, Message: hostile}}}
		if i == 99 {
			v.Findings[0].Actor = hostile
		}
		p.Status = *PathStatus(ask(p), v, nil, noon)
		raw, err := json.Marshal(p.Status)
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > 64<<10 {
			t.Fatalf("the status has %d bytes after %d transitions", len(raw), i+1)
		}
		for _, c := range p.Status.Conditions {
			if len(c.Message) > maxMessage {
				t.Fatalf("%s has a message of %d bytes", c.Type, len(c.Message))
			}
		}
		history := p.Status.History
		if last := history[len(history)-1]; last.Reason != reason || utf8.RuneCountInString(last.Actor) > 1024 || len(last.Message) > 1024 {
			t.Fatalf("the last of %d transitions: %s, by %d, %d", len(history), last.Reason, len(last.Actor), len(last.Message))
		}
	}
}

// TestSuspendedIsNeverReady: whatever else is found, and also where nothing else is.
func TestSuspendedIsNeverReady(t *testing.T) {
	for name, c := range map[string]struct {
		suspend bool
		want    string
	}{
		"suspended": {suspend: true, want: "False Suspended"},
		"resumed":   {want: "True Active"},
	} {
		in := ask(path(pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Suspend = &c.suspend })))
		in.Path.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: "True", Reason: "Active"}}
		ready := meta.FindStatusCondition(PathStatus(in, Evaluate(in), nil, noon).Conditions, v1alpha1.ConditionReady)
		if got := string(ready.Status) + " " + ready.Reason; got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}
