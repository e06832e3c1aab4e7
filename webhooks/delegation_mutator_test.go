package webhooks

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestStamp says what the delegation mutator patches, by the paths of the patch.
func TestStamp(t *testing.T) {
	alice, bob := object{"user": "alice"}, object{"user": "bob"}
	spec := object{"reason": "Alert", "lifetime": object{"duration": "10m"}, "scope": object{"audiences": []any{"vault"}}}
	owned, byBob := with(spec, object{"origin": alice}), object{"user": "alice", "declaredBy": "bob"}
	revoked := func(r object) object { return with(owned, object{"revoked": r}) }
	revokedBefore := object{"reason": "false alarm", "by": "alice", "at": "2026-01-01T00:00:00Z"}
	changedBy := func(who string) object { return object{v1alpha1.AnnotationChangedBy: who} }

	for name, test := range map[string]struct {
		kind            string
		user            string
		spec, old       object
		notes, oldNotes object // annotations
		mayImpersonate  string
		wantSubject     any
		wantRevoked     any
		wantChangedBy   any
	}{
		"a path without an origin": {user: "bob", spec: spec, wantSubject: bob, wantChangedBy: "bob"},
		"a path with null as origin": {
			user: "bob", spec: with(spec, object{"revoked": nil}), wantSubject: bob, wantChangedBy: "bob",
		},
		"a path with an origin, to be validated": {user: "bob", spec: owned, wantSubject: byBob, wantChangedBy: "bob"},
		"a forged note of who changed it": {
			user: "bob", spec: spec, notes: changedBy("alice"), wantSubject: bob, wantChangedBy: "bob",
		},
		"nothing changed": {
			user: "bob", spec: owned, old: owned, notes: changedBy("alice"), oldNotes: changedBy("alice"), wantSubject: alice,
			wantChangedBy: "alice",
		},
		"nothing changed but the note": {
			user: "bob", spec: owned, old: owned, notes: changedBy("carol"), oldNotes: changedBy("alice"), wantSubject: alice,
			wantChangedBy: "alice",
		},
		"a note where there was none": {user: "bob", spec: owned, old: owned, notes: changedBy("carol"), wantSubject: alice},
		"the reason": {
			user: "bob", spec: with(owned, object{"reason": "drill"}), old: owned, wantSubject: alice, wantChangedBy: "bob",
		},
		"the reason, and the origin left out": {
			user: "bob", spec: with(spec, object{"reason": "drill"}), old: owned, wantSubject: alice, wantChangedBy: "bob",
		},
		"suspended": {
			user: "bob", spec: with(owned, object{"suspend": true}), old: owned, wantSubject: alice, wantChangedBy: "bob",
		},
		"the lifetime": {
			user: "bob", spec: with(owned, object{"lifetime": object{"duration": "1h"}}), old: owned, wantSubject: bob,
			wantChangedBy: "bob",
		},
		"the lifetime, by one who may be alice": {
			user: "bob", mayImpersonate: "alice", spec: with(owned, object{"lifetime": object{"duration": "1h"}}), old: owned,
			wantSubject: byBob, wantChangedBy: "bob",
		},
		"the lifetime, and the origin left out": {
			user: "bob", mayImpersonate: "alice", spec: with(spec, object{"lifetime": object{"duration": "1h"}}), old: owned,
			wantSubject: bob, wantChangedBy: "bob",
		},
		"who declared the origin, claimed by somebody": {
			user: "bob", spec: with(owned, object{"origin": with(alice, object{"declaredBy": "carol"})}), wantSubject: byBob, wantChangedBy: "bob",
		},
		"who declared the origin, changed": {
			user: "bob", spec: with(owned, object{"origin": with(alice, object{"declaredBy": "carol"})}), old: with(owned, object{"origin": byBob}),
			wantSubject: byBob,
		},
		"an origin that was declared, as it was applied": {
			user: "carol", spec: owned, old: with(owned, object{"origin": byBob}), wantSubject: byBob,
		},
		"the lifetime, by the origin": {
			user: "alice", spec: with(owned, object{"lifetime": object{"duration": "1h"}}), old: owned, wantSubject: alice,
			wantChangedBy: "alice",
		},
		"a field that this program does not know": {
			user: "bob", spec: with(owned, object{"onFailure": "StopPath"}), old: owned, wantSubject: bob, wantChangedBy: "bob",
		},
		"the origin, to be validated": {
			user: "bob", spec: with(owned, object{"origin": object{"user": "carol"}}), old: owned,
			wantSubject: object{"user": "carol", "declaredBy": "bob"}, wantChangedBy: "bob",
		},
		"a path without an origin, as it was": {user: "bob", spec: spec, old: spec, wantSubject: bob, wantChangedBy: "bob"},
		"a path without an origin, revoked": {user: "bob", spec: with(spec, object{"revoked": object{"reason": "x"}}), old: spec,
			wantRevoked: object{"reason": "x", "by": "bob", "at": "2026-07-01T12:00:00Z"}, wantChangedBy: "bob"},
		"revoked": {user: "bob", spec: revoked(object{"reason": "x"}), old: owned, wantSubject: alice,
			wantRevoked: object{"reason": "x", "by": "bob", "at": "2026-07-01T12:00:00Z"}, wantChangedBy: "bob"},
		"revoked in the name of another user, long ago": {
			user: "bob", spec: revoked(object{"reason": "x", "by": "alice", "at": "1999-01-01T00:00:00Z"}), old: owned,
			wantSubject: alice,
			wantRevoked: object{"reason": "x", "by": "bob", "at": "2026-07-01T12:00:00Z"}, wantChangedBy: "bob",
		},
		"born revoked": {user: "bob", spec: with(spec, object{"revoked": object{"reason": "x", "by": "alice"}}), wantSubject: bob,
			wantRevoked: object{"reason": "x", "by": "bob", "at": "2026-07-01T12:00:00Z"}, wantChangedBy: "bob"},
		"revoked again by a manifest": {
			user: "bob", spec: revoked(object{"reason": "false alarm"}), old: revoked(revokedBefore),
			oldNotes: changedBy("alice"), notes: changedBy("alice"),
			wantSubject: alice, wantRevoked: revokedBefore, wantChangedBy: "alice",
		},
		"a revocation taken over, which CEL denies": {
			user: "bob", spec: revoked(with(revokedBefore, object{"by": "bob"})), old: revoked(revokedBefore),
			wantSubject: alice,
			wantRevoked: with(revokedBefore, object{"by": "bob"}), wantChangedBy: "bob",
		},
		"a spec of another type, which the schema denies": {user: "bob", spec: object{"": "text"}},
		"a revocation of another type": {
			user: "bob", spec: with(owned, object{"revoked": "yes"}), wantSubject: byBob, wantRevoked: "yes",
			wantChangedBy: "bob",
		},
		"an origin of another type": {
			user: "bob", spec: with(owned, object{"origin": "alice"}), wantSubject: "alice", wantChangedBy: "bob",
		},
		"a hop without an author": {
			kind: "DelegationHop", user: "bob", spec: spec, wantSubject: bob, wantChangedBy: "bob",
		},
		"a hop's reason does not pass": {
			kind: "DelegationHop", user: "bob", spec: with(spec, object{"author": alice, "reason": "y"}),
			old: with(spec, object{"author": alice}), wantSubject: bob, wantChangedBy: "bob",
		},
		"a hop is revoked": {
			kind: "DelegationHop", user: "bob", spec: with(spec, object{"author": alice, "revoked": object{"reason": "x"}}),
			old: with(spec, object{"author": alice}), wantSubject: alice,
			wantRevoked: object{"reason": "x", "by": "bob", "at": "2026-07-01T12:00:00Z"}, wantChangedBy: "bob",
		},
	} {
		t.Run(name, func(t *testing.T) {
			kind, field := "DelegationPath", "origin"
			if test.kind != "" {
				kind, field = test.kind, "author"
			}
			whole := func(spec, notes object) object {
				o := object{
					"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": kind,
					"metadata": object{"name": "x", "annotations": notes}, "spec": spec,
				}
				if text, ok := spec[""]; ok {
					o["spec"] = text
				}
				return o
			}
			w := newWorld(t)
			w.allowed["bob impersonate users/"+test.mayImpersonate] = true
			var old any
			if test.old != nil {
				old = whole(test.old, test.oldNotes)
			}
			given := whole(test.spec, test.notes)
			got := newDelegationMutator(w.Options).Handle(t.Context(), request(t, test.user, kind, given, old))
			if !got.Allowed {
				t.Fatal(message(got))
			}
			want := map[string]any{"subject": test.wantSubject, "revoked": test.wantRevoked, "changedBy": test.wantChangedBy}
			stamped := applyAll(t, given, got.Patches)
			spec, _ := stamped["spec"].(object)
			notes, _ := stamped["metadata"].(object)["annotations"].(object)
			have := map[string]any{"subject": spec[field], "revoked": spec["revoked"], "changedBy": notes[v1alpha1.AnnotationChangedBy]}
			if diff := cmp.Diff(want, have); diff != "" {
				t.Error(diff)
			}
			for _, p := range got.Patches {
				if !slices.ContainsFunc([]string{"/spec/" + field, "/spec/revoked", "/metadata/annotations"}, func(allowed string) bool {
					return strings.HasPrefix(p.Path, allowed)
				}) {
					t.Errorf("the patch touches %s", p.Path)
				}
			}
		})
	}
}

