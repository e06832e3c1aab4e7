package webhooks

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// unreadable is a cluster that answers no question about hops.
type unreadable struct{ client.Reader }

func (unreadable) Get(context.Context, types.NamespacedName, client.Object, ...client.GetOption) error {
	return errors.New("etcd is gone")
}

// TestUnansweredRequestsAreRecorded: a request that is denied before there is a verdict has an audit line, too, with what
// was known of path and hop.
func TestUnansweredRequestsAreRecorded(t *testing.T) {
	hop := below("isolate", "")
	hop.UID = "h1"
	stored := hop.DeepCopy()
	stored.Status.PathUID = "p1"
	claimed := hop.DeepCopy()
	claimed.Status.PathUID, claimed.Spec.Workload = "another", &v1alpha1.Workload{}
	for name, test := range map[string]struct {
		handler                    func(Options) admission.Handler
		kind                       string
		object, old                any
		wantCode                   int32
		wantPath, wantUID, wantHop string
	}{
		"a hop whose chain cannot be read": {
			handler: func(o Options) admission.Handler { return newDelegationValidator(o) }, kind: "DelegationHop", object: claimed, old: stored,
			wantCode: http.StatusInternalServerError, wantPath: "agents/contain", wantUID: "p1", wantHop: "agents/isolate",
		},
		"a path that cannot be decoded": {
			handler: func(o Options) admission.Handler { return newDelegationValidator(o) }, kind: "DelegationPath", object: "{",
			wantCode: http.StatusBadRequest,
		},
		"a kind that is not ours": {
			handler: func(o Options) admission.Handler { return newDelegationValidator(o) }, kind: "Pod", object: pod(),
			wantCode: http.StatusBadRequest,
		},
		"a kind that is not stamped": {
			handler: func(o Options) admission.Handler { return newDelegationMutator(o) }, kind: "Pod", object: pod(),
			wantCode: http.StatusBadRequest,
		},
		"a path that cannot be stamped": {
			handler: func(o Options) admission.Handler { return newDelegationMutator(o) }, kind: "DelegationPath", object: "{",
			wantCode: http.StatusBadRequest,
		},
		"a pod that cannot be decoded": {
			handler: func(o Options) admission.Handler { return newPodMutator(o) }, kind: "Pod", object: "{", wantCode: http.StatusBadRequest,
		},
		"a pod whose hop cannot be read": {
			handler: func(o Options) admission.Handler { return newPodMutator(o) }, kind: "Pod", object: pod(),
			wantCode: http.StatusInternalServerError, wantHop: "agents/isolate",
		},
		"a pod to be validated that cannot be decoded": {
			handler: func(o Options) admission.Handler { return newWorkloadValidator(o) }, kind: "Pod", object: "{", wantCode: http.StatusBadRequest,
		},
		"a pod to be validated whose hop cannot be read": {
			handler: func(o Options) admission.Handler { return newWorkloadValidator(o) }, kind: "Pod", object: pod(),
			wantCode: http.StatusInternalServerError, wantHop: "agents/isolate",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Gather.Cache, w.Gather.Live = unreadable{w.Gather.Cache}, unreadable{w.Gather.Live}
			got := test.handler(w.Options).Handle(t.Context(), request(t, "alice", test.kind, test.object, test.old))
			if got.Allowed || got.Result.Code != test.wantCode {
				t.Fatalf("allowed %t: %+v", got.Allowed, got.Result)
			}
			lines := w.lines()
			if len(lines) != 1 {
				t.Fatalf("audit lines %+v", lines)
			}
			if l := lines[0]; l.Decision != "Deny" || l.Reason != v1alpha1.ReasonUndetermined || l.Message != message(got) ||
				l.Path != test.wantPath || l.PathUID != test.wantUID || l.Hop != test.wantHop {
				t.Errorf("audit line %+v", l)
			}
		})
	}
}
