package delegation

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

func both(d, notAfter time.Duration) v1alpha1.Lifetime {
	return v1alpha1.Lifetime{Duration: &metav1.Duration{Duration: d}, NotAfter: at(notAfter)}
}

func TestLifetimesEnd(t *testing.T) {
	const minute, hour = time.Minute, time.Hour
	expired := func(nodes ...string) []fault {
		var faults []fault
		for _, node := range nodes {
			faults = append(faults, fault{v1alpha1.ReasonExpired, node, "spec.lifetime"})
		}
		return faults
	}
	// The path is active since 11:30, hops since 11:50.
	checkDenials(t, map[string]denial{
		"a path at the end of its duration": {
			in: ask(path(withPathLifetime(lasting(30 * minute)))), twin: ask(
				path(withPathLifetime(lasting(30*minute + time.Second))),
			), want: expired(""),
		},
		"a path at its very end, and one nanosecond before": {
			in:   ask(path(withPathLifetime(lasting(30 * minute)))),
			twin: but(ask(path(withPathLifetime(lasting(30*minute)))), func(i *Input) { i.Now = noon.Add(-1) }), want: expired(""),
		},
		"a path at its end in time, and one nanosecond before": {
			in: ask(path(withPathLifetime(until(0)))), twin: but(
				ask(path(withPathLifetime(until(0)))), func(i *Input) { i.Now = noon.Add(-1) },
			), want: expired(""),
		},
		"an end within a second counts from the second's start": {
			in: ask(path(withPathLifetime(until(999 * time.Millisecond)))), twin: ask(path(withPathLifetime(until(time.Second)))), want: expired(""),
		},
		"of duration and end the earlier duration": {
			in: ask(path(withPathLifetime(both(29*minute, hour)))), twin: ask(path(withPathLifetime(both(31*minute, hour)))), want: expired(""),
		},
		"of duration and end the earlier end": {
			in: ask(path(withPathLifetime(both(hour, -minute)))), twin: ask(path(withPathLifetime(both(hour, minute)))), want: expired(""),
		},
		"an end in the year one is an end like others": {
			in: ask(path(withPathLifetime(v1alpha1.Lifetime{NotAfter: &metav1.Time{}}))), twin: ask(
				path(withPathLifetime(until(minute))),
			), want: expired(""),
		},
		"an end in the first second of the year one": {
			in:   ask(path(), hop("isolate", withLifetime(v1alpha1.Lifetime{NotAfter: &metav1.Time{Time: time.Time{}.Add(1)}}))),
			twin: ask(path(), hop("isolate", withLifetime(until(minute)))), want: expired(""),
		},
		"an end that came before anything began": {
			in: ask(path(neverActive, withPathLifetime(both(hour, 0)))), twin: ask(
				path(neverActive, withPathLifetime(both(hour, minute))),
			), want: expired(""),
		},
		"a hop counts its duration from its own start": {
			in: ask(path(), hop("isolate", withLifetime(lasting(10*minute)))), twin: ask(
				path(), hop("isolate", withLifetime(lasting(11*minute))),
			), want: expired(""),
		},
		"a parent's end takes its child": {
			in:   ask(path(), hop("triage", withLifetime(lasting(10*minute))), hop("isolate", withParent("triage"))),
			twin: ask(path(), hop("triage", withLifetime(lasting(11*minute))), hop("isolate", withParent("triage"))), want: expired(triage),
		},
		"a path's end ends all, and is reported once": {
			in:   ask(path(withPathLifetime(until(0))), hop("triage"), hop("isolate", withParent("triage"))),
			twin: ask(path(withPathLifetime(until(minute))), hop("triage"), hop("isolate", withParent("triage"))), want: expired(thePath),
		},
		"two ends at two times are both reported": {
			in:   ask(path(withPathLifetime(until(-minute))), hop("isolate", withLifetime(until(-2*minute)))),
			twin: ask(path(withPathLifetime(until(2*minute))), hop("isolate", withLifetime(until(minute)))), want: expired(thePath, ""),
		},
		"an end on record stays though the path was given longer": {
			in: ask(path(pathEnded(at(0)))), twin: ask(path(pathEnded(at(time.Second)))), want: expired(""),
		},
		"an end on record stays though the hop was given longer": {
			in: ask(path(), hop("isolate", hopEnded(at(0)))), twin: ask(path(), hop("isolate", hopEnded(at(time.Second)))), want: expired(""),
		},
		"a parent's end on record takes its child": {
			in:   ask(path(), hop("triage", hopEnded(at(-minute))), hop("isolate", withParent("triage"))),
			twin: ask(path(), hop("triage", hopEnded(at(minute))), hop("isolate", withParent("triage"))), want: expired(triage),
		},
		"a path's end on record takes its hops": {
			in: ask(path(pathEnded(at(-minute))), hop("isolate", hopEnded(at(-minute)))), twin: ask(
				path(pathEnded(at(minute))), hop("isolate"),
			), want: expired(thePath),
		},
	})
}