func TestStampGroups(t *testing.T) {
	many := func(n int) []string {
		var groups []string
		for i := range n {
			groups = append(groups, fmt.Sprintf("g%d", i))
		}
		return groups
	}
	long := func(n int) []string {
		groups := many(n)
		for i, group := range groups {
			groups[i] = group + strings.Repeat("x", 1024-len(group))
		}
		return groups
	}
	spec := object{"reason": "Alert"}
	for name, test := range map[string]struct {
		groups     []string
		spec       object
		want       int
		wantDenied string
	}{
		"groups that the name implies are not listed": {
			groups: []string{"system:authenticated", "sre", "system:serviceaccounts", "system:serviceaccounts:agents"},
			spec:   spec, want: 1,
		},
		"a group that is there twice is listed once": {groups: []string{"sre", "sre"}, spec: spec, want: 1},
		"as many as can be stamped":                  {groups: many(256), spec: spec, want: 256},
		"one more":                                   {groups: many(257), spec: spec, wantDenied: "you are in 257 groups"},
		"a group with a name of 284 characters":      {groups: []string{strings.Repeat("g", 284)}, spec: spec, want: 1},
		"a group with a name of 1,024 characters":    {groups: []string{strings.Repeat("g", 1024)}, spec: spec, want: 1},
		"a group with a longer name": {
			groups: []string{strings.Repeat("g", 1025)}, spec: spec, wantDenied: "a name of 1025 characters",
		},
		"groups with long names":            {groups: long(97), spec: spec, wantDenied: "the names of your groups have 99328 bytes"},
		"as long as can be stamped":         {groups: long(96), spec: spec, want: 96},
		"one more, with an origin declared": {groups: many(257), spec: with(spec, object{"origin": object{"user": "alice"}})},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			given := object{"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": "DelegationPath", "metadata": object{}, "spec": test.spec}
			req := request(t, "alice", "DelegationPath", given, nil)
			req.UserInfo = authenticationv1.UserInfo{Username: "alice", Groups: test.groups}
			got := newDelegationMutator(w.Options).Handle(t.Context(), req)
			if !strings.Contains(message(got), test.wantDenied) || got.Allowed != (test.wantDenied == "") {
				t.Fatalf("allowed %t: %q", got.Allowed, message(got))
			}
			if test.wantDenied != "" {
				if lines := w.lines(); len(lines) != 1 || lines[0].Decision != "Deny" {
					t.Errorf("audit lines %+v", lines)
				}
				return
			}
			spec, _ := applyAll(t, given, got.Patches)["spec"].(object)
			origin, _ := spec["origin"].(object)
			groups, _ := origin["groups"].([]any)
			if len(groups) != test.want {
				t.Errorf("stamped %d groups", len(groups))
			}
		})
	}
}

