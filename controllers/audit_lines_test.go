package controllers

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/util/workqueue"
	testclock "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/wayleave/wayleave/api/v1alpha1"
	"github.com/wayleave/wayleave/internal/audit"
	"github.com/wayleave/wayleave/internal/delegation"
	"github.com/wayleave/wayleave/internal/scope"
)

func linesOf(t *testing.T, b *bytes.Buffer) []audit.Record {
	t.Helper()
	var records []audit.Record
	for line := range strings.Lines(b.String()) {
		var r audit.Record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatal(err)
		}
		records = append(records, r)
	}
	return records
}

// TestDeletionIsRecordedOnce: the last that is known of a deleted path or hop is in its line, also where the first try to
// write it fails, and where another of the name exists already.
func TestDeletionIsRecordedOnce(t *testing.T) {
	path, hop, _ := grantedHop()
	hop.Status.PathUID = "path"
	for name, c := range map[string]struct {
		deleted client.Object
		exists  []client.Object
		want    audit.Record
	}{
		"a hop": {deleted: hop, exists: []client.Object{path}, want: audit.Record{
			Object: "DelegationHop agents/isolate", Reason: v1alpha1.ReasonHopNotFound, Message: "the hop was deleted",
			Path: "agents/contain", PathUID: "path", Hop: "agents/isolate", HopUID: "hop", Chain: []string{"agents/isolate"},
		}},
		"a hop whose path is deleted, too": {deleted: hop, want: audit.Record{
			Object: "DelegationHop agents/isolate", Reason: v1alpha1.ReasonHopNotFound, Message: "the hop was deleted",
			Path: "agents/contain", PathUID: "path", Hop: "agents/isolate", HopUID: "hop", Chain: []string{"agents/isolate"},
		}},
		"a path": {deleted: path, want: audit.Record{
			Object: "DelegationPath agents/contain", Reason: v1alpha1.ReasonPathNotFound, Message: "the path was deleted",
			Path: "agents/contain", PathUID: "path",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var lines bytes.Buffer
			r := reconciler(t, interceptor.Funcs{}, c.exists...)
			r.record.audit = audit.New(&failingOnce{Writer: &lines})
			kind, reconciles := kindHop, reconcile.Reconciler(r)
			if _, ok := c.deleted.(*v1alpha1.DelegationPath); ok {
				kind = kindPath
				reconciles = &PathReconciler{
					hops: r.hops, gather: r.gather, grants: r.grants, record: r.record, clock: testclock.NewFakePassiveClock(t0),
					unbinding: r.unbinding,
				}
			}
			q := workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())
			defer q.ShutDown()
			r.record.deletions(kind).Delete(t.Context(), event.DeleteEvent{Object: c.deleted}, q)
			if q.Len() != 1 {
				t.Fatalf("%d requests, want 1", q.Len())
			}
			request, _ := q.Get()
			if _, err := reconciles.Reconcile(t.Context(), request); err == nil {
				t.Error("the line that was not written is lost")
			}
			for range 2 {
				if _, err := reconciles.Reconcile(t.Context(), request); err != nil {
					t.Error(err)
				}
			}
			got := linesOf(t, &lines)
			c.want.Time, c.want.Verb, c.want.Actor, c.want.Decision = t0, audit.Delete, delegation.Unknown, "Deny"
			if len(got) != 1 || !bytes.Equal(mustJSON(t, got[0]), mustJSON(t, c.want)) {
				t.Errorf("lines %s, want %s", &lines, mustJSON(t, c.want))
			}
		})
	}
}

func mustJSON(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// answersDryRuns has a dry run answer what it would have stored, as the API server does and the fake client does not.
func answersDryRuns(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
	if applied := (&client.PatchOptions{}); len(applied.ApplyOptions(opts).DryRun) == 0 {
		return c.Patch(ctx, o, patch, opts...)
	}
	raw, err := patch.Data(o)
	if err != nil {
		return err
	}
	return json.Unmarshal(raw, o)
}

// TestGrantIsRecorded: each identity and each change of what it may do has one line. What is only made again has none.
func TestGrantIsRecorded(t *testing.T) {
	path, hop, _ := grantedHop()
	hop.Status.ServiceAccountName, hop.Status.Incarnation = "", 0
	r := reconciler(t, interceptor.Funcs{Patch: answersDryRuns}, path, hop)
	var lines bytes.Buffer
	r.record.audit = audit.New(&lines)
	may := func(verbs ...string) scope.Set {
		set, problems := scope.Parse(v1alpha1.Scope{Namespaced: []v1alpha1.NamespacedScope{{
			Namespaces: []string{"payments"}, Rules: []v1alpha1.ResourceRule{{APIGroups: []string{""}, Resources: []string{"pods"}, Verbs: verbs}},
		}}})
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return set
	}
	apply := func(may scope.Set) {
		t.Helper()
		current := &v1alpha1.DelegationHop{}
		if err := r.live.Get(t.Context(), client.ObjectKeyFromObject(hop), current); err != nil {
			t.Fatal(err)
		}
		p := &pass{}
		p.in, p.v, p.next = allowedFor(path, current)
		p.v.Scope, p.v.NotAfter = may, t0.Add(time.Hour)
		p.next.Uses = &v1alpha1.Uses{Summary: "1", Begun: new(int32(1)), Live: []v1alpha1.Use{{Kind: "Job", Name: "run", UID: "j", By: "alice"}}}
		if err := r.applyGrant(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		"incarnation 1, may get pods", "incarnation 1, may get, list pods", "incarnation 1, may get pods", "incarnation 2, may get pods",
	}
	apply(may("get"))
	apply(may("get"))
	apply(may("get", "list"))
	apply(may("get", "list"))
	apply(may("get"))
	current := &v1alpha1.DelegationHop{}
	if err := r.live.Get(t.Context(), client.ObjectKeyFromObject(hop), current); err != nil {
		t.Fatal(err)
	}
	account := account(path, current)
	if err := r.grants.Client.Delete(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	apply(may("get"))
	got := linesOf(t, &lines)
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d:\n%s", len(got), len(want), &lines)
	}
	for i, line := range got {
		incarnation, may, _ := strings.Cut(want[i], ", ")
		if line.Verb != audit.Grant || line.PathUID != "path" || line.HopUID != "hop" || line.Reason != v1alpha1.ReasonGranted ||
			!strings.HasPrefix(line.Message, incarnation+",") || !strings.Contains(line.Message, may+" in namespace payments") {
			t.Errorf("line %d is %+v, want %s", i, line, want[i])
		}
	}
}
