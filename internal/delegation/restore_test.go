package delegation

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// restored is a hop as a backup brings it back: without status, with its labels.
func restored(h *v1alpha1.DelegationHop, record string) *v1alpha1.DelegationHop {
	h = h.DeepCopy()
	h.Status, h.UID = v1alpha1.DelegationHopStatus{}, "another"
	h.Labels = map[string]string{v1alpha1.LabelRecord: record}
	RestoreHop(h)
	return h
}

// TestRestore: what has begun, ended or been used up is not forgotten with the status; and a label that belongs to another
// object, or is none of ours, means nothing.
func TestRestore(t *testing.T) {
	used := hop("isolate", allowing(2, 0), func(h *v1alpha1.DelegationHop) { h.Spec.Lifetime = new(lasting(15 * time.Minute)) })
	BeginUse(&used.Status, used, useOf("a"), noon)
	record := HopRecord(used, &used.Status)
	if problems := validation.IsValidLabelValue(record); len(problems) > 0 || record == "" {
		t.Fatalf("%q is no label: %v", record, problems)
	}
	back := restored(used, record)
	if begun(back.Status.Uses) != 1 || !back.Status.ActiveSince.Equal(used.Status.ActiveSince) {
		t.Errorf("restored %+v", back.Status)
	}
	p := path()
	if v := Evaluate(but(ask(p, back), func(in *Input) { in.Now = noon.Add(10 * time.Minute) })); v.Reason("") != v1alpha1.ReasonExpired {
		t.Errorf("20 minutes after it began it is %s", v.Reason(""))
	}
	ended := used.Status.DeepCopy()
	ended.Ended = &v1alpha1.Ended{Reason: v1alpha1.ReasonRevoked}
	if v := Evaluate(ask(p, restored(used, HopRecord(used, ended)))); v.Reason("") != v1alpha1.ReasonRevoked {
		t.Errorf("what was revoked is %s", v.Reason(""))
	}
	other := hop("other", allowing(2, 0))
	for name, label := range map[string]string{
		"none": "", "of another object": HopRecord(other, &other.Status), "of nobody": "x.1.1", "cut off": record[:8],
		"without numbers": strings.Split(record, ".")[0] + ".a.b",
	} {
		if back := restored(used, label); back.Status.ActiveSince != nil || back.Status.Uses != nil {
			t.Errorf("a label %s restores %+v", name, back.Status)
		}
	}
	live := used.DeepCopy()
	live.Labels = map[string]string{v1alpha1.LabelRecord: HopRecord(used, ended)}
	RestoreHop(live)
	if live.Status.Ended != nil {
		t.Error("a label changes a status that exists")
	}
}

func TestRestorePath(t *testing.T) {
	p := path()
	expired := *PathStatus(but(ask(p), func(in *Input) { in.Now = noon.Add(time.Hour) }),
		Evaluate(but(ask(p), func(in *Input) { in.Now = noon.Add(time.Hour) })), nil, noon)
	for name, test := range map[string]struct {
		status v1alpha1.DelegationPathStatus
		after  time.Duration
		want   v1alpha1.Reason
	}{
		"one that lives":                         {status: p.Status},
		"one that would have expired":            {status: p.Status, after: 40 * time.Minute, want: v1alpha1.ReasonExpired},
		"one that had expired and was prolonged": {status: expired, want: v1alpha1.ReasonExpired},
	} {
		back := path()
		back.Labels = map[string]string{v1alpha1.LabelRecord: PathRecord(p, &test.status)}
		back.Status = v1alpha1.DelegationPathStatus{}
		RestorePath(back)
		if v := Evaluate(but(ask(back), func(in *Input) { in.Now = noon.Add(test.after) })); v.Reason("") != test.want {
			t.Errorf("%s is %q", name, v.Reason(""))
		}
	}
}