func TestNotAfterIsTheEarliestEndOfTheChain(t *testing.T) {
	const minute, hour = time.Minute, time.Hour
	triage := func(l v1alpha1.Lifetime) *v1alpha1.DelegationHop { return hop("triage", withLifetime(l)) }
	isolate := func(l v1alpha1.Lifetime, options ...hopOption) *v1alpha1.DelegationHop {
		return hop("isolate", append(options, withParent("triage"), withLifetime(l))...)
	}
	for name, test := range map[string]struct {
		in   Input
		want time.Duration // from noon
	}{
		"a path that begins now":                  {ask(path(neverActive)), hour},
		"a path that began":                       {ask(path()), 30 * minute},
		"a path that ends before its duration":    {ask(path(withPathLifetime(both(hour, minute)))), minute},
		"a hop without a lifetime has its path's": {ask(path(), hop("isolate")), 30 * minute},
		"a hop that begins now": {
			ask(path(), hop("isolate", withoutStatus, withLifetime(lasting(15*minute)))), 15 * minute,
		},
		"a hop that began counts from then": {ask(path(), hop("isolate", withLifetime(lasting(15*minute)))), 5 * minute},
		"a hop that would outlast its path is cut": {
			ask(path(), hop("isolate", withoutStatus, withLifetime(lasting(45*minute)))), 30 * minute,
		},
		"a hop whose end is after its path's is cut": {ask(path(), hop("isolate", withLifetime(until(45*minute)))), 30 * minute},
		"the parent is the earliest":                 {ask(path(), triage(until(5*minute)), isolate(lasting(25*minute))), 5 * minute},
		"the child is the earliest":                  {ask(path(), triage(until(5*minute)), isolate(until(4*minute))), 4 * minute},
		"a child that begins now below an old parent": {
			ask(path(), triage(lasting(15*minute)), isolate(lasting(15*minute), withoutStatus)), 5 * minute,
		},
		"a grandchild without a lifetime has the least": {
			ask(path(), triage(until(5*minute)), isolate(until(4*minute)), hop("report", withParent("isolate"))), 4 * minute,
		},
		"parts of a second are cut off": {ask(path(withPathLifetime(until(minute + 999*time.Millisecond)))), minute},
		"a start within a second counts from its start": {but(
			ask(path(neverActive)), func(i *Input) { i.Now = noon.Add(999 * time.Millisecond) },
		), hour},
		"a later end on record does not make it longer": {ask(path(pathEnded(at(hour))), hop("isolate", hopEnded(at(hour)))), 30 * minute},
		"an earlier end on record may be made later":    {ask(path(pathEnded(at(minute)))), 30 * minute},
		"other time zones are the same time":            {ask(path(withPathLifetime(v1alpha1.Lifetime{NotAfter: inZone(at(minute))}))), minute},
		"where only the parent prevents it":             {ask(path(), triage(until(-minute)), isolate(until(minute))), -minute},
		"an end on record that has come stays":          {ask(path(pathEnded(at(-minute)))), -minute},
		"an end on record takes the child's along":      {ask(path(), hop("triage", hopEnded(at(-minute))), isolate(until(minute))), -minute},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(noon.Add(test.want), Evaluate(test.in).NotAfter); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func inZone(t *metav1.Time) *metav1.Time {
	z := metav1.NewTime(t.In(time.FixedZone("", 3600)))
	return &z
}

// TestWhatHasNotBegunHasNoEndOfItsOwn: a duration counts from the first Allow. Recording an end that is counted
// from a Deny would have a hop expire, for good, while it waits for its path.
func TestWhatHasNotBegunHasNoEndOfItsOwn(t *testing.T) {
	short := withLifetime(lasting(15 * time.Minute))
	suspend := true
	for name, test := range map[string]struct {
		in   Input
		want time.Time
	}{
		"a hop that waits for its path":        {in: ask(nil, hop("isolate", withoutStatus, short))},
		"a hop that waits for a path to begin": {in: ask(path(neverActive), hop("isolate", withoutStatus, short))},
		"a hop that waits for its parent to begin": {
			in:   ask(path(), hop("triage", withoutStatus), hop("isolate", withParent("triage"), withoutStatus, short)),
			want: noon.Add(30 * time.Minute),
		},
		"a hop that may not yet begin": {in: but(
			ask(path(), hop("isolate", withoutStatus, short)), func(i *Input) { i.Facts.Ceiling = Answer{Outcome: Deny} },
		), want: noon.Add(30 * time.Minute)},
		"a hop with open questions": {in: but(
			ask(path(), hop("isolate", withoutStatus, short)), func(i *Input) { i.Facts.Ceiling = Answer{} },
		), want: noon.Add(30 * time.Minute)},
		"a path that was suspended from the start": {in: ask(
			path(neverActive, pathSpec(func(s *v1alpha1.DelegationPathSpec) { s.Suspend = &suspend })),
		)},
		"a path whose end is a point in time": {in: but(
			ask(path(neverActive, withPathLifetime(both(time.Minute, time.Hour)))), func(i *Input) { i.Facts = Facts{} },
		), want: noon.Add(time.Hour)},
		"a hop that began and then lost its right": {in: but(
			ask(path(), hop("isolate", short)), func(i *Input) { i.Facts.Ceiling = Answer{Outcome: Deny} },
		), want: noon.Add(5 * time.Minute)},
	} {
		t.Run(name, func(t *testing.T) {
			v := Evaluate(test.in)
			if v.Outcome == Allow {
				t.Fatal("it is allowed")
			}
			if diff := cmp.Diff(test.want, v.NotAfter); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestNothingIsAllowedWithoutAnEnd: the schema demands a lifetime of a path; should one be without it all the same, what
// is granted below would never go.
func TestNothingIsAllowedWithoutAnEnd(t *testing.T) {
	endless := path(withPathLifetime(v1alpha1.Lifetime{}))
	for name, test := range map[string]struct {
		in       Input
		wantNode string
	}{
		"a path":                 {in: ask(endless)},
		"a hop":                  {in: ask(endless, hop("isolate")), wantNode: thePath},
		"a hop that has its own": {in: ask(endless, hop("isolate", withLifetime(until(time.Minute)))), wantNode: thePath},
	} {
		want := result{Undetermined, []fault{{v1alpha1.ReasonUndetermined, test.wantNode, "spec.lifetime"}}}
		if diff := cmp.Diff(want, evaluate(test.in)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestLifetimeIsNotLongerThanThoseAbove(t *testing.T) {
	const minute, hour = time.Minute, time.Hour
	for name, test := range map[string]struct {
		path, parent, hop v1alpha1.Lifetime
		wantDenied        bool
	}{
		"a longer duration than the path's":             {lasting(hour), lasting(hour), lasting(hour + 1), true},
		"a duration as long as the path's":              {lasting(hour), lasting(hour), lasting(hour), false},
		"a longer duration than the parent's":           {lasting(hour), lasting(15 * minute), lasting(16 * minute), true},
		"a duration as long as the parent's":            {lasting(hour), lasting(15 * minute), lasting(15 * minute), false},
		"a later end than the path's":                   {until(hour), until(hour), until(hour + time.Second), true},
		"the same end as the path's":                    {until(hour), until(hour), until(hour), false},
		"a later end than the parent's":                 {until(hour), until(minute), until(2 * minute), true},
		"an end and a duration cannot be compared":      {lasting(hour), lasting(hour), until(2 * hour), false},
		"a duration and an end cannot be compared":      {until(hour), until(hour), lasting(2 * hour), false},
		"of both, the duration is longer":               {both(hour, hour), both(hour, hour), both(2*hour, minute), true},
		"of both, the end is later":                     {both(hour, hour), both(hour, hour), both(minute, 2*hour), true},
		"a parent's other measure does not hide a path": {lasting(hour), until(hour), lasting(2 * hour), true},
	} {
		t.Run(name, func(t *testing.T) {
			v := Evaluate(
				ask(
					path(withPathLifetime(test.path)), hop("triage", withLifetime(test.parent)),
					hop("isolate", withParent("triage"), withLifetime(test.hop)),
				),
			)
			f, denied := v.Find(v1alpha1.ReasonLifetimeExceedsParent)
			if denied != test.wantDenied || denied && (f.Node != "" || f.Field != "spec.lifetime") {
				t.Errorf("denied %v: %+v", denied, v.Findings)
			}
		})
	}
}
