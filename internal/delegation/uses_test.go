package delegation

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func useOf(name string) v1alpha1.Use {
	return v1alpha1.Use{Kind: v1alpha1.WorkloadJob, Name: name, UID: name + "-uid", By: alice}
}

func allowing(maxUses int32, maxDuration time.Duration) hopOption {
	return func(h *v1alpha1.DelegationHop) {
		h.Spec.Workload.MaxUses = maxUses
		if maxDuration > 0 {
			h.Spec.Workload.MaxDuration = lasting(maxDuration).Duration
		}
	}
}

func TestBeginUse(t *testing.T) {
	const exhausted = v1alpha1.ReasonUsesExhausted
	for name, test := range map[string]struct {
		hop  *v1alpha1.DelegationHop
		live int // how many uses have begun before, none of which has ended
		use  string
		want v1alpha1.Reason
		sum  string
	}{
		"the first":                 {hop: hop("isolate", allowing(1, 0)), use: "a", sum: "1/1"},
		"one without a limit":       {hop: hop("isolate"), live: 3, use: "a", sum: "4"},
		"one too many":              {hop: hop("isolate", allowing(3, 0)), live: 3, use: "a", want: exhausted, sum: "3/3"},
		"one that is live":          {hop: hop("isolate", allowing(3, 0)), live: 3, use: "live-1", sum: "3/3"},
		"the last that may be live": {hop: hop("isolate"), live: 63, use: "a", sum: "64"},
		"one more than may be live": {hop: hop("isolate"), live: 64, use: "a", want: v1alpha1.ReasonTooManyLiveUses, sum: "64"},
		"a live one of as many":     {hop: hop("isolate"), live: 64, use: "live-7", sum: "64"},
		"one that is over": {
			hop: hop("isolate", allowing(0, time.Minute)), live: 1, use: "live-0", want: v1alpha1.ReasonDurationExceeded, sum: "1",
		},
		"one that is not over": {hop: hop("isolate", allowing(0, 3*time.Minute)), live: 1, use: "live-0", sum: "1"},
		"one of a hop without a workload": {
			hop: hop("isolate", func(h *v1alpha1.DelegationHop) { h.Spec.Workload = nil }), use: "a", want: v1alpha1.ReasonWorkloadNotAllowed,
		},
		"a limit below what began already": {hop: hop("isolate", allowing(1, 0)), live: 2, use: "a", want: exhausted, sum: "2/1"},
	} {
		t.Run(name, func(t *testing.T) {
			next := test.hop.Status.DeepCopy()
			for i := range test.live {
				limited := test.hop.DeepCopy()
				limited.Spec.Workload.MaxUses = 0
				if f := BeginUse(next, limited, useOf(fmt.Sprintf("live-%d", i)), noon.Add(-time.Minute)); f != nil {
					t.Fatal(f)
				}
			}
			f := BeginUse(next, test.hop, useOf(test.use), noon)
			if (f == nil) != (test.want == "") || f != nil && f.Reason != test.want {
				t.Errorf("%v, want %q", f, test.want)
			}
			summarizeUses(next, test.hop)
			if next.Uses == nil {
				return
			}
			if next.Uses.Summary != test.sum || next.Uses.Incarnation != 1 && len(next.Uses.Live) > 0 {
				t.Errorf("uses %+v, want %s", next.Uses, test.sum)
			}
			if wantLive := test.want != "" || LiveUse(next, useOf(test.use).UID) != nil; !wantLive {
				t.Error("the use is not live")
			}
		})
	}
}

func TestIsSpent(t *testing.T) {
	h := hop("isolate")
	next := h.Status.DeepCopy()
	spent := func(when string, want bool) {
		t.Helper()
		if got := IsSpent(h, next); got != want {
			t.Errorf("%s: %t", when, got)
		}
	}
	spent("before any use", false)
	BeginUse(next, h, useOf("a"), noon)
	BeginUse(next, h, useOf("b"), noon)
	spent("in use", false)
	EndUses(next, func(u v1alpha1.Use) bool { return u.Name == "a" })
	spent("while one of two is live", false)
	EndUses(next, func(v1alpha1.Use) bool { return true })
	spent("after the last one", true)
	h.Spec.Token = &v1alpha1.Token{}
	spent("with a token", false)
	h.Spec.Token = nil
	next.Incarnation++
	spent("as another identity", false)
}