// TestTakingOverIsReported: a user who becomes the origin of a path by changing it is warned in the answer.
func TestTakingOverIsReported(t *testing.T) {
	path := func(spec object) object {
		return object{
			"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": "DelegationPath",
			"metadata": object{"name": "contain"}, "spec": spec,
		}
	}
	old := object{"reason": "Alert", "lifetime": object{"duration": "1h"}, "origin": object{"user": "alice"}}
	for name, test := range map[string]struct {
		spec object
		want string
	}{
		"a shorter lifetime": {
			spec: with(old, object{"lifetime": object{"duration": "30m"}}),
			want: `the origin of DelegationPath "contain" is now "bob", in place of "alice"`,
		},
		"another reason": {spec: with(old, object{"reason": "Drill"})},
	} {
		w := newWorld(t)
		got := newDelegationMutator(w.Options).Handle(t.Context(), request(t, "bob", "DelegationPath", path(test.spec), path(old)))
		if warned := strings.Join(got.Warnings, ""); !got.Allowed || (warned == "") != (test.want == "") || !strings.Contains(warned, test.want) {
			t.Errorf("%s: allowed %t, warned %q", name, got.Allowed, warned)
		}
	}
}

// TestStampsTheGeneration says for which generation of the object the stamp of who changed it is.
func TestStampsTheGeneration(t *testing.T) {
	spec := object{"reason": "Alert", "origin": object{"user": "bob"}}
	suspended := with(spec, object{"suspend": true})
	path := func(spec, notes object) object {
		return object{
			"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": "DelegationPath",
			"metadata": object{"name": "contain", "generation": int64(7), "annotations": notes}, "spec": spec,
		}
	}
	stamps := func(by, generation string) object {
		return object{v1alpha1.AnnotationChangedBy: by, v1alpha1.AnnotationChangedGeneration: generation}
	}
	for name, test := range map[string]struct {
		given object
		old   any
		want  object
	}{
		"created":               {given: path(spec, nil), want: stamps("bob", "1")},
		"changed":               {given: path(suspended, stamps("alice", "7")), old: path(spec, stamps("alice", "7")), want: stamps("bob", "8")},
		"changed, never before": {given: path(suspended, nil), old: path(spec, nil), want: stamps("bob", "8")},
		"forged":                {given: path(spec, stamps("alice", "8")), old: path(spec, stamps("alice", "7")), want: stamps("alice", "7")},
		"removed":               {given: path(spec, nil), old: path(spec, stamps("alice", "7")), want: stamps("alice", "7")},
	} {
		w := newWorld(t)
		got := newDelegationMutator(w.Options).Handle(t.Context(), request(t, "bob", "DelegationPath", test.given, test.old))
		notes, _ := applyAll(t, test.given, got.Patches)["metadata"].(object)["annotations"].(object)
		if diff := cmp.Diff(test.want, notes); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestStampsGiveWay: revoking and suspending fit, whoever does it and whatever the author wrote into the object.
func TestStampsGiveWay(t *testing.T) {
	const full = 262144 // what the API server takes in annotations
	ends := map[string]object{"suspend": {"suspend": true}, "revoked": {"revoked": object{"reason": "x"}}}
	for name, test := range map[string]struct {
		user          string
		filler        int // bytes of an annotation
		padding       int // bytes of the spec
		wantChangedBy any
		wantBy        any
	}{
		"a name that fits": {user: "bob", wantChangedBy: "bob", wantBy: "bob"},
		"a name of 600": {
			user: strings.Repeat("b", 600), wantChangedBy: strings.Repeat("b", 600), wantBy: strings.Repeat("b", 600),
		},
		"a name that is longer": {
			user: strings.Repeat("ü", 2000), wantChangedBy: strings.Repeat("ü", 1023) + "…", wantBy: strings.Repeat("ü", 1023) + "…",
		},
		"annotations at the limit": {
			user: "bob", filler: full - len("filler"), wantBy: "bob",
		},
		"annotations with room for the note": {
			user: "bob", filler: full - len("filler") - len(v1alpha1.AnnotationChangedBy) - len("bob") -
				len(v1alpha1.AnnotationChangedGeneration) - len("1"),
			wantChangedBy: "bob", wantBy: "bob",
		},
		"an object almost as large as etcd takes": {user: "bob", padding: 1 << 20},
	} {
		for field, end := range ends {
			t.Run(name+", "+field, func(t *testing.T) {
				w := newWorld(t)
				whole := func(spec object) object {
					notes := object{v1alpha1.AnnotationChangedBy: "a"}
					if test.filler > 0 {
						notes = object{"filler": strings.Repeat("x", test.filler)}
					}
					return object{
						"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": "DelegationPath",
						"metadata": object{"name": "x", "annotations": notes}, "spec": spec,
					}
				}
				old := object{"reason": "Alert", "origin": object{"user": "alice"}, "padding": strings.Repeat("x", test.padding)}
				given := whole(with(old, end))
				got := newDelegationMutator(w.Options).Handle(t.Context(), request(t, test.user, "DelegationPath", given, whole(old)))
				if !got.Allowed {
					t.Fatal(message(got))
				}
				stamped := applyAll(t, given, got.Patches)
				notes, _ := stamped["metadata"].(object)["annotations"].(object)
				revoked, _ := stamped["spec"].(object)["revoked"].(object)
				want := map[string]any{"changedBy": test.wantChangedBy, "by": test.wantBy}
				if field == "suspend" {
					want["by"] = nil
				}
				if diff := cmp.Diff(want, map[string]any{"changedBy": notes[v1alpha1.AnnotationChangedBy], "by": revoked["by"]}); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}
