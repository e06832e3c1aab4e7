package delegation

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func deniedFor(reasons ...v1alpha1.Reason) Verdict {
	v := Verdict{Outcome: Deny}
	for _, reason := range reasons {
		v.Findings = append(v.Findings, Finding{Reason: reason, Message: "so it is"})
	}
	return v
}

// A hop that waits longer than its duration for its first Allow was once called expired for good.
func TestRecordEnd(t *testing.T) {
	for name, c := range map[string]struct {
		recorded, since *metav1.Time
		notAfter        time.Duration
		want            *metav1.Time
	}{
		"it began":                       {since: at(0), notAfter: time.Hour, want: at(time.Hour)},
		"it began, and its end is moved": {recorded: at(time.Minute), since: at(0), notAfter: time.Hour, want: at(time.Hour)},
		"an end that has passed stays": {
			recorded: at(-time.Minute), since: at(-time.Hour), notAfter: time.Hour, want: at(-time.Minute),
		},
		"what has not begun has no end":                  {notAfter: time.Minute},
		"what has not begun can have missed its time":    {notAfter: -time.Minute, want: at(-time.Minute)},
		"what has not begun is not moved by each look":   {recorded: nil, notAfter: time.Second},
		"nothing is known":                               {since: at(0)},
		"a record stays while nothing is known about it": {recorded: at(time.Minute), since: at(0), want: at(time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			v := Verdict{Outcome: Deny}
			if c.notAfter != 0 {
				v.NotAfter = noon.Add(c.notAfter)
			}
			got := c.recorded
			recordEnd(&got, v, c.since, noon)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("recorded end (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSetHopConditions(t *testing.T) {
	conflict := apierrors.NewServerTimeout(schema.GroupResource{Resource: "roles"}, "patch", 1)
	network := errors.New("read tcp 127.0.0.1:40001->127.0.0.1:6443: connection reset by peer")
	for name, c := range map[string]struct {
		verdict     Verdict
		account     string
		applied     Applied
		wantReady   string // status and reason
		wantGranted string
		wantMessage string // a part of Granted's
	}{
		"granted": {
			verdict: Verdict{Outcome: Allow}, account: "dhop-a", wantReady: "True Granted", wantGranted: "True Granted",
		},
		"not granted completely": {
			verdict: Verdict{Outcome: Allow}, account: "dhop-a", applied: Applied{Err: conflict},
			wantReady: "False NotYetValid", wantGranted: "Unknown NotYetValid", wantMessage: "the grant is not complete yet: The patch operation",
		},
		"the network fails: its error, which changes, is not reported": {
			verdict: Verdict{Outcome: Allow}, account: "dhop-a", applied: Applied{Err: network},
			wantReady: "False NotYetValid", wantGranted: "Unknown NotYetValid", wantMessage: "the grant is not complete yet: it is tried again",
		},
		"denied": {
			verdict: Verdict{Outcome: Allow}, applied: Applied{Denied: &Finding{Reason: v1alpha1.ReasonSecretTaken, Message: "another team's"}},
			wantReady: "False SecretTaken", wantGranted: "False SecretTaken", wantMessage: "another team's",
		},
		"withdrawn": {
			verdict: deniedFor(v1alpha1.ReasonRevoked), wantReady: "False Revoked", wantGranted: "False Revoked",
		},
		"not withdrawn completely": {
			verdict: deniedFor(v1alpha1.ReasonRevoked), account: "dhop-a", applied: Applied{Err: conflict},
			wantReady: "False Revoked", wantGranted: "Unknown Revoked", wantMessage: "the withdrawal is not complete yet",
		},
		"undetermined for a while: what exists stays": {
			verdict: Verdict{Findings: []Finding{{Reason: v1alpha1.ReasonUndetermined}}}, account: "dhop-a", applied: Applied{
				InEffect: metav1.ConditionTrue,
			},
			wantReady: "False Undetermined", wantGranted: "True Undetermined",
		},
		"undetermined, and part of the grant is gone": {
			verdict: Verdict{Findings: []Finding{{Reason: v1alpha1.ReasonUndetermined}}}, account: "dhop-a",
			applied: Applied{InEffect: metav1.ConditionFalse}, wantReady: "False Undetermined", wantGranted: "False Undetermined",
		},
		"undetermined, and what exists could not be observed": {
			verdict: Verdict{Findings: []Finding{{Reason: v1alpha1.ReasonUndetermined}}}, account: "dhop-a",
			applied: Applied{InEffect: metav1.ConditionUnknown}, wantReady: "False Undetermined", wantGranted: "Unknown Undetermined",
		},
		"undetermined from the beginning": {
			verdict:   Verdict{Findings: []Finding{{Reason: v1alpha1.ReasonUndetermined}}},
			wantReady: "False Undetermined", wantGranted: "False Undetermined",
		},
	} {
		t.Run(name, func(t *testing.T) {
			isolate := hop("isolate")
			next := &v1alpha1.DelegationHopStatus{ServiceAccountName: c.account}
			SetHopConditions(next, ask(path(), isolate), c.verdict, c.applied)
			ready, granted := meta.FindStatusCondition(next.Conditions, v1alpha1.ConditionReady), meta.FindStatusCondition(
				next.Conditions, v1alpha1.ConditionGranted,
			)
			if got := string(ready.Status) + " " + ready.Reason; got != c.wantReady {
				t.Errorf("Ready is %s, want %s", got, c.wantReady)
			}
			if got := string(granted.Status) + " " + granted.Reason; got != c.wantGranted {
				t.Errorf("Granted is %s, want %s", got, c.wantGranted)
			}
			if !strings.Contains(granted.Message, c.wantMessage) {
				t.Errorf("Granted says %q, want %q in it", granted.Message, c.wantMessage)
			}
		})
	}
}

func TestFactsTooOld(t *testing.T) {
	for name, c := range map[string]struct {
		since *metav1.Time
		want  bool
	}{
		"no open question":   {},
		"open for a moment":  {since: at(-time.Minute)},
		"open for too long":  {since: at(-10 * time.Minute), want: true},
		"open for very long": {since: at(-time.Hour), want: true},
	} {
		if got := FactsTooOld(&v1alpha1.DelegationHopStatus{UndeterminedSince: c.since}, noon, 10*time.Minute); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// TestUndeterminedSince is a fact of its own: it begins with the first open question, stays, and ends with an answer,
// whatever the conditions of an earlier pass say.
func TestUndeterminedSince(t *testing.T) {
	unknown := Verdict{Findings: []Finding{{Reason: v1alpha1.ReasonUndetermined}}}
	longAgo := []metav1.Condition{{Type: v1alpha1.ConditionValid, Status: metav1.ConditionUnknown, LastTransitionTime: *at(-time.Hour)}}
	for name, c := range map[string]struct {
		verdict    Verdict
		since      *metav1.Time
		conditions []metav1.Condition
		want       *metav1.Time
	}{
		"valid":                               {verdict: Verdict{Outcome: Allow, NotAfter: noon.Add(time.Hour)}},
		"the first open question":             {verdict: unknown, want: at(0)},
		"it stays open":                       {verdict: unknown, since: at(-time.Minute), want: at(-time.Minute)},
		"answered":                            {verdict: Verdict{Outcome: Allow, NotAfter: noon.Add(time.Hour)}, since: at(-time.Minute)},
		"denied":                              {verdict: deniedFor(v1alpha1.ReasonRevoked), since: at(-time.Minute)},
		"a condition of an earlier pass lies": {verdict: unknown, conditions: longAgo, want: at(0)},
	} {
		isolate := hop("isolate")
		isolate.Status.UndeterminedSince, isolate.Status.Conditions = c.since, c.conditions
		if diff := cmp.Diff(c.want, PinReferences(ask(path(), isolate), c.verdict).UndeterminedSince); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
