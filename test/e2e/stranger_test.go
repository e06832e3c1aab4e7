//go:build unix

package e2e

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/wayleave/wayleave/api/v1alpha1"
)

// TestStrangerLearnsNothing: who may create hops in one namespace, or pods beside hops without use, gets the same answer
// about what exists elsewhere and about what does not.
func TestStrangerLearnsNothing(t *testing.T) {
	f := hopSetup(t)
	h := f.hop("isolate", "contain", "", func(h *v1alpha1.DelegationHop) {
		h.Spec.Workload = &v1alpha1.Workload{Kinds: []v1alpha1.WorkloadKind{v1alpha1.WorkloadPod}, Images: []string{agent}}
	})
	f.apply(f.by, f.path("contain", func(p *v1alpha1.DelegationPath) { p.Spec.Hops.Namespaces = []string{f.ns, f.ns + "-theirs"} }), h)
	f.granted(h)
	ended := f.path("ended")
	f.apply(f.by, ended)
	f.state(ended, v1alpha1.ReasonActive)
	f.change(f.by, ended, revoke)
	f.state(ended, v1alpha1.ReasonRevoked)

	theirs, stranger := f.ns+"-theirs", f.named("mallory")
	f.namespace(theirs)
	f.bind(theirs, stranger, rule(v1alpha1.GroupName, "delegationpaths,delegationhops", "get,create"), rule("", "configmaps", "get,list"))
	f.bind(f.ns, stranger, rule("", "pods", "create"))
	own := f.path("own", func(p *v1alpha1.DelegationPath) {
		p.Namespace, p.Spec.Scope = theirs, in([]string{theirs}, resources("", "configmaps", "get,list"))
	})
	f.apply(stranger, own)
	f.state(own, v1alpha1.ReasonActive)

	hopOf := func(path, parent v1alpha1.ObjectRef) client.Object {
		return &v1alpha1.DelegationHop{
			ObjectMeta: metav1.ObjectMeta{Namespace: theirs, Name: "curious"},
			Spec: v1alpha1.DelegationHopSpec{
				PathRef: path, ParentRef: &parent, Scope: new(in([]string{theirs}, resources("", "configmaps", "get"))),
			},
		}
	}
	revokedHop := func(path string) client.Object {
		return &v1alpha1.DelegationHop{
			ObjectMeta: metav1.ObjectMeta{Namespace: theirs, Name: "curious"},
			Spec: v1alpha1.DelegationHopSpec{
				PathRef: v1alpha1.ObjectRef{Namespace: f.ns, Name: path}, Revoked: &v1alpha1.Revocation{Reason: "x"},
				Scope: new(in([]string{theirs}, resources("", "configmaps", "get"))),
			},
		}
	}
	there := func(name string) v1alpha1.ObjectRef { return v1alpha1.ObjectRef{Namespace: f.ns, Name: name} }
	for name, ask := range map[string]func(exists bool) client.Object{
		"a path": func(exists bool) client.Object {
			return hopOf(there(pick(exists, "contain", "nothing")), there("isolate"))
		},
		"a hop": func(exists bool) client.Object {
			return hopOf(v1alpha1.ObjectRef{Name: "own"}, there(pick(exists, "isolate", "nothing")))
		},
		"a path, asked with a hop that is final by itself": func(exists bool) client.Object {
			return revokedHop(pick(exists, "contain", "nothing"))
		},
		"a path that has ended": func(exists bool) client.Object {
			return hopOf(there(pick(exists, "ended", "nothing")), there("isolate"))
		},
		"a hop that a pod declares": func(exists bool) client.Object {
			return f.pod("dhop-curious", pick(exists, "isolate", "nothing"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, want := f.answer(stranger, ask(true)), f.answer(stranger, ask(false))
			replaced := strings.NewReplacer("nothing", "NAME", "isolate", "NAME", "contain", "NAME", "ended", "NAME")
			if replaced.Replace(got) != replaced.Replace(want) || got == "" {
				t.Errorf("of what exists it says\n%s\nand of what does not\n%s", got, want)
			}
		})
	}
}

func pick(first bool, a, b string) string {
	if first {
		return a
	}
	return b
}

// answer is all that a user is told about a dry run.
func (f *fixture) answer(user string, o client.Object) string {
	f.Helper()
	c, warnings := f.warned(user)
	said := ""
	if err := c.Create(f.Context(), o, client.DryRunAll); err != nil {
		said = err.Error()
	}
	return warnings.all() + said
}