func TestDeadline(t *testing.T) {
	v := Verdict{Outcome: Allow, NotAfter: noon.Add(10 * time.Minute)}
	use := useOf("a")
	use.Since.Time = noon.Add(-time.Minute)
	for name, test := range map[string]struct {
		hop  *v1alpha1.DelegationHop
		now  time.Time
		want int64
	}{
		"the hop ends first":    {hop: hop("isolate", allowing(0, time.Hour)), now: noon, want: 600},
		"the use ends first":    {hop: hop("isolate", allowing(0, 3*time.Minute)), now: noon, want: 120},
		"no limit on the use":   {hop: hop("isolate"), now: noon.Add(500 * time.Millisecond), want: 599},
		"nothing is left of it": {hop: hop("isolate", allowing(0, time.Minute)), now: noon.Add(time.Hour), want: 1},
	} {
		if got := Deadline(test.hop, use, v, test.now); got != test.want {
			t.Errorf("%s: %d, want %d", name, got, test.want)
		}
	}
}

// TestUsesInAVerdict: admission denies what would begin a use too many, not what belongs to one that is live.
func TestUsesInAVerdict(t *testing.T) {
	h := hop("isolate", allowing(1, 0))
	BeginUse(&h.Status, h, useOf("a"), noon)
	for begins, want := range map[bool]v1alpha1.Reason{true: v1alpha1.ReasonUsesExhausted, false: ""} {
		in := ask(path(), h)
		in.Workload = &Workload{
			Kinds: []v1alpha1.WorkloadKind{v1alpha1.WorkloadJob}, Template: true, Images: []string{image}, Begins: begins,
			Use: Answer{Outcome: Allow},
		}
		v := Evaluate(in)
		if got := v.Reason(""); got != want {
			t.Errorf("begins %t: %s", begins, got)
		}
		if len(v.Findings) > 0 && !in.DependsOnOthers(v.Findings[0]) {
			t.Error("a commit that allows more uses is held back")
		}
	}
}

func TestFreeze(t *testing.T) {
	first, below := hop("triage"), hop("isolate", func(h *v1alpha1.DelegationHop) {
		h.Spec.ParentRef, h.Spec.Author.User = &v1alpha1.ObjectRef{Name: "triage"}, bob
	})
	below.Status.ParentUID = "triage-uid"
	for name, test := range map[string]struct {
		data              map[string]string
		path, triage, hop bool // is frozen
		why               string
	}{
		"nothing named":          {data: map[string]string{}, path: true, triage: true, hop: true, why: "everything is frozen"},
		"a reason alone":         {data: map[string]string{"reason": "a drill"}, path: true, triage: true, hop: true, why: "a drill"},
		"an origin":              {data: map[string]string{"origins": bob + "\n" + alice}, path: true, triage: true, hop: true, why: "origin"},
		"another origin":         {data: map[string]string{"origins": bob}},
		"an author":              {data: map[string]string{"authors": bob}, hop: true, why: "author"},
		"the author above":       {data: map[string]string{"authors": alice}, triage: true, hop: true, why: "author"},
		"a namespace":            {data: map[string]string{"namespaces": " agents "}, triage: true, hop: true, why: "namespace"},
		"another namespace":      {data: map[string]string{"namespaces": "payments"}},
		"a key that is mistyped": {data: map[string]string{"origin": bob}, path: true, triage: true, hop: true, why: `key "origin" is none of`},
		"a key without a name":   {data: map[string]string{"authors": " \n"}, path: true, triage: true, hop: true, why: "names nothing"},
	} {
		t.Run(name, func(t *testing.T) {
			for what, in := range map[string]struct {
				in   Input
				want bool
			}{"path": {ask(path()), test.path}, "triage": {ask(path(), first), test.triage}, "isolate": {ask(path(), first, below), test.hop}} {
				in.in.Facts.Freeze = FreezeOf(test.data)
				f, frozen := Evaluate(in.in).Find(v1alpha1.ReasonFrozen)
				if frozen != in.want || frozen && !strings.Contains(f.Message, test.why) {
					t.Errorf("%s: %t %s", what, frozen, f.Message)
				}
			}
		})
	}
	in := ask(path(), first)
	in.Facts.Freeze.Unknown = "there was no answer"
	if v := Evaluate(in); v.Outcome != Undetermined {
		t.Errorf("without an answer: %+v", v)
	}
}
