package delegation

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// among looks hops up in a list.
func among(hops ...*v1alpha1.DelegationHop) Lookup {
	return func(key types.NamespacedName) (*v1alpha1.DelegationHop, error) {
		for _, h := range hops {
			if HopKey(h) == key {
				return h, nil
			}
		}
		return nil, nil
	}
}

// tower is a chain of hops h1, h2, …, each below the one before it.
func tower(height int) []*v1alpha1.DelegationHop {
	hops := []*v1alpha1.DelegationHop{hop("h1")}
	for i := 2; i <= height; i++ {
		hops = append(hops, hop(fmt.Sprintf("h%d", i), withParent(fmt.Sprintf("h%d", i-1))))
	}
	return hops
}

func names(height int) []string {
	var n []string
	for _, h := range tower(height) {
		n = append(n, h.Name)
	}
	return n
}

func TestResolveChain(t *testing.T) {
	elsewhere := hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.PathRef.Name = "other" })
	notPinned := func(h *v1alpha1.DelegationHop) { h.Status.ParentUID = "" }
	parentIn := func(namespace, name string) hopOption {
		return func(h *v1alpha1.DelegationHop) {
			h.Spec.ParentRef = &v1alpha1.ObjectRef{Namespace: namespace, Name: name}
			h.Status.ParentUID = name + "-uid"
		}
	}
	broken := func(node, message string) []Finding {
		return []Finding{{Reason: v1alpha1.ReasonChainBroken, Node: node, Field: "spec.parentRef", Message: message}}
	}
	itself := func(broken []Finding) []Finding {
		broken[0].Itself = true
		return broken
	}
	waiting := []Finding{
		{
			Reason: v1alpha1.ReasonParentNotReady, Field: "spec.parentRef",
			Message: "path incident-response/contain-4711 has no hop agents/triage yet",
		},
	}
	for name, test := range map[string]struct {
		hop       *v1alpha1.DelegationHop
		others    []*v1alpha1.DelegationHop
		wantHops  []string
		wantBreak []Finding
	}{
		"a first hop is a chain by itself": {hop: hop("triage"), wantHops: []string{"triage"}},
		"ancestors are in order from the first to the last": {
			hop:      hop("report", withParent("isolate")),
			others:   []*v1alpha1.DelegationHop{hop("triage"), hop("isolate", withParent("triage"))},
			wantHops: []string{"triage", "isolate", "report"},
		},
		"a parent is found before anything was pinned": {
			hop: hop("isolate", withParent("triage"), notPinned), others: []*v1alpha1.DelegationHop{hop("triage")},
			wantHops: []string{"triage", "isolate"},
		},
		"a parent may live in another namespace": {
			hop:      hop("isolate", parentIn("incident-response", "triage")),
			others:   []*v1alpha1.DelegationHop{hop("triage", in("incident-response")), hop("triage", elsewhere)},
			wantHops: []string{"triage", "isolate"},
		},
		"a path without a namespace is one of the hop's own": {
			hop: hop("isolate", parentIn("incident-response", "triage")),
			others: []*v1alpha1.DelegationHop{hop("triage", in("incident-response"),
				hopSpec(func(s *v1alpha1.DelegationHopSpec) { s.PathRef.Namespace = "" }))},
			wantHops: []string{"triage", "isolate"},
		},
		"a chain as long as any may be": {hop: tower(MaxChain)[MaxChain-1], others: tower(MaxChain), wantHops: names(MaxChain)},

		"a hop that names itself": {
			hop: hop("isolate", withParent("isolate")), wantHops: []string{"isolate"},
			wantBreak: itself(broken("", "the chain comes back to hop agents/isolate: name a parent that does not descend from this hop")),
		},
		"a hop that is its own grandparent": {
			hop: hop("isolate", withParent("triage")), others: []*v1alpha1.DelegationHop{hop("triage", withParent("isolate"))},
			wantHops:  []string{"triage", "isolate"},
			wantBreak: itself(broken(triage, "the chain comes back to hop agents/isolate: name a parent that does not descend from this hop")),
		},
		"a cycle further up": {
			hop:       hop("report", withParent("triage")),
			others:    []*v1alpha1.DelegationHop{hop("triage", withParent("isolate")), hop("isolate", withParent("triage"))},
			wantHops:  []string{"isolate", "triage", "report"},
			wantBreak: broken("hop agents/isolate", "the chain comes back to hop agents/triage: name a parent that does not descend from this hop"),
		},
		"a chain longer than any may be": {
			hop: tower(MaxChain + 1)[MaxChain], others: tower(MaxChain + 1), wantHops: names(MaxChain + 1)[1:],
			wantBreak: []Finding{
				{
					Reason: v1alpha1.ReasonDepthExceeded, Node: "hop agents/h2", Itself: true, Field: "spec.parentRef",
					Message: "the chain is longer than 16 hops",
				},
			},
		},
		"a parent that is applied later": {
			hop: hop("isolate", withParent("triage"), notPinned), wantHops: []string{"isolate"}, wantBreak: waiting,
		},
		"a parent on its way out before a node": {
			hop: hop("isolate", withParent("triage"), notPinned), others: []*v1alpha1.DelegationHop{hop("triage", deletedHop)},
			wantHops: []string{"isolate"}, wantBreak: waiting,
		},
		"a parent that was deleted": {
			hop: hop("isolate", withParent("triage")), wantHops: []string{"isolate"},
			wantBreak: broken("", "parent hop agents/triage was deleted: make a new hop below one that exists"),
		},
		"a parent that is being deleted": {
			hop: hop("isolate", withParent("triage")), others: []*v1alpha1.DelegationHop{hop("triage", deletedHop)}, wantHops: []string{"isolate"},
			wantBreak: broken("", "parent hop agents/triage was deleted: make a new hop below one that exists"),
		},
		"a parent recreated under the old name": {
			hop: hop("isolate", withParent("triage")), others: []*v1alpha1.DelegationHop{
				hop("triage", withUID("second")),
			}, wantHops: []string{"isolate"},
			wantBreak: broken("", "parent hop agents/triage was recreated since this hop was bound to it: recreate this hop, too"),
		},
		"a grandparent recreated under the old name": {
			hop:      hop("report", withParent("isolate")),
			others:   []*v1alpha1.DelegationHop{hop("triage", withUID("second")), hop("isolate", withParent("triage"))},
			wantHops: []string{"isolate", "report"},
			wantBreak: broken(
				"hop agents/isolate", "parent hop agents/triage was recreated since this hop was bound to it: recreate this hop, too",
			),
		},
		"a parent of another path": {
			hop: hop("isolate", withParent("triage")), others: []*v1alpha1.DelegationHop{hop("triage", elsewhere)}, wantHops: []string{"isolate"},
			wantBreak: broken("", "parent hop agents/triage does not belong to path incident-response/contain-4711: name a parent of the same path"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := ResolveChain(test.hop, among(append(test.others, test.hop)...))
			if err != nil {
				t.Fatal(err)
			}
			var hops []string
			for _, h := range got.Hops {
				hops = append(hops, h.Name)
			}
			if diff := cmp.Diff(struct {
				Hops  []string
				Break []Finding
			}{test.wantHops, test.wantBreak}, struct {
				Hops  []string
				Break []Finding
			}{hops, got.Breaks}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got.Last() != test.hop {
				t.Errorf("the chain of %s ends with %v", test.hop.Name, got.Last())
			}
		})
	}
}

func deletedHop(h *v1alpha1.DelegationHop) { beingDeleted(h) }

func TestResolveChainFailsWithItsLookup(t *testing.T) {
	down := errors.New("the API server is down")
	chain, err := ResolveChain(
		hop("isolate", withParent("triage")), func(types.NamespacedName) (*v1alpha1.DelegationHop, error) { return nil, down },
	)
	if !errors.Is(err, down) || chain.Hops != nil {
		t.Errorf("chain %v, error %v", chain, err)
	}
	if want := "looking up parent hop agents/triage: the API server is down"; err.Error() != want {
		t.Errorf("error %q, want %q", err, want)
	}
}
